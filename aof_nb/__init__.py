"""aof_nb: agentic runbooks in Jupyter for DevOps and SRE.

The public API. Its names are loaded when they are first used, so that importing the package
(and `%load_ext aof_nb`) imports no provider SDK.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aof_nb._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from aof_nb.agent import Agent as Agent
    from aof_nb.errors import AofError as AofError
    from aof_nb.errors import ToolError as ToolError
    from aof_nb.events import RunStatus as RunStatus
    from aof_nb.journal.replay import Replay as Replay
    from aof_nb.limits import Limits as Limits
    from aof_nb.mcp.spec import McpServer as McpServer
    from aof_nb.messages import Message as Message
    from aof_nb.models.compaction import ContextPolicy as ContextPolicy
    from aof_nb.models.limiter import rate_limit as rate_limit
    from aof_nb.models.registry import resolve_model as resolve_model
    from aof_nb.models.resilience import RetryPolicy as RetryPolicy
    from aof_nb.models.timeouts import Timeouts as Timeouts
    from aof_nb.policy import Policy as Policy
    from aof_nb.policy import Rule as Rule
    from aof_nb.ports import Effect as Effect
    from aof_nb.ports import ModelRequest as ModelRequest
    from aof_nb.ports import Sampling as Sampling
    from aof_nb.ports import ToolContext as ToolContext
    from aof_nb.ports import ToolOutput as ToolOutput
    from aof_nb.resources import load as load
    from aof_nb.result import RunFailed as RunFailed
    from aof_nb.result import RunResult as RunResult
    from aof_nb.run import Run as Run
    from aof_nb.tools import tool as tool

_WHERE = {
    "Agent": "aof_nb.agent",
    "AofError": "aof_nb.errors",
    "ContextPolicy": "aof_nb.models.compaction",
    "Effect": "aof_nb.ports",
    "Limits": "aof_nb.limits",
    "McpServer": "aof_nb.mcp.spec",
    "Message": "aof_nb.messages",
    "ModelRequest": "aof_nb.ports",
    "Policy": "aof_nb.policy",
    "Replay": "aof_nb.journal.replay",
    "RetryPolicy": "aof_nb.models.resilience",
    "Rule": "aof_nb.policy",
    "Run": "aof_nb.run",
    "RunFailed": "aof_nb.result",
    "RunResult": "aof_nb.result",
    "RunStatus": "aof_nb.events",
    "Sampling": "aof_nb.ports",
    "Timeouts": "aof_nb.models.timeouts",
    "ToolContext": "aof_nb.ports",
    "ToolError": "aof_nb.errors",
    "ToolOutput": "aof_nb.ports",
    "load": "aof_nb.resources",
    "rate_limit": "aof_nb.models.limiter",
    "resolve_model": "aof_nb.models.registry",
    "tool": "aof_nb.tools",
}

__all__ = [  # noqa: PLE0604  the lazy names are listed once, above
    "__version__",
    "load_ipython_extension",
    "unload_ipython_extension",
    *_WHERE,
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Makes the magics known: what ``%load_ext aof_nb`` calls."""
    from aof_nb.notebook.extension import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Takes the magics back: what ``%unload_ext aof_nb`` calls."""
    from aof_nb.notebook.extension import unload

    unload(ipython)
