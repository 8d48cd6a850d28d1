"""Text that appears while it is written: complete, in order, and for bounded bytes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.markdown import finished
from aof_nb.notebook.live_text import Budget, LiveText
from tests.notebook.fakes import Clock, Recording


def prose(chunks: int) -> list[str]:
    """An answer as models write it: paragraphs, a list and a long code block."""
    words = random.Random(7)
    made = []
    for n in range(chunks):
        word = words.choice(["latency ", "checkout ", "the ", "error ", "**rate** ", "of "])
        place = n % 400
        if place in {60, 120, 180}:
            word = ".\n\n"
        elif 180 < place < 240 and place % 10 == 0:
            word = "\n- "
        elif place == 240:
            word = "\n\n```python\n"
        elif 240 < place < 390 and place % 8 == 0:
            word = "\n"
        elif place == 399:
            word = "\n```\n\n"
        made.append(word)
    return made


async def played(chunks: list[str], interval: float) -> Recording:
    """Writes chunks at a pace; timers fire as they would, on the fake clock."""
    screen, clock = Recording(), Clock()
    loop = asyncio.get_running_loop()
    timers: list[tuple[float, asyncio.TimerHandle, Callable[[], None]]] = []
    real = loop.call_later

    def call_later(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handle = real(3600, callback)
        timers.append((clock.now + delay, handle, callback))
        return handle

    loop.call_later = call_later  # type: ignore[method-assign, assignment]
    try:
        budget = Budget(clock)
        text = LiveText(screen, live=True, by_block=True, budget=budget, clock=clock)
        for chunk in chunks:
            clock.now += interval
            for due in [each for each in timers if each[0] <= clock.now]:
                timers.remove(due)
                _, handle, callback = due
                if not handle.cancelled():
                    handle.cancel()
                    callback()
            text.write(chunk)
        text.close()
    finally:
        loop.call_later = real  # type: ignore[method-assign]
        for _, handle, _ in timers:
            handle.cancel()
    return screen


@pytest.mark.parametrize(("interval", "most"), [(0.0, 3.0), (1 / 200, 10.0)])
async def test_bytes_are_bounded_and_linear(interval: float, most: float) -> None:
    ratios = []
    sizes = []
    for chunks in (5_000, 10_000):
        answer = prose(chunks)
        screen = await played(answer, interval)
        sizes.append(screen.size)
        ratios.append(screen.size / len("".join(answer).encode()))
    print(f"{1 / interval if interval else 'all'} chunks/s: {ratios[0]:.2f} times the text")
    assert ratios[0] <= most
    assert sizes[1] / sizes[0] < 2.15


async def test_paced_text_is_seen_as_it_comes() -> None:
    screen = await played(prose(1_000), 1 / 200)
    updates = sum(update for *_, update in screen.sent)
    assert updates > 20


@given(
    st.lists(st.text(alphabet="ab \n#-`*>1.|", min_size=1, max_size=12), max_size=30),
    st.booleans(),
    st.sampled_from([0.0, 0.03, 1.0]),
)
def test_nothing_is_lost(chunks: list[str], live: bool, pace: float) -> None:
    async def play() -> Recording:
        if live:
            return await played(chunks, pace)
        screen = Recording()
        text = LiveText(screen, live=False, by_block=False, budget=Budget())
        for chunk in chunks:
            text.write(chunk)
        text.close()
        assert len(screen.sent) <= 1
        return screen

    whole = "".join(chunks)
    kept = asyncio.run(play()).kept
    assert "".join("".join(kept).split()) == "".join(whole.split())


async def test_a_pause_shows_what_is_there() -> None:
    screen = Recording()
    text = LiveText(screen, live=True, by_block=True, budget=Budget())
    text.write("first ")
    text.write("second")
    async with asyncio.timeout(10):
        while "first second" not in screen.kept[0]:
            await asyncio.sleep(0.02)
    text.close()
    assert screen.kept == ["first second"]


@given(st.text(alphabet="ab \n#-`*>1.|~", max_size=80), st.text(alphabet="ab \n#-`", max_size=40))
def test_finished_blocks_do_not_change(text: str, more: str) -> None:
    from aof_nb.markdown import to_html

    end = finished(text)
    assert 0 <= end <= len(text)
    whole = to_html(text + more)
    assert whole.startswith(to_html(text[:end]).rstrip("\n"))
