"""Holds any model to an output schema: by its API, by a tool, or by words.

A layer around one model, inside the retries and the chain, so that each model of a chain is
asked in the way it understands. What it gives back is always text: a call of the answer's tool
comes out as the JSON of its arguments, so the loop, the memory and the next model of the chain
never see that tool.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator

import msgspec

from aof_nb.errors import BadRequest, ModelError
from aof_nb.events import ModelEvent, ModelResponse, Notice, TextDelta, ToolCallDelta
from aof_nb.messages import Message, Part, StopReason, Text, ToolCall
from aof_nb.models.counting import counted
from aof_nb.models.layer import ModelLayer
from aof_nb.models.schema_dialects import Dialect
from aof_nb.ports import Effect, Model, ModelRequest, OutputSchema, StructuredOutput, ToolSpec
from aof_nb.readable import indented_json
from aof_nb.truncation import truncate

_TOOL = "answer"
_TOOL_INSTRUCTIONS = (
    "Give your final answer by calling the tool {name}, once, when all other work is done. "
    "Its arguments are the answer; do not answer in text."
)
_PROMPT_INSTRUCTIONS = (
    "Your final answer is one JSON object that fits this JSON Schema, and nothing else: no words "
    "before or after it, no Markdown. Put into it what you would otherwise say.\n\n{schema}"
)

# How providers name what they will not have: a schema too large for them, or any at all.
_REFUSED = re.compile(
    r"output_config|output_format|response_format|text\.format|json_schema|structured output"
    r"|guided|compiled grammar|outputConfig|response.?mime.?type",
    re.IGNORECASE,
)
# How servers name that a model, or the server as it was started, has no tools.
_NO_TOOLS = re.compile(
    r"not support (?:tool|function)|tools? (?:is|are|use is) not supported|tool choice requires"
    r"|tool-call-parser",
    re.IGNORECASE,
)


def way_of(model: Model, schema: OutputSchema) -> StructuredOutput:
    """How a model is held to a schema.

    One that has it natively takes a dialect of JSON Schema: what cannot be said in it is asked
    for by a tool, unless the provider takes loose schemas too.
    """
    way: StructuredOutput = getattr(model, "structured_output", "prompt")
    dialect: Dialect | None = getattr(model, "schema_dialect", None)
    if way == "native" and dialect is not None and not dialect.loose:
        expressible = schema.strict and dialect.strict(schema.schema) is not None
        return "native" if expressible else "tool"
    return way


def structured(model: Model, schema: OutputSchema) -> Model:
    """A model that answers with JSON for a schema.

    Args:
        model: The model.
        schema: What the answer is to be.
    """
    return StructuredModel(model, schema, way_of(model, schema))


class StructuredModel(ModelLayer):
    """A model that is asked for JSON by its API, by a tool or by words; for one run.

    Where the API refuses the schema, it is asked for by a tool from then on, and by words where
    it knows no tools.

    Args:
        model: The model.
        schema: What the answer is to be.
        way: How to ask at first.
    """

    structured_output: StructuredOutput = "native"

    def __init__(self, model: Model, schema: OutputSchema, way: StructuredOutput) -> None:
        super().__init__(model)
        self._schema = schema
        self._way = way
        self._beside_tools: bool = getattr(model, "schema_beside_tools", True)
        self._declared: tuple[ToolSpec, ...] = ()
        self._with_answer: tuple[ToolSpec, ...] = ()
        text = indented_json(schema.schema)
        self._words = _PROMPT_INSTRUCTIONS.format(schema=text)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response, in which the answer is text; one that asks for text passes."""
        while True:
            way = self._way_for(request)
            try:
                async with contextlib.aclosing(self._ask(request, way)) as events:
                    async for event in events:
                        yield event
            except BadRequest as error:
                said = truncate(error.message, 200)
                if way == "native" and _REFUSED.search(error.message):
                    self._way = "tool"
                    notice = "the output schema, so a tool is to take the answer"
                elif way == "tool" and not request.tools and _NO_TOOLS.search(error.message):
                    self._way = "prompt"
                    notice = "tools, so the answer's schema goes into the instructions"
                else:
                    raise
                yield Notice(f"{self.name} does not take {notice}: {said}")
            else:
                return

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The input tokens of a request as this model is sent it, if the provider counts them."""
        way = self._way_for(request)
        asked = request if way == "native" else self._asked(request, way)[0]
        return await counted(self._model, asked)

    def _way_for(self, request: ModelRequest) -> StructuredOutput:
        if request.output_schema is None:
            return "native"
        if self._way == "native" and request.tools and not self._beside_tools:
            return "tool"
        return self._way

    async def _ask(
        self, request: ModelRequest, way: StructuredOutput
    ) -> AsyncGenerator[ModelEvent, None]:
        if way == "native":
            async with contextlib.aclosing(self._model.stream(request)) as events:
                async for event in events:
                    yield event
            return
        asked, tool = self._asked(request, way)
        reading = _Reading(tool)
        try:
            async with contextlib.aclosing(self._model.stream(asked)) as events:
                async for event in events:
                    yield event if tool is None else reading.event(event)
        except ModelError as error:
            if tool is not None and error.partial is not None:
                error.partial = reading.message(error.partial)
            raise

    def _asked(
        self, request: ModelRequest, way: StructuredOutput
    ) -> tuple[ModelRequest, str | None]:
        """The request as this model is sent it, and the name of the answer's tool if it has one."""
        tools, name = request.tools, None
        if way == "tool":
            if request.tools is not self._declared or not self._with_answer:
                # The same tuple each time, so that it is encoded once.
                self._declared, self._with_answer = request.tools, self._tools(request.tools)
            tools = self._with_answer
            name = tools[-1].name
        words = self._words
        if name is not None and request.tool_choice == "auto":
            words = _TOOL_INSTRUCTIONS.format(name=name)
        asked = msgspec.structs.replace(
            request,
            system="\n\n".join(filter(None, (request.system, words))),
            tools=tools,
            output_schema=None,
        )
        return asked, name

    def _tools(self, tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
        taken = {tool.name for tool in tools}
        name, number = _TOOL, 2
        while name in taken:
            name, number = f"{_TOOL}_{number}", number + 1
        answer = ToolSpec(
            name=name,
            description=self._schema.description or "Gives the final answer and ends the work.",
            input_schema=self._schema.schema,
            effect=Effect.READ,
        )
        return (*tools, answer)


class _Reading:
    """Turns calls of the answer's tool into text."""

    def __init__(self, tool: str | None) -> None:
        self._tool = tool
        self._shown = False
        self._begun: set[int] = set()

    def event(self, event: ModelEvent) -> ModelEvent:
        match event:
            case TextDelta():
                self._shown = True
            case ToolCallDelta(index=index, name=name) if name == self._tool:
                text = event.arguments
                if index not in self._begun:
                    self._begun.add(index)
                    text = f"\n\n{text}" if self._shown else text
                self._shown = True
                return TextDelta(text)
            case ModelResponse():
                message = self.message(event.message)
                if message is not event.message:
                    reason = event.stop_reason
                    if reason is StopReason.TOOL_USE and not message.tool_calls:
                        reason = StopReason.END_TURN
                    return msgspec.structs.replace(event, message=message, stop_reason=reason)
            case _:
                pass
        return event

    def message(self, message: Message) -> Message:
        """The message with the answer as text; the same one if it has no answer."""
        parts: list[Part] = []
        said = changed = False
        for part in message.parts:
            if isinstance(part, ToolCall) and part.name == self._tool:
                text = part.raw_arguments
                if part.arguments is not None:
                    text = msgspec.json.encode(part.arguments).decode()
                parts.append(Text(f"\n\n{text}" if said else text))
                said = changed = True
            else:
                said = said or isinstance(part, Text)
                parts.append(part)
        return msgspec.structs.replace(message, parts=tuple(parts)) if changed else message
