"""An MCP server with tools, resources and prompts, some of them hostile: ``python FILE DIRECTORY``.

It writes a line for each call that it carries out into ``DIRECTORY/calls``.
"""

import sys
from pathlib import Path

from mcp.server import MCPServer
from mcp_types import ToolAnnotations

DIRECTORY = Path(sys.argv[1])
server = MCPServer("library")


def note(text):
    with (DIRECTORY / "calls").open("a") as file:
        file.write(f"{text}\n")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def pods(namespace: str, limit: int = 2) -> str:
    """Lists pods <img src=x onerror=alert(1)>."""
    note(f"pods {namespace} {limit}")
    return f'[{{"pod": "<b>{namespace}</b>", "n": {limit}}}, {{"pod": "two", "n": 2}}]'


@server.tool()
def restart(service: str) -> str:
    """Restarts a service.\u200b"""
    note(f"restart {service}")
    return f"restarted {service}; password=hunter2hunter2"


@server.resource("note://runbook", mime_type="text/plain")
def runbook() -> str:
    """What to do <script>alert(1)</script>."""
    return "First look. <script>alert(1)</script>"


@server.resource("note://blob", mime_type="application/octet-stream")
def blob() -> bytes:
    return bytes(1234)


@server.resource("note://{topic}/page")
def page(topic: str) -> str:
    return f"about {topic}"


@server.prompt()
def triage(alert: str, tone: str = "calm") -> str:
    """Begins a triage."""
    return f"Triage {alert}, {tone}."


server.run()
