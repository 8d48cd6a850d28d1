"""What each provider is tried for, and the table of it in the documentation.

``python -m tests.models.capabilities`` writes the table into ``docs/providers.md``; a test fails
when the page says something else than what the tries come to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, RunStatus, errors, resolve_model
from aof_nb.events import ModelResponse, TextDelta, ThinkingDelta
from aof_nb.messages import Message, StopReason, ToolResult
from aof_nb.models import resilience
from aof_nb.models.batching import batch_api
from aof_nb.models.registry import providers
from aof_nb.ports import Model, ModelRequest, Sampling, ToolSpec
from tests.fakes import (
    Failure,
    FakeAnthropic,
    FakeBedrock,
    FakeOpenAI,
    Reply,
    StreamError,
    Thinking,
    ToolCall,
    Usage,
)
from tests.fakes.compatible import ERRORS, SEEN, SERVERS, FakeCompatible
from tests.models.faults import faults, stalls

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
_AT_ONCE = 5
BEGIN, END = "<!-- capabilities: begin -->", "<!-- capabilities: end -->"
PROVIDERS = tuple(name for name in providers() if name not in {"script", "replay"})
MODELS = {
    "anthropic": "claude-sonnet-5",
    "openai": "gpt-5",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
READ_LOG = ToolSpec(
    name="read_log",
    description="Reads a log.",
    input_schema={"type": "object", "properties": {"lines": {"type": "integer"}}},
)
KINDS = {
    "bad_request": errors.BadRequest,
    "authentication": errors.AuthenticationFailed,
    "permission": errors.PermissionDenied,
    "not_found": errors.ModelNotFound,
    "too_long": errors.ContextTooLong,
    "rate_limit": errors.RateLimited,
    "server_error": errors.ServerError,
    "overloaded": errors.Overloaded,
    "quota": errors.QuotaExceeded,
    "refused": errors.ContentRefused,
}
_OPENAI = {
    "bad_request": Failure(400),
    "authentication": Failure(401),
    "permission": Failure(403),
    "not_found": Failure(404),
    "too_long": Failure(400, "Too long.", code="context_length_exceeded"),
    "rate_limit": Failure(429),
    "server_error": Failure(500),
    "overloaded": Failure(503),
    "quota": Failure(429, "You exceeded your current quota.", code="insufficient_quota"),
    "refused": Failure(400, "Flagged by our policy.", code="content_policy_violation"),
}
_FAILURES: dict[str, dict[str, Failure]] = {
    "anthropic": {
        "bad_request": Failure(400),
        "authentication": Failure(401),
        "permission": Failure(403),
        "not_found": Failure(404),
        "too_long": Failure(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        "rate_limit": Failure(429),
        "server_error": Failure(500),
        "overloaded": Failure(529),
        "quota": Failure(400, "Your credit balance is too low to access the Anthropic API."),
    },
    "openai": _OPENAI,
    "openai-chat": _OPENAI,
    "bedrock": {
        "bad_request": Failure(400),
        "authentication": Failure(403, type="UnrecognizedClientException"),
        "permission": Failure(403),
        "not_found": Failure(404),
        "too_long": Failure(400, "Input is too long for requested model."),
        "rate_limit": Failure(429),
        "server_error": Failure(500),
        "overloaded": Failure(503),
        "quota": Failure(400, type="ServiceQuotaExceededException"),
    },
}
Fake = FakeAnthropic | FakeBedrock | FakeOpenAI


class UnavailableError(Exception):
    """The provider has no such thing."""


def fake_of(name: str, **options: Any) -> Fake:
    """A server that is faithful to the provider on the wire."""
    if name in SERVERS:
        return FakeCompatible(name, **options)
    plain: dict[str, type[Fake]] = {"anthropic": FakeAnthropic, "bedrock": FakeBedrock}
    return plain.get(name, FakeOpenAI)(**options)


def served(name: str, fake: Fake, model: str = "", **options: Any) -> Model:
    """A model of the provider, at the server."""
    model = model or MODELS.get(name, "some-model")
    return resolve_model(f"{name}:{model}", base_url=fake.base_url, api_key="k", **options)


def ask(*more: Message, **options: Any) -> ModelRequest:
    """A request with instructions and a tool."""
    sampling = options.pop("sampling", Sampling(max_tokens=4096))
    return ModelRequest(
        messages=(Message.user("why?"), *more),
        system="be exact",
        tools=(READ_LOG,),
        sampling=sampling,
    )


async def answer(model: Model, request: ModelRequest) -> ModelResponse:
    """The whole response."""
    last = [event async for event in model.stream(request)][-1]
    assert isinstance(last, ModelResponse)
    return last


async def text(name: str) -> str:
    async with fake_of(name) as fake:
        fake.reply("checkout waits for payments")
        events = [event async for event in served(name, fake).stream(ask())]
    last = events[-1]
    assert isinstance(last, ModelResponse)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == last.message.text
    assert last.message.text == "checkout waits for payments"
    assert last.model.startswith(f"{name}:")
    return "pass"


async def parallel_tools(name: str) -> str:
    calls = (ToolCall("read_log", {"lines": 3}), ToolCall("read_log", {"lines": 5}))
    async with fake_of(name) as fake:
        fake.reply(Reply("Looking.", *calls), Reply("It is the lock."))
        model = served(name, fake)
        first = await answer(model, ask())
        assert first.stop_reason is StopReason.TOOL_USE
        assert [c.arguments for c in first.message.tool_calls] == [{"lines": 3}, {"lines": 5}]
        results = tuple(ToolResult(c.id, c.name, "locked") for c in first.message.tool_calls)
        second = await answer(model, ask(first.message, Message("tool", results)))
    assert second.message.text == "It is the lock."
    return "pass"


async def thinking(name: str) -> str:
    dialect = SERVERS[name].dialect if name in SERVERS else None
    if dialect is not None and not (dialect.reasoning or dialect.thoughts):
        raise UnavailableError
    sampling = Sampling(max_tokens=4096, thinking_tokens=2048, reasoning_effort="low")
    async with fake_of(name) as fake:
        thought = Thinking("Two logs, then.")
        fake.reply(Reply(thought, "Hm.", ToolCall("read_log", {"lines": 1})), Reply("ok"))
        model = served(name, fake)
        events = [event async for event in model.stream(ask(sampling=sampling))]
        first = events[-1]
        assert isinstance(first, ModelResponse)
        shown = "".join(e.text for e in events if isinstance(e, ThinkingDelta))
        if not shown:
            raise UnavailableError
        assert shown == "Two logs, then."
        results = tuple(ToolResult(c.id, c.name, "x") for c in first.message.tool_calls)
        again = ask(first.message, Message("tool", results), sampling=sampling)
        await answer(model, again)
        returned = "Two logs, then." in json.dumps(fake.requests[-1].json)
    return "shown, returned" if returned else "shown"


async def usage(name: str) -> str:
    async with fake_of(name) as fake:
        fake.reply(Reply("ok", usage=Usage(input=90, output=70, cache_read=40)))
        used = (await answer(served(name, fake), ask())).usage
    assert (used.input_tokens, used.output_tokens, used.cache_read_tokens) == (90, 70, 40)
    return "pass"


async def stop_reasons(name: str) -> str:
    async with fake_of(name) as fake:
        fake.reply(Reply("a", stop="length"), Reply("b", stop="filter"), Reply("c"))
        model = served(name, fake)
        found = [(await answer(model, ask())).stop_reason for _ in range(3)]
    assert found == [StopReason.MAX_TOKENS, StopReason.REFUSAL, StopReason.END_TURN]
    return "pass"


async def structured_output(name: str) -> str:
    schema = {
        "type": "object",
        "properties": {"cause": {"type": "string"}},
        "required": ["cause"],
        "additionalProperties": False,
    }
    async with fake_of(name) as fake:
        model = served(name, fake)
        way: str = getattr(model, "structured_output", "prompt")
        said = {"cause": "the lock"}
        fake.reply(Reply(ToolCall("answer", said)) if way == "tool" else Reply(json.dumps(said)))
        result = await Agent(model=model, output_schema=schema).run("why?")
        body = fake.requests[0].json
    assert result.status is RunStatus.COMPLETED
    assert result.output == said
    assert bool(body.get("tools") or body.get("toolConfig")) is (way == "tool")
    return {"native": "native", "tool": "by a tool", "prompt": "by words"}[way]


async def batches(name: str) -> str:
    async with fake_of(name) as fake:
        model = served(name, fake)
        try:
            api = batch_api(model)
        except errors.ConfigurationError:
            raise UnavailableError from None
        fake.reply("ok")
        batch_id = await api.submit("k", [api.encode("a", ask())])
        while not (await api.progress(batch_id)).ended:
            pass
        [(_, response)] = [each async for each in api.results(batch_id)]
    assert isinstance(response, ModelResponse)
    assert response.message.text == "ok"
    return "pass"


async def failures(name: str) -> str:
    async with fake_of(name) as fake:
        model = served(name, fake)
        known = _FAILURES.get(name) or {
            kind: fake.failure(kind)
            for kind in fake.errors  # type: ignore[union-attr]
        }
        for kind, failure in known.items():
            fake.reply(failure)
            found = None
            try:
                await answer(model, ask())
            except errors.ModelError as error:
                found = error
            assert type(found) is KINDS[kind], (kind, found)
            assert found.provider in {name, name.partition("-")[0]}, found.provider
            assert str(found).startswith(f"{found.provider}: ")
    if name not in SERVERS:
        return f"pass ({len(known)})"
    own, seen = len(ERRORS.get(name, {})), len(SEEN.get(name, ()))
    return f"pass ({len(known)}: {own} own, {seen} seen)"


async def stream_errors(name: str) -> str:
    kind = "internalServerException" if name == "bedrock" else "server_error"
    kind = "api_error" if name == "anthropic" else kind
    failed = StreamError(kind, "Provider disconnected", "server_error", 5)
    async with fake_of(name) as fake:
        fake.reply(Reply("checkout waits for payments", delta=4, error=failed))
        with pytest.raises(errors.ServerError, match="Provider disconnected") as caught:
            await answer(served(name, fake), ask())
    assert caught.value.partial is not None
    return "pass"


CAPABILITIES: dict[str, Callable[[str], Awaitable[str]]] = {
    "text": text,
    "parallel tools": parallel_tools,
    "thinking": thinking,
    "usage, cache": usage,
    "stop reasons": stop_reasons,
    "output schema": structured_output,
    "batches": batches,
    "errors": failures,
    "errors in a stream": stream_errors,
    "faults": faults,
    "stalls": stalls,
}


async def outcome(name: str, capability: str) -> str:
    """The table's word for what became of a try."""
    try:
        return await CAPABILITIES[capability](name)
    except UnavailableError:
        return "none"
    except Exception as error:
        return f"fails: {type(error).__name__}: {error}".partition("\n")[0]


