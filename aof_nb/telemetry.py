"""OpenTelemetry spans and metrics of runs, by the GenAI semantic conventions.

Off unless the process has set up OpenTelemetry itself: then nothing of it is imported, and a run
has no layer more. On, a run has a span, with one below it for each request that is sent to a
model, retries included, and for each tool call.

Sources: OpenTelemetry, *Semantic conventions for generative client AI spans*, *for GenAI agent
and framework spans* and *for generative AI metrics*.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb._version import __version__
from aof_nb.errors import ModelError
from aof_nb.events import (
    DELTAS,
    ApprovalAnswered,
    ApprovalRequested,
    Event,
    ModelEvent,
    ModelResponse,
)
from aof_nb.messages import Message, Outcome, Text, Thinking, ToolCall, ToolResult, Usage
from aof_nb.models.layer import ModelLayer
from aof_nb.ports import Model, ModelRequest, Tool, ToolContext, ToolOutput, ToolSpec

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.trace import Span, Tracer

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable that lets prompts, answers and tool outputs into the spans."""

_SCOPE = "aof_nb"
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "openai-chat": "openai",
    "xai": "x_ai",
}
_SECONDS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12),
    *(10.24, 20.48, 40.96, 81.92),
)
_TOKENS = tuple(4**power for power in range(14))


class RunTelemetry:
    """The span of one run, and the layers that trace what happens in it.

    Args:
        tracer: Makes the spans.
        run_id: The run's id.
        agent: The agent's name.
        model: The model's full name.
        session: The conversation's id, if there is one.
        prompt: What is asked; kept only where content is.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        run_id: str,
        agent: str,
        model: str,
        session: str | None,
        prompt: str,
    ) -> None:
        from opentelemetry import trace

        self._tracer = tracer
        self._metrics = _metrics()
        self._content = _wants_content()
        provider, name = names(model)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": agent,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": name,
            "aof.run.id": run_id,
        }
        if session is not None:
            attributes["gen_ai.conversation.id"] = session
        if self._content:
            attributes["gen_ai.input.messages"] = _messages((Message.user(prompt),))
        self._span = tracer.start_span(f"invoke_agent {agent}", attributes=attributes)
        self._context = trace.set_span_in_context(self._span)

    def model(self, model: Model) -> Model:
        """The model, with a span for each request that it is sent."""
        return _TracedModel(model, self)

    def tools(self, tools: Sequence[Tool]) -> list[Tool]:
        """The tools, with a span for each call."""
        return [_TracedTool(tool, self) for tool in tools]

    def end(self, status: str, usage: Usage, text: str, error: BaseException | None) -> None:
        """Ends the run's span."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attributes({"aof.run.status": status, **_used(usage)})
        if self._content and text:
            answer = Message("assistant", (Text(text),))
            self._span.set_attribute("gen_ai.output.messages", _messages((answer,)))
        if status == "failed":
            said = getattr(error, "message", str(error))
            self._span.set_attribute("error.type", type(error).__name__ if error else "failed")
            self._span.set_status(Status(StatusCode.ERROR, said))
        elif status == "cancelled":
            self._span.set_attribute("error.type", "cancelled")
        self._span.end()

    def _asked(self, model: str, request: ModelRequest) -> tuple[Span, dict[str, Any]]:
        from opentelemetry.trace import SpanKind

        provider, name = names(model)
        common = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": name,
        }
        sampling = request.sampling
        wanted = {
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.stop_sequences": sampling.stop or None,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "json" if request.output_schema is not None else None,
        }
        if self._content:
            wanted["gen_ai.input.messages"] = _messages(request.messages)
            if request.system:
                wanted["gen_ai.system_instructions"] = _json(
                    [{"type": "text", "content": request.system}]
                )
        attributes = common | {key: value for key, value in wanted.items() if value is not None}
        span = self._tracer.start_span(
            f"chat {name}", context=self._context, kind=SpanKind.CLIENT, attributes=attributes
        )
        return span, common

    def _answered(
        self,
        span: Span,
        common: dict[str, Any],
        seconds: float,
        response: ModelResponse | None,
        error: str,
    ) -> None:
        measured = dict(common)
        if response is not None:
            measured["gen_ai.response.model"] = names(response.model)[1]
            found: dict[str, Any] = {
                "gen_ai.response.model": measured["gen_ai.response.model"],
                "gen_ai.response.finish_reasons": [response.stop_reason.value],
                **_used(response.usage),
            }
            if response.response_id:
                found["gen_ai.response.id"] = response.response_id
            if self._content:
                found["gen_ai.output.messages"] = _messages((response.message,))
            span.set_attributes(found)
            for kind, tokens in (
                ("input", response.usage.input_tokens),
                ("output", response.usage.output_tokens),
            ):
                self._metrics.tokens.record(tokens, measured | {"gen_ai.token.type": kind})
        if error:
            measured["error.type"] = error
        self._metrics.duration.record(seconds, measured)
        span.end()


