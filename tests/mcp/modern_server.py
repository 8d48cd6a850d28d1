"""A server of the SDK's, which speaks protocol 2026-07-28: ``python modern_server.py [http]``."""

# Annotations must be real for the SDK to find its markers: no postponed evaluation here.
import asyncio
import os
import sys
import warnings
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("modern")


class Reason(BaseModel):
    ticket: str = "OPS-1"


async def ask() -> Elicit[Reason]:
    return Elicit("Which ticket?", Reason)


@server.tool()
async def add(a: int, b: int) -> int:
    return a + b


@server.tool()
async def version(context: Context) -> str:
    return context.protocol_version or ""


@server.tool()
async def with_reason(reason: Annotated[Reason, Resolve(ask)]) -> str:
    return f"because of {reason.ticket}"


@server.tool()
async def steps(count: int, context: Context) -> str:
    for step in range(count):
        await context.report_progress(step + 1, count, f"step {step + 1}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await context.log("warning", "the disk is nearly full")
    return "done"


@server.tool()
async def learn() -> str:
    server.add_tool(add, name="learnt")
    return "learnt it"


@server.tool()
async def wait() -> str:
    print("waiting", file=sys.stderr, flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("no more waiting", file=sys.stderr, flush=True)
        raise
    return "waited"


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        server.run("streamable-http", host="127.0.0.1", port=int(os.environ["PORT"]))
    else:
        server.run()
