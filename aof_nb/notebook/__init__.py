"""The notebook's face: magics, live output, approval buttons.

What lives here reads a run's events and shows them in a cell, asks the person in front of it,
and turns `%%aof` into an awaited call. What a run does, and whether it may, is decided below:
this package has no loop and no policy of its own. Prompts in a terminal are `aof_nb.terminal`.
"""
