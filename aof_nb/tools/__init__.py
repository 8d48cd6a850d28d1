"""Tools of our own: functions, the shell, HTTP, files; one file a family.

Tools of MCP servers are in `aof_nb.mcp`; deciding whether a tool may be called is in
`aof_nb.policy`.
"""

from aof_nb.tools.function import FunctionTool, tool
from aof_nb.tools.registry import builtin_names, resolve_tools

__all__ = ["FunctionTool", "builtin_names", "resolve_tools", "tool"]
