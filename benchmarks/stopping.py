"""`python -m benchmarks.stopping`: how soon a run ends when it is to, as a section of the page.

A run in a real kernel is ended by the Stop button of its view and by the kernel's interrupt, in
the middle of whatever a run can be in the middle of.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Literal

from benchmarks.kernel import page
from benchmarks.report import table, verdict
from benchmarks.rounds import scripted_server
from benchmarks.sections import circumstances, parser, put, written
from benchmarks.targets import stopping_targets
from benchmarks.traffic import percentile

WAYS: tuple[Literal["stop", "interrupt"], ...] = ("stop", "interrupt")
TIMES = 20
SETUP = """
%load_ext aof_nb
import asyncio, sys, time
from pathlib import Path
from aof_nb import Agent, McpServer, resolve_model, tool
from aof_nb.tools.process import run_process

@tool(effect="read", name="lookup")
async def waits(key: str) -> str:
    "Waits for somebody."
    await asyncio.sleep(120)

@tool(effect="read", name="lookup")
def blocks(key: str) -> str:
    "Holds a thread for a while."
    time.sleep(1)

@tool(effect="read", name="lookup")
async def starts(key: str) -> str:
    "Starts a program."
    await run_process(["sleep", "120"], seconds=120)

@tool(effect="read", name="lookup")
async def starts_stubborn(key: str) -> str:
    "Starts a program that does not end when it is asked to."
    await run_process(["sh", "-c", "trap '' TERM; sleep 120 & wait; wait"], seconds=120)

@tool(effect="write", name="lookup")
def asks(key: str) -> str:
    "Needs a person's yes."

Path("server.py").write_text('''
import asyncio
from mcp.server import MCPServer
server = MCPServer("bench")

@server.tool(annotations={"readOnlyHint": True})
async def lookup(key: str) -> str:
    await asyncio.sleep(120)

server.run()
''')
Path("calls.yaml").write_text('''
kind: Playbook
name: calls
steps:
  - call: {tool: bench__lookup, arguments: {key: a}}
''')
server = McpServer(name="bench", command=sys.executable, args=["server.py"])

def agent(model, url, *tools):
    made = resolve_model(f"openai-chat:{model}", base_url=f"{url}/v1", api_key="k")
    return Agent(name="bench", model=made, tools=tools)

def agent_of_server():
    return Agent(name="bench", model="script:calls.yaml", mcp_servers=[server])
"""
ASK = "%%aof bench\nWhy is checkout slow?"
CALL = "bench-1-10"
MOMENTS = {
    "an answer streams, 200 chunks a second": "agent('bench-0-20000-p5ms', '{url}')",
    "a call waits": f"agent('{CALL}', '{{url}}', waits)",
    "a call blocks a thread": f"agent('{CALL}', '{{url}}', blocks)",
    "an MCP server works": "agent_of_server()",
    "a program runs": f"agent('{CALL}', '{{url}}', starts)",
    "a program runs that ignores SIGTERM": f"agent('{CALL}', '{{url}}', starts_stubborn)",
    "a question waits for its answer": f"agent('{CALL}', '{{url}}', asks)",
}
"""What a run is in the middle of, and the agent that brings it there."""

TEXT = """\
## How soon a run ends

Milliseconds from a click on Stop, or the kernel's interrupt, until the cell has ended: its record
is shown, its programs are gone, the kernel is idle. The median of {times} runs, and what 95 % of
them are below. A program that ignores SIGTERM is killed after 100 ms.

{circumstances}

{table}
{targets}"""


def measure(url: str, times: int) -> dict[str, dict[str, list[float]]]:
    """Ends runs; milliseconds by what they were in the middle of, and by the way they were ended.

    Args:
        url: The scripted server.
        times: How often each is measured.

    Raises:
        SystemExit: A cell did not end as it should.
    """
    found: dict[str, dict[str, list[float]]] = {}
    with page() as shown:
        shown.run(SETUP)
        for moment, agent in MOMENTS.items():
            sys.stderr.write(f"stopping: {moment}\n")
            shown.run(f"bench = {agent.format(url=url)}")
            found[moment] = {way: [] for way in WAYS}
            for number in range(times):
                for way in WAYS:
                    after = 0.2 + 0.013 * (number % 10)
                    found[moment][way].append(shown.ended(ASK, way, after))
    return found


def section(*, quick: bool = False) -> str:
    """The section of the page, measured now.

    Args:
        quick: Whether it is a smoke test, with each run ended once.
    """
    times = 1 if quick else TIMES
    with scripted_server() as url:
        return rendered(measure(url, times), times)


def rendered(found: Mapping[str, Mapping[str, Sequence[float]]], times: int) -> str:
    """The section that says what was found.

    Args:
        found: Milliseconds by what runs were in the middle of, and by the way they were ended.
        times: How often each was measured.
    """
    rows = [[moment, *(_figures(ways[way]) for way in WAYS)] for moment, ways in found.items()]
    text = TEXT.format(
        times=times,
        circumstances=circumstances("aof-nb", "ipykernel"),
        table=table(["while", *WAYS], rows),
        targets=table(
            ["target", "at most (≥: at least)", "found", ""],
            [verdict(each) for each in stopping_targets(found)],
        ),
    )
    return written("stopping", "`python -m benchmarks.stopping`", text)


def _figures(milliseconds: Sequence[float]) -> str:
    return f"{percentile(milliseconds, 50):.0f} / {percentile(milliseconds, 95):.0f}"


def main() -> None:
    """Parse the command line, measure and write the section."""
    options = parser("python -m benchmarks.stopping", __doc__).parse_args()
    put(options.output, section(quick=options.quick))


if __name__ == "__main__":
    main()
