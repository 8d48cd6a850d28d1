"""`python -m benchmarks.iopub`: what an answer costs a notebook, as a section of the page.

The answer is shown by `%%aof`, to a page whose view is ready and to one whose view never is, and
by what it is to be better than: a loop that shows the whole answer again at each chunk.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.kernel import PING, Heard, Page, page
from benchmarks.report import table, verdict
from benchmarks.rounds import scripted_server
from benchmarks.scripted_server import answer
from benchmarks.sections import circumstances, parser, put, written
from benchmarks.targets import (
    ANSWER_AT_ONCE,
    AT_ONCE_UNSEEN,
    AT_ONCE_VIEW,
    HALF_VIEW,
    PACED_UNSEEN,
    PACED_VIEW,
    RESENT,
    RESENT_PACED,
    channel_targets,
)
from benchmarks.traffic import Traffic, percentile, summed

PACE = "p5ms"
TIMES = 5
IDLE_SECONDS = 10.0
SETUP = """
%load_ext aof_nb
import asyncio
from IPython.display import Markdown, display
from openai import AsyncOpenAI
from aof_nb import Agent, resolve_model, tool

@tool(effect="read")
async def lookup(key: str) -> str:
    "Looks a key up, which takes a second."
    await asyncio.sleep(1)
    return "found"
"""
AGENT = """
bench = Agent(
    name="bench",
    model=resolve_model("openai-chat:{model}", base_url="{url}/v1", api_key="k"),
    tools=[lookup],
)
"""
ASK = "%%aof bench\nWhy is checkout slow?"
RESEND = """
text, shown = "", display(Markdown(""), display_id=True)
asked = [{{"role": "user", "content": "Why is checkout slow?"}}]
client = AsyncOpenAI(base_url="{url}/v1", api_key="k")
async for chunk in await client.chat.completions.create(
    model="{model}", messages=asked, stream=True
):
    if chunk.choices and chunk.choices[0].delta.content:
        text += chunk.choices[0].delta.content
        shown.update(Markdown(text))
await client.close()
"""
TEXT = """\
## What a streamed answer costs the notebook

An answer of {chunks:,} chunks in a real kernel: at once, and at 200 chunks a second. Content is all
that the cell sends on the iopub channel (outputs, their updates, the messages of widgets), as JSON;
*opening* is what of it opens the view: its script, its style, its first state, however long the
answer. The page is a client that says that the view is ready as the view's script does, or never
does. A view opens for runs of more than 0.15 s only: where it is to be open when the answer comes,
a call that takes a second comes first. What comes at once is the median of {times} runs. *Re-sent*
is what this is to be better than: the openai SDK as documented, and the whole answer shown again at
each chunk (`display(..., display_id=True)` and its `update`).

Updates are those of the view, or of the output where no view is ready: each second on average, and
in the busiest second, by the kernel's clock. *Round trip* is a comm message to the kernel and its
echo while the answer streams, 95 % of them in less than the second figure, in milliseconds; *click*
is the same where the loop that runs the agent has to answer, as it does clicks in the view. They
take turns every {ping:.0f} ms{where}.

{circumstances}

