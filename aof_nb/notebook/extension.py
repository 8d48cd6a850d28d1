"""Loading into IPython, and taking all of it back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aof_nb.notebook.approval import find_approver
from aof_nb.notebook.completion import Completion, take_from
from aof_nb.notebook.magics import AofMagics
from aof_nb.notebook.screen import what_is_missing
from aof_nb.notebook.settings import add_settings, take_settings
from aof_nb.notebook.transform import await_magics
from aof_nb.policy import set_ambient_approver

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load(ipython: InteractiveShell) -> None:
    """Makes the magics known, and the notebook the place where approvals are asked for.

    Loading again, also after the module was reloaded, replaces what was loaded before.

    Args:
        ipython: The shell.
    """
    unload(ipython)
    add_settings(ipython)
    ipython.register_magics(AofMagics(ipython))
    ipython.input_transformers_post.append(await_magics)
    if ipython.Completer is not None:
        Completion(ipython).add_to(ipython.Completer)
    set_ambient_approver(lambda: find_approver(ipython))
    if missing := what_is_missing(ipython):
        sys.stderr.write(f"{missing}\n")


def unload(ipython: InteractiveShell) -> None:
    """Takes back what `load` did; agents and servers that cells have defined are kept.

    Args:
        ipython: The shell.
    """
    manager = ipython.magics_manager
    for kind in ("line", "cell"):
        for name in ("aof", "aof_agent", "aof_mcp"):
            manager.magics[kind].pop(name, None)
    magics = manager.registry.pop(AofMagics.__name__, None)
    if magics in ipython.configurables:
        ipython.configurables.remove(magics)
    ipython.input_transformers_post[:] = [
        each
        for each in ipython.input_transformers_post
        if getattr(each, "__module__", "") != await_magics.__module__
    ]
    take_settings(ipython)
    if ipython.Completer is not None:
        take_from(ipython.Completer)
    set_ambient_approver(None)
