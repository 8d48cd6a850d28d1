"""Why targets are missed, for the page: each reason is shown if a target of its words is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.rounds import Figures
from benchmarks.targets import BURST, FIFTY, FIVE, FLOOR, IN_FLIGHT, MANY, SAME_TRANSPORT, Target

_REASONS = {
    "memory of a run in flight": (
        "The openai client's transport, used by hand, takes {transport_kb:.0f} KB of the "
        "{ours_kb:.0f} KB of a run in flight on Chat Completions: aiohttp's reader and parser, the "
        "request and the response that httpx2 builds around them. What aof_nb adds is the "
        "conversation, with each message's encoding, and the generators of the loop. Leaving the "
        "SDK's transport would leave its authentication as well."
    ),
    "anthropic: memory after the first run": (
        "The anthropic SDK as documented holds {sdk_mb:.0f} MB after its first run, aof_nb on it "
        "{ours_mb:.0f} MB. Importing the SDK loads all its request and response types, and it "
        "has no import that does not."
    ),
    "anthropic: first run": (
        "A first run takes {sdk_s:.2f} s of CPU with the anthropic SDK as documented, and "
        "{ours_s:.2f} s with aof_nb; nearly all of both is importing the SDK. aof_nb does it at "
        "the first request, in a thread, so that `import aof_nb` and `%load_ext` stay fast and "
        "the notebook goes on showing what happens."
    ),
    "paced stream": (
        "What a paced stream costs is being woken for each chunk. aof_nb lets a fast stream's "
        "pieces gather for 16 ms, but the socket is read at each wake-up all the same, by the "
        "event loop of the notebook, which is not aof_nb's to choose."
    ),
    "own cost of a model request": (
        "Between the same loop by hand and aof_nb lie argument checks, policy, limits, a task for "
        "each tool call and a typed event for each thing that happens; a task and its queue are "
        "two more turns of the event loop for each call."
    ),
    "turns, of httpx2": (
        "Of the {ours_ms:.1f} ms of a run of fifty turns on Chat Completions, {transport_ms:.1f} "
        "ms are the SDK's transport, used by hand, where httpx2 by hand takes {floor_ms:.1f} ms: "
        "the SDK builds and copies each request's options and headers several times. aof_nb keeps "
        "it for its authentication, base URLs and errors."
    ),
    "one of 100 runs at once": (
        "A single run costs {single_ms:.2f} ms on Chat Completions, one of 100 at once "
        "{many_ms:.2f} ms, where the same transport by hand goes from {transport_single_ms:.2f} to "
        "{transport_many_ms:.2f} ms: what 100 runs touch no longer fits the processor's caches."
    ),
    "burst, of ours": (
        "A burst costs {burst_ms:.1f} ms here and {floor_burst_ms:.1f} ms by hand on the same "
        "transport, so that there is nothing left to save: what is under 50 times is a framework "
        "that does less for each chunk than the others."
    ),
    "at 200 chunks a second": (
        "At 200 chunks a second the screen is updated at a bounded rate, and each update holds "
        "the block that is being written anew."
    ),
}


def reasons(figures: Mapping[str, Figures], found: Sequence[Target]) -> list[str]:
    """The reasons for what is missed, with this run's figures."""
    ours, claude = figures["aof_nb openai-chat"], figures["aof_nb anthropic"]
    transport, sdk = figures[SAME_TRANSPORT], figures["anthropic SDK as documented"]
    known = {
        "transport_kb": transport.least(IN_FLIGHT, "kb_per_run"),
        "ours_kb": ours.least(IN_FLIGHT, "kb_per_run"),
        "sdk_mb": sdk.start("memory_mb"),
        "ours_mb": claude.start("memory_mb"),
        "sdk_s": sdk.start("first_cpu_ms") / 1000,
        "ours_s": claude.start("first_cpu_ms") / 1000,
        "burst_ms": ours.median(BURST),
        "floor_burst_ms": transport.median(BURST),
        "ours_ms": ours.median(FIFTY),
        "transport_ms": transport.median(FIFTY),
        "floor_ms": figures[FLOOR].median(FIFTY),
        "single_ms": ours.median(FIVE),
        "transport_single_ms": transport.median(FIVE),
        "many_ms": ours.median(MANY),
        "transport_many_ms": transport.median(MANY),
    }
    missed = [each.title for each in found if not each.met]
    return [
        reason.format(**known)
        for words, reason in _REASONS.items()
        if any(words in title for title in missed)
    ]
