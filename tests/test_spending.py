"""Cost limits: what could exceed one is not sent."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.events import LimitReached, Notice, RunFinished, RunStatus
from aof_nb.executor import Record, Task, execute
from aof_nb.limits import Limits
from aof_nb.messages import ToolCall, Usage
from aof_nb.models.prices import price
from aof_nb.ports import Sampling
from aof_nb.spending import VARIABLE, Spending
from tests.test_executor import Does, Scripted, Turn

MODEL = "anthropic:claude-sonnet-4-5"
SAMPLING = Sampling(max_tokens=1000)
USAGE = Usage(10_000, 1000)
PROMPT = "why? " * 6500


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)


class Priced(Scripted):
    name = MODEL


def working() -> Turn:
    return Turn(calls=(ToolCall("", "probe", {}),), usage=USAGE)


async def run(model: Scripted, limits: Limits) -> tuple[list[object], Record]:
    record = Record(transcript=[])
    task = Task(
        run_id=secrets.token_hex(4),
        agent="a",
        model=model,
        prompt=PROMPT,
        tools=[Does("probe")],
        limits=limits,
        sampling=SAMPLING,
    )
    return [event async for event in execute(task, record)], record


@pytest.mark.parametrize("dollars", [0.1, 0.12, 0.13, 0.2, 0.5])
async def test_a_run_never_costs_more_than_its_limit(dollars: float) -> None:
    model = Priced(working())
    events, record = await run(model, Limits(max_cost=dollars))
    spent = price(MODEL, record.usage)
    assert spent is not None
    assert spent <= dollars
    assert record.status is RunStatus.LIMIT
    assert record.limit == "cost"
    assert any(isinstance(event, LimitReached) and "$" in event.detail for event in events)
    assert model.requests[-1].tool_choice == "none"
    assert isinstance(events[-1], RunFinished)


async def test_a_worst_case_is_that_of_the_dearest_model_that_may_answer() -> None:
    worst, dear = Usage(10_000, 1000), "anthropic:claude-opus-4-1"
    limit = price(dear, worst) or 0.0
    assert limit > (price(MODEL, worst) or limit)
    for dollars, admitted in ((limit * 0.99, False), (limit * 1.01, True)):
        for names in ((MODEL, dear), ("test:unpriced", dear), (dear, "test:unpriced")):
            spending = Spending("r", names[0], dollars, None, fallbacks=names[1:])
            assert (await spending.admit(worst, {})).admitted == admitted


async def test_what_cannot_be_paid_is_not_sent() -> None:
    model = Priced(working())
    _, record = await run(model, Limits(max_cost=0.001))
    assert (model.requests, record.limit, record.status) == ([], "cost", RunStatus.LIMIT)


async def test_an_unknown_price_is_said_once_and_stops_nothing() -> None:
    events, record = await run(Scripted(working(), Turn("done")), Limits(max_cost=0.001))
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices == [
        "the cost limit cannot be enforced for test:model: its price is unknown",
    ]
    assert record.status is RunStatus.COMPLETED


async def test_a_day_counts_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.2")
    spent = 0.0
    for _ in range(6):
        model = Priced(working(), working(), Turn("done", usage=USAGE))
        _, record = await run(model, Limits())
        spent += price(MODEL, record.usage) or 0.0
    assert 0.1 < spent <= 0.2
    assert (record.limit, model.requests) == ("cost", [])


async def test_requests_under_way_count(tmp_path: Path) -> None:
    file = tmp_path / "costs"
    worst = Usage(10_000, 1000)
    each = price(MODEL, worst) or 0.0
    runs = [Spending(f"r{n}", MODEL, None, 2.5 * each, file) for n in range(3)]
    admitted = [(await one.admit(worst, {})).admitted for one in runs]
    assert admitted == [True, True, False]
    await runs[0].settle({MODEL: Usage(100)})
    assert (await runs[2].admit(worst, {})).admitted


@pytest.mark.parametrize("given", ["five", "-1", "nan", "inf"])
async def test_an_amount_that_is_none_ends_the_run(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, given)
    _, record = await run(Priced(Turn("done")), Limits())
    assert isinstance(record.error, ConfigurationError)
    assert VARIABLE in record.error.message


async def test_a_damaged_file_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "costs.sqlite3").write_bytes(b"not a database" * 100)
    monkeypatch.setenv(VARIABLE, "1")
    _, record = await run(Priced(Turn("done")), Limits())
    assert isinstance(record.error, ConfigurationError)