async def _outcomes() -> dict[str, dict[str, str]]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def tried(name: str) -> dict[str, str]:
        async with places:
            return {each: await outcome(name, each) for each in CAPABILITIES if each != "stalls"}

    async def stalled(name: str) -> dict[str, str]:
        return {"stalls": await outcome(name, "stalls")}

    found = await asyncio.gather(*map(tried, PROVIDERS))
    # All at once, and after the rest: they wait for what does not come, and hardly work.
    waited = await asyncio.gather(*map(stalled, PROVIDERS))
    return {name: a | b for name, a, b in zip(PROVIDERS, found, waited, strict=True)}


def outcomes() -> dict[str, dict[str, str]]:
    """What becomes of all tries, by provider and capability."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
        patch.setenv("AWS_REGION", "us-east-1")
        try:
            return asyncio.run(_outcomes())
        finally:
            resilience.reset()


def table(found: dict[str, dict[str, str]]) -> str:
    """The table, of which the page has one."""
    rows = [
        f"| `{name}` | " + " | ".join(found[name][each] for each in CAPABILITIES) + " |"
        for name in found
    ]
    head = f"| provider | {' | '.join(CAPABILITIES)} |"
    return "\n".join([head, "|---" * (len(CAPABILITIES) + 1) + "|", *rows])


def written() -> str:
    """The table as the page has it."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write(new: str) -> None:
    """Puts the table into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{new}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write(table(outcomes()))
