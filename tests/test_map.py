"""Many prompts at once, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aof_nb.agent import Agent
from aof_nb.errors import ModelError
from aof_nb.events import ModelEvent, ModelResponse, RunStatus
from aof_nb.messages import Message, StopReason, Usage
from aof_nb.ports import ModelRequest
from aof_nb.run import Run


class Echo:
    name = "test:echo"

    def __init__(self) -> None:
        self.running = self.most = self.begun = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        text = request.messages[-1].text
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(3600 if text == "hang" else 0.001 * (len(text) % 3))
        finally:
            self.running -= 1
        if text == "fail":
            raise ModelError("no")
        yield ModelResponse(Message.assistant(text), StopReason.END_TURN, Usage(1, 1), self.name)


async def test_results_come_in_order_and_failures_stop_nothing() -> None:
    model = Echo()
    prompts = ["fail" if n == 7 else "x" * n for n in range(1, 40)]
    results = await Agent(model=model).map(iter(prompts), concurrency=4)
    assert [r.text for r in results if r.status is RunStatus.COMPLETED] == [
        prompt for prompt in prompts if prompt != "fail"
    ]
    assert results[6].status is RunStatus.FAILED
    assert model.most == 4


async def test_a_run_that_breaks_is_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(model=Echo())

    async def prepare(run: Run, *args: object) -> object:
        if run.transcript == [] and run._prompt == "bad":
            raise RuntimeError("a bug")
        return await original(run, *args)

    original = Run._prepare
    monkeypatch.setattr(Run, "_prepare", prepare)
    bad, good = await agent.map(["bad", "good"], concurrency=1)
    assert bad.status is RunStatus.FAILED
    assert bad.error is not None
    assert "a bug" in bad.error.message
    assert good.text == "good"


async def test_cancelling_cancels_all() -> None:
    model = Echo()
    mapping = asyncio.ensure_future(Agent(model=model).map(["hang"] * 5, concurrency=3))
    while model.running < 3:
        await asyncio.sleep(0.01)
    mapping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mapping
    assert (model.running, model.begun) == (0, 3)


async def test_no_prompts_no_results() -> None:
    assert await Agent(model=Echo()).map([]) == []
    with pytest.raises(ValueError, match="at least 1"):
        await Agent(model=Echo()).map([], concurrency=0)
