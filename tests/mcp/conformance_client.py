"""The client that `@modelcontextprotocol/conformance` starts: it goes through our pool.

``python conformance_client.py URL``, with the scenario in ``MCP_CONFORMANCE_SCENARIO``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from aof_nb import McpServer
from aof_nb.mcp.elicitation import accept_defaults
from aof_nb.mcp.pool import pool
from aof_nb.ports import ToolContext

CALLS: dict[str, dict[str, dict[str, Any]]] = {
    "initialize": {},
    "tools_call": {"add_numbers": {"a": 5, "b": 3}},
    "sse-retry": {"test_reconnection": {}},
    "elicitation-sep1034-client-defaults": {"test_client_elicitation_defaults": {}},
}


async def main(scenario: str, url: str) -> None:
    mcp = pool()
    if scenario.startswith("elicitation"):
        mcp.on_elicitation = accept_defaults
    found = await mcp.tools([McpServer(name="server", url=url, timeout=30)])
    if found.warnings:
        sys.exit("\n".join(found.warnings))
    tools = {tool.spec.name: tool for tool in found.tools}
    for name, arguments in CALLS[scenario].items():
        context = ToolContext("run-1", "call-1", print)
        output = await tools[f"server__{name}"].call(arguments, context)
        if output.is_error:
            sys.exit(output.content)
        print(output.content)
    await mcp.close()


if __name__ == "__main__":
    asyncio.run(main(os.environ["MCP_CONFORMANCE_SCENARIO"], sys.argv[-1]))
