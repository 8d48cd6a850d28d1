"""The lab as an MCP server: ``python -m aof_nb.lab.server [--http PORT] [--directory DIR]``.

Its tools are what an SRE has at hand: reading logs, metrics, configuration and deploys, and
three repairs. Over stdio unless a port is given; then over streamable HTTP on loopback, at
``/mcp``. It attaches to a running lab at each call, so that it may be started before the lab.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aof_nb.lab.api import Lab, LabError

if TYPE_CHECKING:
    from mcp.server import MCPServer

INSTRUCTIONS = """\
A small shop: checkout takes orders, payments charges them, worker fulfils them, reports reads the
database. Look before you repair: each repair changes the running system."""

T = TypeVar("T")


def create_server(directory: Path | None = None) -> MCPServer:
    """The MCP server over the lab in a directory.

    Args:
        directory: The lab's; ``AOF_LAB_DIR`` or the default place if not given.
    """
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp_types import ToolAnnotations

    server: MCPServer = MCPServer("aof-lab", instructions=INSTRUCTIONS, log_level="WARNING")
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    writes = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
    destroys = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)

    async def ask(operation: Callable[[Lab], T]) -> T:
        """An operation of the lab, off the event loop; what it refuses is the tool's error."""
        try:
            return await asyncio.to_thread(lambda: operation(Lab.attach(directory)))
        except LabError as error:
            raise ToolError(f"{error.message} ({error.remedy})") from error

    @server.tool(annotations=reads)
    async def list_services() -> dict[str, Any]:
        """Every service with its state, uptime in seconds, restarts and memory in bytes."""
        return {"services": await ask(lambda lab: lab.list_services())}

    @server.tool(annotations=reads)
    async def read_log(service: str, lines: int = 50) -> dict[str, Any]:
        """The last lines of a service's log, oldest first."""
        return {"lines": await ask(lambda lab: lab.read_log(service, lines))}

    @server.tool(annotations=reads)
    async def search_logs(
        pattern: str, service: str | None = None, limit: int = 50
    ) -> dict[str, Any]:
        """Log lines of a service, or of all, that match a regular expression, newest last."""
        return {"matches": await ask(lambda lab: lab.search_logs(pattern, service, limit))}

    @server.tool(annotations=reads)
    async def query_metrics(service: str, name: str | None = None) -> dict[str, Any]:
        """A service's Prometheus samples; name may be a shell-style pattern such as *errors*."""
        return {"samples": await ask(lambda lab: lab.query_metrics(service, name))}

    @server.tool(annotations=reads)
    async def read_config(service: str) -> dict[str, Any]:
        """The configuration a service runs with, and its version."""
        return await ask(lambda lab: lab.read_config(service))

    @server.tool(annotations=reads)
    async def diff_config(
        service: str, from_version: int | None = None, to_version: int | None = None
    ) -> dict[str, Any]:
        """What changed between two versions of a configuration; by default in the last one."""
        return await ask(lambda lab: lab.diff_config(service, from_version, to_version))

    @server.tool(annotations=reads)
    async def deploy_history(service: str | None = None) -> dict[str, Any]:
        """Deploys with version, time and author, newest last."""
        return {"deploys": await ask(lambda lab: lab.deploy_history(service))}

    @server.tool(annotations=reads)
    async def disk_usage() -> dict[str, Any]:
        """Each volume with its quota, what is used and its largest files, in bytes."""
        return {"volumes": await ask(lambda lab: lab.disk_usage())}

    @server.tool(annotations=writes)
    async def restart_service(service: str) -> dict[str, Any]:
        """Restarts a service. Requests in flight fail."""
        return await ask(lambda lab: lab.restart_service(service))

    @server.tool(annotations=writes)
    async def roll_back(service: str, version: int | None = None) -> dict[str, Any]:
        """Puts back an earlier configuration, by default the last, and restarts the service."""
        return await ask(lambda lab: lab.roll_back(service, version))

    @server.tool(annotations=destroys)
    async def free_space(volume: str) -> dict[str, Any]:
        """Deletes rotated log files from a volume. Live logs and the audit log are kept."""
        return await ask(lambda lab: lab.free_space(volume))

    return server


def main() -> None:
    """Serves until standard input ends, or until it is stopped."""
    parser = argparse.ArgumentParser(prog="aof_nb.lab.server", description="The lab over MCP")
    parser.add_argument("--http", type=int, metavar="PORT", help="serve HTTP on this port")
    parser.add_argument("--directory", type=Path, help="the lab's directory")
    options = parser.parse_args()
    server = create_server(options.directory)
    if options.http is None:
        server.run()
    else:
        server.run("streamable-http", port=options.http)


if __name__ == "__main__":
    main()