class _TracedModel(ModelLayer):
    """See `RunTelemetry.model`."""

    def __init__(self, model: Model, telemetry: RunTelemetry) -> None:
        super().__init__(model)
        self._telemetry = telemetry

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the response."""
        # The context is named, not entered: a generator may be closed from another one.
        span, common = self._telemetry._asked(self.name, request)  # noqa: SLF001
        begun, first = time.perf_counter(), True
        response: ModelResponse | None = None
        error = ""
        try:
            async with contextlib.aclosing(self._model.stream(request)) as events:
                async for event in events:
                    if first and isinstance(event, DELTAS):
                        first = False
                        span.set_attribute(
                            "gen_ai.response.time_to_first_chunk", time.perf_counter() - begun
                        )
                    if isinstance(event, ModelResponse):
                        response = event
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            error = "" if response is not None else "cancelled"
            if error:
                span.set_attribute("error.type", error)
            raise
        except Exception as raised:
            error = type(raised).__name__
            _failed(span, raised)
            raise
        finally:
            seconds = time.perf_counter() - begun
            self._telemetry._answered(span, common, seconds, response, error)  # noqa: SLF001


class _TracedTool:
    """See `RunTelemetry.tools`. Its span is the current one for whatever the tool does."""

    def __init__(self, tool: Tool, telemetry: RunTelemetry) -> None:
        self._tool = tool
        self._telemetry = telemetry

    @property
    def spec(self) -> ToolSpec:
        """The tool's own definition."""
        return self._tool.spec

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool."""
        from opentelemetry import trace

        telemetry, spec = self._telemetry, self.spec
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": spec.name,
            "gen_ai.tool.call.id": context.call_id,
            "gen_ai.tool.type": "function",
            "aof.tool.effect": spec.effect.value,
        }
        if telemetry._content:  # noqa: SLF001
            attributes["gen_ai.tool.call.arguments"] = _json(arguments)
        span = telemetry._tracer.start_span(  # noqa: SLF001
            f"execute_tool {spec.name}",
            context=telemetry._context,  # noqa: SLF001
            attributes=attributes,
        )
        inner = msgspec.structs.replace(context, emit=_noting(span, context))
        with trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                output = await self._tool.call(arguments, inner)
            except asyncio.CancelledError:
                span.set_attribute("error.type", "cancelled")
                raise
            except (Exception, SystemExit) as error:
                _failed(span, error)
                raise
            if isinstance(output, ToolOutput):
                if output.is_error:
                    denied = Outcome.DENIED if output.denied else Outcome.ERROR
                    span.set_attribute("error.type", denied.value)
                if telemetry._content:  # noqa: SLF001
                    span.set_attribute("gen_ai.tool.call.result", _json(output.content))
            return output


def _noting(span: Span, context: ToolContext) -> Any:
    """Emits as the context does; how long a person took to answer is seen on the span."""

    def emit(event: Event) -> None:
        if isinstance(event, ApprovalRequested):
            span.add_event("aof.approval.requested")
        elif isinstance(event, ApprovalAnswered):
            span.add_event(
                "aof.approval.answered", {"aof.approved": event.approved, "aof.via": event.via}
            )
        context.emit(event)

    return emit


def _failed(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", type(error).__name__)
    if isinstance(error, ModelError):
        if error.status is not None:
            span.set_attribute("http.response.status_code", error.status)
        if error.request_id:
            span.set_attribute("aof.request.id", error.request_id)
    # What a tool's exception says may be the content that was not asked for.
    said = error.message if isinstance(error, ModelError) else type(error).__name__
    span.set_status(Status(StatusCode.ERROR, said))


def names(model: str) -> tuple[str, str]:
    """A model's provider and own name, as the conventions have them.

    Example:
        >>> names("bedrock:amazon.nova-pro-v1:0")
        ('aws.bedrock', 'amazon.nova-pro-v1:0')
    """
    provider, colon, name = model.partition(":")
    if not colon:
        return "aof_nb", model
    return _PROVIDERS.get(provider, provider), name


def _used(usage: Usage) -> dict[str, int]:
    found = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.cache_read_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        found["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens
    return found


class _Metrics(msgspec.Struct, frozen=True):
    """The two histograms of the conventions."""

    duration: Any
    tokens: Any


def _metrics() -> _Metrics:
    from opentelemetry import metrics

    meter = metrics.get_meter(_SCOPE, __version__)
    duration: Histogram = meter.create_histogram(
        "gen_ai.client.operation.duration",
        unit="s",
        description="GenAI operation duration.",
        explicit_bucket_boundaries_advisory=_SECONDS,
    )
    tokens: Histogram = meter.create_histogram(
        "gen_ai.client.token.usage",
        unit="{token}",
        description="Number of input and output tokens used.",
        explicit_bucket_boundaries_advisory=_TOKENS,
    )
    return _Metrics(duration, tokens)


def run_telemetry(
    *, run_id: str, agent: str, model: str, session: str | None, prompt: str
) -> RunTelemetry | None:
    """A run's telemetry, its span begun below the current one; None if nobody has set it up.

    Args:
        run_id: The run's id.
        agent: The agent's name.
        model: The model's full name.
        session: The conversation's id, if there is one.
        prompt: What is asked.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    if isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider
    ):
        return None
    tracer = trace.get_tracer(_SCOPE, __version__)
    return RunTelemetry(
        tracer, run_id=run_id, agent=agent, model=model, session=session, prompt=prompt
    )


def _wants_content() -> bool:
    return os.environ.get(CONTENT_VARIABLE, "").strip().lower() in {
        *("true", "1", "span_only", "span_and_event"),
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _messages(messages: Sequence[Message]) -> str:
    return _json([{"role": each.role, "parts": _parts(each)} for each in messages])


def _parts(message: Message) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for part in message.parts:
        match part:
            case Text(text):
                found.append({"type": "text", "content": text})
            case Thinking(text) if text:
                found.append({"type": "reasoning", "content": text})
            case ToolCall():
                arguments = part.raw_arguments if part.arguments is None else part.arguments
                call = {"type": "tool_call", "id": part.id, "name": part.name}
                found.append(call | {"arguments": arguments})
            case ToolResult():
                found.append(
                    {"type": "tool_call_response", "id": part.call_id, "response": part.content}
                )
            case _:
                pass
    return found