{table}
{targets}"""
SUBSHELL = ", in a subshell as JupyterLab does it"


@dataclass(frozen=True)
class Channel:
    """What was found.

    Args:
        rows: The traffic of each way to show an answer, by its title.
        idle: What came while nothing else happened.
        subshells: Whether comm messages went to subshells.
    """

    rows: Mapping[str, Traffic]
    idle: Heard
    subshells: bool


def measure(url: str, *, chunks: int, paced_chunks: int, idle_seconds: float) -> Channel:
    """Shows answers in all the ways, and adds up what comes.

    Args:
        url: The scripted server.
        chunks: How many make an answer that comes at once.
        paced_chunks: How many make one at 200 a second.
        idle_seconds: How long round trips are measured while nothing else happens.

    Raises:
        SystemExit: A cell failed, or messages were lost.
    """
    paced = f"bench-0-{paced_chunks}-{PACE}"
    found: dict[str, Traffic] = {}
    with page() as shown:
        shown.run(SETUP)
        # The first run imports the provider's SDK and the widgets, which no later one does.
        _ask(shown, url, "bench-1-10", ready=True)
        for title, model, ready in (
            (ANSWER_AT_ONCE, f"bench-0-{chunks}", False),
            (AT_ONCE_VIEW, f"bench-1-{chunks}", True),
            (AT_ONCE_UNSEEN, f"bench-1-{chunks}", False),
        ):
            _say(title)
            # Whether a moment to open or to update the view comes before the end is chance.
            found[title] = _middle([_ask(shown, url, model, ready=ready) for _ in range(TIMES)])
        _say("nothing else")
        idle = shown.idle(idle_seconds)
        half = f"bench-0-{paced_chunks // 2}-{PACE}"
        for title, model, ready in (
            (HALF_VIEW, half, True),
            (PACED_VIEW, paced, True),
            (PACED_UNSEEN, paced, False),
        ):
            _say(title)
            found[title] = _ask(shown, url, model, ready=ready, pings=True)
        for title, model in ((RESENT, f"bench-0-{chunks}"), (RESENT_PACED, paced)):
            _say(title)
            found[title] = _resend(shown, url, model, pings=model == paced)
        return Channel(found, idle, shown.subshells)


def _ask(shown: Page, url: str, model: str, *, ready: bool, pings: bool = False) -> Traffic:
    shown.run(AGENT.format(model=model, url=url))
    heard = shown.run(ASK, ready=ready, pings=pings)
    return summed(heard.messages, _bytes(model), heard.trips, heard.clicks)


def _middle(found: list[Traffic]) -> Traffic:
    return sorted(found, key=lambda each: each.content)[len(found) // 2]


def _resend(shown: Page, url: str, model: str, *, pings: bool) -> Traffic:
    heard = shown.run(RESEND.format(model=model, url=url), pings=pings)
    traffic = summed(heard.messages, _bytes(model), heard.trips, heard.clicks)
    if len(traffic.updates) != _chunks(model):
        raise SystemExit(f"{_chunks(model)} updates were sent, {len(traffic.updates)} came")
    return traffic


def _chunks(model: str) -> int:
    return int(model.split("-")[2])


def _bytes(model: str) -> int:
    return len("".join(answer(_chunks(model))).encode())


def section(*, quick: bool = False) -> str:
    """The section of the page, measured now.

    Args:
        quick: Whether it is a smoke test, with short answers.
    """
    chunks, paced_chunks, idle = (500, 300, 0.5) if quick else (5_000, 5_000, IDLE_SECONDS)
    with scripted_server() as url:
        found = measure(url, chunks=chunks, paced_chunks=paced_chunks, idle_seconds=idle)
    return rendered(found, chunks)


def rendered(found: Channel, chunks: int) -> str:
    """The section that says what was found.

    Args:
        found: What was found.
        chunks: How many made an answer.
    """
    head = ["", "answer", "content", "opening", "times", "messages"]
    head += ["updates a second", "busiest", "round trip", "click"]
    rows = [_row(title, each) for title, each in found.rows.items()]
    idle = _median_and_high(found.idle.trips), _median_and_high(found.idle.clicks)
    rows.append(["nothing else", *[""] * 7, *idle])
    text = TEXT.format(
        chunks=chunks,
        times=TIMES,
        where=SUBSHELL if found.subshells else "",
        ping=PING * 1000,
        circumstances=circumstances("aof-nb", "anywidget", "ipykernel", "ipython", "openai"),
        table=table(head, rows),
        targets=table(
            ["target", "at most (≥: at least)", "found", ""],
            [verdict(each) for each in channel_targets(found.rows)],
        ),
    )
    return written("iopub", "`python -m benchmarks.iopub`", text)


def _row(title: str, each: Traffic) -> list[str]:
    row = [title, f"{each.text:,}", f"{each.content:,}", f"{each.opening:,}", f"{each.ratio:,.2f}"]
    row.append(f"{each.messages:,}")
    if not each.trips:
        return [*row, *[""] * 4]
    row += [f"{each.updates_a_second:.1f}", str(each.busiest_second)]
    return [*row, _median_and_high(each.trips), _median_and_high(each.clicks)]


def _median_and_high(milliseconds: Sequence[float]) -> str:
    return f"{percentile(milliseconds, 50):.1f} / {percentile(milliseconds, 95):.1f}"


def _say(line: str) -> None:
    sys.stderr.write(f"notebook: {line}\n")


def main() -> None:
    """Parse the command line, measure and write the section."""
    options = parser("python -m benchmarks.iopub", __doc__).parse_args()
    put(options.output, section(quick=options.quick))


if __name__ == "__main__":
    main()
