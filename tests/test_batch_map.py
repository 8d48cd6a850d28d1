"""Many prompts by batches: waves, restarts, tools that are called once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from aof_nb import Agent, RunStatus, resolve_model, tool
from aof_nb.errors import ConfigurationError
from aof_nb.models import batching
from aof_nb.paths import state_dir
from tests.dying_map import Job, Outcome
from tests.fakes import Failure, FakeAnthropic, FakeOpenAI, Reply, Request
from tests.fakes import ToolCall as Call

MODELS: dict[str, tuple[type[FakeAnthropic | FakeOpenAI], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:claude-sonnet-5"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:gpt-4o"),
}
Fake = FakeAnthropic | FakeOpenAI


@pytest.fixture(autouse=True)
def _often_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(batching, "_FIRST_LOOK", 0.01)
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))


def conversation(request: Request) -> str:
    return json.dumps(request.json.get("messages") or request.json.get("input"))


def restarts(request: Request) -> Reply | Failure:
    """Restarts the service that is named in the prompt, unless that was done."""
    text = conversation(request)
    service = next(word for word in ("cart", "pay", "search", "mail") if word in text)
    if "restarted" in text:
        return Reply(f"{service} is well.")
    if "whether it took effect is unknown" in text:
        return Reply(f"{service} is unknown.")
    if "refused" in text:
        return Failure(400, "not this one")
    return Reply("I restart it.", Call("restart", {"service": service}))


PROMPTS = ["mend cart", "mend pay", "mend search"]


class Restarts:
    def __init__(self) -> None:
        self.counts = Counter[str]()

    def agent(self, provider: str, fake: Fake) -> Agent:
        @tool(effect="write")
        def restart(service: str) -> str:
            """Restart a service."""
            self.counts[service] += 1
            return f"restarted {service}"

        model = resolve_model(MODELS[provider][1], base_url=fake.base_url, api_key="k")
        return Agent(name="sre", model=model, tools=[restart])


@pytest.mark.parametrize("provider", MODELS)
async def test_runs_ask_together_turn_by_turn(provider: str) -> None:
    restarted = Restarts()
    async with MODELS[provider][0]() as fake:
        fake.respond = restarts
        agent = restarted.agent(provider, fake)
        results = await agent.map(PROMPTS, batch=True, approve="all")
        sizes = [len(batch.requests) for batch in fake.batches.submitted]
    assert [result.status for result in results] == [RunStatus.COMPLETED] * 3
    assert [result.text for result in results] == [
        f"{name} is well." for name in ("cart", "pay", "search")
    ]
    assert sizes == [3, 3]
    assert restarted.counts == {"cart": 1, "pay": 1, "search": 1}
    assert not list((state_dir() / "batches").iterdir())


async def test_one_that_fails_stops_none_and_one_that_may_pass_is_asked_again() -> None:
    restarted = Restarts()
    failing = iter([Failure(529)])

    def respond(request: Request) -> Reply | Failure:
        if "mail" in conversation(request) and (failure := next(failing, None)):
            return failure
        return restarts(request)

    async with FakeAnthropic(tolerate=True) as fake:
        fake.respond = respond
        agent = restarted.agent("anthropic", fake)
        results = await agent.map(
            ["mend cart", "refused pay", "mend mail"], batch=True, approve="all"
        )
    cart, pay, mail = results
    assert (cart.status, mail.status) == (RunStatus.COMPLETED, RunStatus.COMPLETED)
    assert pay.status is RunStatus.FAILED
    assert "not this one" in str(pay.error)
    assert restarted.counts == {"cart": 1, "mail": 1}


async def test_a_call_that_is_cancelled_is_gone_on_with() -> None:
    restarted = Restarts()
    async with FakeAnthropic() as fake:
        fake.respond = restarts
        fake.batches.looks = 10_000
        agent = restarted.agent("anthropic", fake)
        work = asyncio.create_task(agent.map(PROMPTS, batch=True, approve="all"))
        while not fake.batches.submitted or not fake.batches.submitted[0].looks:
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        [record] = (state_dir() / "batches").glob("*/record.jsonl")
        assert record.stat().st_mode & 0o777 == 0o600
        assert record.parent.stat().st_mode & 0o777 == 0o700
        fake.batches.looks = 1
        results = await agent.map(PROMPTS, batch=True, approve="all")
        assert len(fake.batches.submitted) == 2
    assert [result.status for result in results] == [RunStatus.COMPLETED] * 3


async def test_a_provider_that_stays_away_fails_the_runs_and_loses_nothing() -> None:
    restarted = Restarts()
    async with FakeAnthropic(tolerate=True) as fake:
        fake.respond = restarts
        agent = restarted.agent("anthropic", fake)

        fake.api_key = "another"
        results = await agent.map(PROMPTS, batch=True, approve="all")
        assert {type(result.error).__name__ for result in results} == {"AuthenticationFailed"}
        fake.api_key = None
        results = await agent.map(PROMPTS, batch=True, approve="all")
    assert [result.status for result in results] == [RunStatus.COMPLETED] * 3


async def test_two_processes_do_not_wait_for_the_same() -> None:
    restarted = Restarts()
    async with FakeAnthropic() as fake:
        fake.respond = restarts
        fake.batches.looks = 10_000
        agent = restarted.agent("anthropic", fake)
        work = asyncio.create_task(agent.map(PROMPTS, batch=True, approve="all"))
        while not fake.batches.submitted:
            await asyncio.sleep(0.01)
        with pytest.raises(ConfigurationError, match="another process"):
            await agent.map(PROMPTS, batch=True, approve="all")
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_who_has_no_batches_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="no batch API"):
        await Agent(model=resolve_model("groq:x", api_key="k")).map(["a"], batch=True)


@contextlib.asynccontextmanager
async def mapper() -> AsyncIterator[Callable[[Job], Awaitable[Outcome]]]:
    """A process that does maps, each of them but the first in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.dying_map",
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    to, out = process.stdin, process.stdout
    assert to is not None
    assert out is not None

    async def done(job: Job) -> Outcome:
        to.write(msgspec.json.encode(job) + b"\n")
        await to.drain()
        return msgspec.json.decode(await out.readline(), type=Outcome)

    try:
        yield done
        to.close()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("provider", "when"), [("anthropic", "before"), ("anthropic", "after"), ("openai", "before")]
)
async def test_killed_at_any_line_nothing_is_done_twice(
    provider: str, when: Literal["before", "after"], tmp_path: Path
) -> None:
    fake_class, name = MODELS[provider]
    killed = 0
    async with mapper() as done:
        for line in itertools.count():
            effects = tmp_path / f"effects-{line}"
            effects.touch()
            async with fake_class() as fake:
                fake.respond = restarts
                fake.batches.looks = 0
                state = str(tmp_path / f"state-{line}")
                job = Job(name, fake.base_url, state, str(effects), when, line)
                first = outcome = await done(job)
                if first.code == -signal.SIGKILL:
                    killed += 1
                    outcome = await done(msgspec.structs.replace(job, line=0))
                assert outcome.code == 0
                submitted = [each for batch in fake.batches.submitted for each in batch.requests]
                assert len(submitted) == len(set(submitted)) == 4
            times = Counter(effects.read_text().split())
            assert set(times.values()) <= {1}
            texts = " ".join(outcome.texts)
            assert texts.count("is well") + texts.count("is unknown") == 2
            assert len(times) >= texts.count("is well")
            # Line 0 is none, and those after the last one are not written.
            if line and first.code == 0:
                break
    assert killed == line - 1 >= 12
