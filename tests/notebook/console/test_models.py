"""The page of providers and models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from aof_nb.models import breaker_board, limiter, resilience
from aof_nb.models.breaker import Breakers
from aof_nb.models.limiter import rate_limit
from aof_nb.notebook.console.models import ModelsPage
from tests.fakes import Failure, FakeAnthropic, Reply, Text, Wire
from tests.notebook.console.hosts import FakeHost, until

NAME = "anthropic:claude-sonnet-5"
SECRET = "sk-ant-api03-THISISTHEKEY1234567890"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    limiter.reset()
    resilience.reset()
    yield
    limiter.reset()
    resilience.reset()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[FakeHost]:
    made = FakeHost(tmp_path)
    yield made
    await made.end()


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAnthropic]:
    async with FakeAnthropic() as provider:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.base_url)
        yield provider


def built(host: FakeHost) -> ModelsPage:
    page = ModelsPage(host)
    page.build()
    return page


def rows(page: ModelsPage) -> dict[str, dict[str, str]]:
    return {each["id"]: each["cells"] for each in page._table.widget.rows}


def everything(page: ModelsPage) -> str:
    return f"{page._table.widget.rows} {page._detail.value} {page._answer.value}"


async def pinged(page: ModelsPage, host: FakeHost, name: str = NAME) -> str:
    page._name.value = name
    page._ping.click()
    await host.idle()
    return str(page._answer.value)


async def test_each_provider_says_what_it_needs_and_never_the_key(host: FakeHost) -> None:
    page = built(host)
    await page.refresh()
    shown = rows(page)
    assert shown["anthropic"]["needs"] == "ANTHROPIC_API_KEY is set"
    assert shown["anthropic"]["ready"] == "✓ yes"
    assert shown["openai"]["needs"] == "OPENAI_API_KEY is not set"
    assert shown["openai"]["ready"] == "✗ no"
    assert shown["ollama"]["ready"] == "? perhaps"
    page._table.selected = "anthropic"
    await page.refresh()
    assert "Anthropic (Messages)" in page._detail.value
    assert page._name.value.startswith("anthropic:")
    assert SECRET not in everything(page)


async def test_an_address_is_shown_without_its_password(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://me:hunter2@127.0.0.1:8000/v1")
    page = built(host)
    await page.refresh()
    assert "http://127.0.0.1:8000/v1" in rows(page)["vllm"]["needs"]
    assert "hunter2" not in everything(page)


async def test_limits_and_models_left_alone_are_shown(host: FakeHost) -> None:
    rate_limit("anthropic", requests_per_minute=60, concurrency=2)
    held = limiter.limiter_of("anthropic")
    await held.enter()
    held.pause(40)
    breakers = Breakers(clock=limiter.now, on_change=breaker_board.post)
    breaker = breakers.of(f"{NAME}<img src=x>")
    while breaker.state is not breaker.state.OPEN:
        breaker.admit().failed("overloaded <script>")
    page = built(host)
    page._table.selected = "anthropic"

    async def left_alone() -> None:
        async with asyncio.timeout(10):
            while "⚠" not in rows(page).get("anthropic", {}).get("breaker", ""):
                await page.refresh()
                await asyncio.sleep(0.01)

    await left_alone()
    assert rows(page)["anthropic"]["limit"] == "60/min, 1 of 2 under way"
    assert rows(page)["anthropic"]["breaker"] == "⚠ 1 model"
    detail = page._detail.value
    assert "60 requests/min, 1 of 2 under way" in detail
    assert "overloaded &lt;script&gt;" in detail
    assert "&lt;img src=x&gt;" in detail
    assert "<dt>Next request</dt><dd>in " in detail


async def test_a_ping_shows_latency_tokens_and_cost(host: FakeHost, fake: FakeAnthropic) -> None:
    fake.reply(Reply(Text("ok <b>")))
    page = built(host)
    said = await pinged(page, host)
    assert f"✓</b> {NAME} answers" in said
    assert "ok &lt;b&gt;" in said
    assert "<dt>Latency</dt>" in said
    assert "<dt>Tokens</dt><dd>" in said
    assert "<dt>Cost</dt><dd>$" in said
    [request] = fake.requests
    assert request.json["max_tokens"] <= 16
    assert not page._ping.disabled


async def test_a_ping_that_fails_says_why_and_what_to_do(
    host: FakeHost, fake: FakeAnthropic
) -> None:
    fake.reply(Failure(401, f"invalid x-api-key {SECRET}"))
    page = built(host)
    said = await pinged(page, host)
    assert 'role="alert"' in said
    assert "does not answer" in said
    assert "→" in said
    assert SECRET not in said
    assert len(fake.requests) == 1


async def test_no_such_model_and_no_name_are_said(host: FakeHost) -> None:
    page = built(host)
    assert "did you mean openai:x?" in await pinged(page, host, "opnai:x")
    await pinged(page, host, " ")
    assert "no model is named" in str(host.failures[0])


async def test_a_ping_can_be_stopped(host: FakeHost, fake: FakeAnthropic) -> None:
    fake.reply(Reply(Text("ok"), wire=Wire(stall_at=1)))
    page = built(host)
    page._name.value = NAME
    page._ping.click()
    await until(lambda: fake.requests)
    assert page._ping.disabled
    assert not page._work.button.disabled
    page._work.button.click()
    await host.idle()
    assert "was stopped" in page._answer.value
    assert page._work.button.disabled
    await until(lambda: not fake.open)


async def test_closing_the_console_ends_a_ping(host: FakeHost, fake: FakeAnthropic) -> None:
    fake.reply(Reply(Text("ok"), wire=Wire(stall_at=1)))
    page = built(host)
    page._name.value = NAME
    page._ping.click()
    await until(lambda: fake.requests)
    await host.end()
    assert not page._work.busy
    assert page._answer.value == ""


async def test_a_scripted_model_answers_for_nothing(host: FakeHost, tmp_path: Path) -> None:
    playbook = tmp_path / "pb.yaml"
    playbook.write_text("kind: Playbook\nname: pb\nsteps:\n  - say: ok\n")
    said: Any = await pinged(built(host), host, f"script:{playbook}")
    assert "answers" in said
    assert "<dt>Cost</dt><dd>$0" in said
