"""AOF's YAML kinds: their schema, loading, and what is wrong with a file.

`Agent` and `McpServer` are made here from what people write. What they do lives in `agent`
and `mcp`. Kinds that cannot be carried out yet are refused by name.
"""

from __future__ import annotations

from aof_nb.resources.checking import check, check_text
from aof_nb.resources.loading import (
    agent_from_yaml,
    load,
    load_all,
    load_document,
    mcp_server_from_yaml,
)
from aof_nb.resources.problems import Problem

__all__ = [
    "Problem",
    "agent_from_yaml",
    "check",
    "check_text",
    "load",
    "load_all",
    "load_document",
    "mcp_server_from_yaml",
]
