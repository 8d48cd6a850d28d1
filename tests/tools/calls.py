"""Calling a tool as the loop does."""

from __future__ import annotations

from typing import Any

from aof_nb.ports import Tool, ToolContext, ToolOutput


async def call(tool: Tool, **arguments: Any) -> ToolOutput:
    return await tool.call(arguments, ToolContext("run", "call", lambda event: None))
