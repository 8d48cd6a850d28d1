"""What a run leaves on disk. Today: the whole outputs of its tools (`artifacts`).

What a run tells its readers while it goes on is in `aof_nb.events`; conversations that span
runs are in `aof_nb.memory`.
"""
