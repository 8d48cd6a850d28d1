"""Cassettes that several write to, and that change while they are replayed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from aof_nb import Agent, RunStatus
from aof_nb.errors import JournalError
from aof_nb.journal.cassette import add_to_cassette, rewind
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.recording import read_recordings
from aof_nb.journal.runs import find_run
from tests.journal.test_replay import Nobody, Turns
from tests.journal.test_resume import RESTART, Restart


async def recorded(prompt: str, answer: str) -> Path:
    result = await Agent(model=Turns((answer,))).run(prompt)
    return find_run(result.run_id) / FILE_NAME


async def test_several_who_add_at_once_lose_nothing(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    journals = [await recorded(f"{n}", "a") for n in range(24)]
    await asyncio.gather(*(asyncio.to_thread(add_to_cassette, cassette, each) for each in journals))
    prompts = {each.begun.prompt for each in read_recordings(cassette)}
    assert prompts == {f"{n}" for n in range(24)}
    assert os.listdir(tmp_path) == ["c.jsonl"]


async def test_what_cannot_be_read_of_a_cassette_stays_in_it(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    add_to_cassette(cassette, await recorded("a", "one"))
    odd = b'{"at":1.0,"type":"of_tomorrow","x":1}\n{"at":1, damaged\n{"at":2,"type":"to'
    cassette.write_bytes(cassette.read_bytes() + odd)
    add_to_cassette(cassette, await recorded("b", "two"))
    assert odd in cassette.read_bytes()
    assert [each.begun.prompt for each in read_recordings(cassette)] == ["a", "b"]


async def test_what_is_recorded_anew_is_replayed(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    for answer in ("one", "two"):
        add_to_cassette(cassette, await recorded("a", answer))
    agent = Agent(model=Nobody())
    assert (await agent.run("a", replay=cassette)).text == "one"
    add_to_cassette(cassette, await recorded("b", "three"))
    assert (await agent.run("b", replay=cassette)).text == "three"
    # What was taken before is not given a second time.
    assert (await agent.run("a", replay=cassette)).text == "two"
    rewind(cassette)
    assert (await agent.run("a", replay=cassette)).text == "one"


async def test_a_run_that_has_gone_on_is_replayed_as_it_is_now() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    before = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=waiting.run_id)
    assert before.status is not RunStatus.COMPLETED
    await agent.resume(waiting.run_id, approve="all")
    after = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=waiting.run_id)
    assert (after.status, after.text) == (RunStatus.COMPLETED, "done")


async def test_a_cassette_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    add_to_cassette(cassette, await recorded("a", "one"))
    agent = Agent(model=Nobody())
    assert (await agent.run("a", replay=cassette)).text == "one"
    cassette.unlink()
    assert (await agent.run("a", replay=cassette)).error is not None


async def test_a_place_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    journal = await recorded("a", "one")
    with pytest.raises(JournalError, match="cannot be written"):
        add_to_cassette(tmp_path, journal)
