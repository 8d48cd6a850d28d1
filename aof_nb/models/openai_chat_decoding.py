"""The stream of the Chat Completions API, as OpenAI and others speak it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import Message, Part, StopReason, Text, Thinking, Usage
from aof_nb.models.assembly import (
    Deltas,
    interrupted,
    objects,
    stop_reason,
    string,
    tool_call,
)
from aof_nb.models.compatible import OPENAI, Endpoint
from aof_nb.models.failures import classify
from aof_nb.models.openai import Failure

_STOP = {
    "stop": StopReason.END_TURN,
    "eos": StopReason.END_TURN,
    "length": StopReason.MAX_TOKENS,
    "model_length": StopReason.CONTEXT_FULL,
    "tool_calls": StopReason.TOOL_USE,
    "function_call": StopReason.TOOL_USE,
    "content_filter": StopReason.REFUSAL,
}
# DeepSeek's, Mistral's, vLLM's and Gemini's words for what came to nothing.
_FAILED = {
    "insufficient_system_resource": "overloaded_error",
    "error": "server_error",
    "abort": "server_error",
    "function_call_filter": "server_error",
}
_THOUGHT_BEGINS, _THOUGHT_ENDS = "<thought>", "</thought>"
# What grows of OpenRouter's details from piece to piece.
_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: dict[str, Any] | None = None


class _Piece(msgspec.Struct):
    text: str | None = None
    thinking: list[_Piece | None] | str | None = None


class _Delta(msgspec.Struct):
    content: str | list[_Piece | None] | None = None
    function_call: _Function | None = None
    annotations: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: Any = None
    tool_calls: list[_CallDelta | None] | None = None
    extra_content: dict[str, Any] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    index: int | None = None
    usage: _Usage | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None


class _Groq(msgspec.Struct):
    usage: _Usage | None = None
    error: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice | None] | None = None
    usage: _Usage | None = None
    error: Failure | str | None = None
    x_groq: _Groq | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _Call:
    """A tool call while it is being streamed."""

    __slots__ = ("arguments", "extra", "id", "name")

    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


def _is_whole(call: _Call) -> bool:
    try:
        msgspec.json.decode("".join(call.arguments))
    except msgspec.DecodeError:
        return False
    return True


class ChatDecoder:
    """Decodes the stream of the Chat Completions API.

    Args:
        model: The model's full name, until the response says which one answered.
        endpoint: The provider.
    """

    def __init__(self, model: str, endpoint: Endpoint = OPENAI) -> None:
        self._provider = endpoint.name
        self._whole_calls = endpoint.whole_calls
        self._extra: dict[str, Any] = {}
        self._asked = model
        self._answered: str | None = None
        self._id = ""
        self._texts: list[str] = []
        self._thinking: list[str] = []
        self._thinking_field = ""
        self._thinking_details: list[dict[str, Any]] = []
        self._in_thought = False
        self._annotations: list[dict[str, Any]] = []
        self._calls: list[_Call] = []
        self._slots: dict[int, _Call] = {}
        self._refused = False
        self._finish: str | None = None
        self._usage = _Usage()
        self._deltas = Deltas()

    @property
    def complete(self) -> bool:
        """Whether a finish reason has come; the usage after it is welcome, not needed."""
        return self._finish is not None

    def feed(self, payload: bytes) -> None:
        """Takes one chunk; unknown fields are skipped."""
        if payload == b"[DONE]":
            return
        chunk = _decode(payload)
        if chunk.x_groq is not None:
            self._usage = chunk.x_groq.usage or self._usage
            chunk.error = chunk.error or chunk.x_groq.error
        if chunk.error is not None:
            failure = chunk.error
            raise (Failure(failure) if isinstance(failure, str) else failure).typed(self._provider)
        if chunk.id:
            self._id = chunk.id
        if chunk.model:
            self._answered = chunk.model
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if choice is not None and not choice.index:
                if choice.delta is not None:
                    self._grow(choice.delta)
                elif choice.message is not None and not (self._texts or self._calls):
                    # A server that does not stream, or ends with the whole of it.
                    self._grow(choice.message)
                if choice.usage is not None:
                    # Moonshot's place for it.
                    self._usage = choice.usage
                if choice.finish_reason:
                    self._end(choice.finish_reason)

    def _end(self, finish: str) -> None:
        # Gemini adds its own: "content_filter: SAFETY".
        word = finish.partition(":")[0]
        if (kind := _FAILED.get(word)) is not None:
            said = f"the response came to nothing ({finish})"
            raise classify(self._provider, said, words=(kind,))
        self._finish = word

    def _grow(self, delta: _Delta) -> None:
        content = delta.content
        if isinstance(content, list):
            self._grow_pieces(content)
            content = None
        elif content and (self._in_thought or delta.extra_content):
            content = self._without_thought(content, delta.extra_content or {})
        if content:
            self._texts.append(content)
            self._deltas.text(content)
        if delta.refusal:
            self._refused = True
            self._texts.append(delta.refusal)
            self._deltas.text(delta.refusal)
        thinking = delta.reasoning_content or delta.reasoning
        if thinking:
            self._thinking_field = "reasoning_content" if delta.reasoning_content else "reasoning"
            self._thinking.append(thinking)
            self._deltas.thinking(thinking)
        if delta.reasoning_details:
            for detail in objects(delta.reasoning_details):
                self._grow_detail(detail)
        if delta.extra_content:
            self._carry(delta.extra_content)
        if delta.annotations:
            self._annotations += objects(delta.annotations)
        if delta.function_call is not None:
            self._grow_call(_CallDelta(function=delta.function_call))
        for piece in delta.tool_calls or ():
            if piece is not None:
                self._grow_call(piece)

    def _carry(self, extra: dict[str, Any]) -> None:
        """Keeps what is to go back with the message: Gemini's signature of its thoughts."""
        for namespace, told in extra.items():
            if isinstance(told, dict) and (more := told.keys() - {"thought"}):
                known = self._extra.get(namespace, {})
                self._extra[namespace] = known | {key: told[key] for key in more}

    def _without_thought(self, content: str, extra: dict[str, Any]) -> str:
        """What of a piece is the answer: Gemini marks its thoughts, and puts tags around them.

        Source: Gemini API, "OpenAI compatibility", "Thinking"; the second tag comes with the
        first piece that is not marked.
        """
        marked = any(isinstance(each, dict) and each.get("thought") for each in extra.values())
        if not marked:
            answer = content.removeprefix(_THOUGHT_ENDS) if self._in_thought else content
            self._in_thought = False
            return answer
        thought, closed, answer = content.partition(_THOUGHT_ENDS)
        if not self._in_thought:
            thought = thought.removeprefix(_THOUGHT_BEGINS)
        self._in_thought = not closed
        if thought:
            self._thinking.append(thought)
            self._deltas.thinking(thought)
        return answer

    def _grow_detail(self, detail: dict[str, Any]) -> None:
        """Takes a piece of OpenRouter's details, which are to go back as whole ones."""
        field = _GROWING.get(string(detail.get("type")))
        last = self._thinking_details[-1] if self._thinking_details else {}
        if field is None or any(last.get(key) != detail.get(key) for key in ("type", "index")):
            self._thinking_details.append(detail)
            return
        said = {key: value for key, value in detail.items() if value is not None}
        grown = string(last.get(field)) + string(detail.get(field))
        self._thinking_details[-1] = last | said | {field: grown}

    def _grow_pieces(self, pieces: list[_Piece | None]) -> None:
        # Mistral's models that reason stream their content as typed pieces.
        for piece in filter(None, pieces):
            thinking = piece.thinking or ""
            if isinstance(thinking, list):
                thinking = "".join(each.text or "" for each in filter(None, thinking))
            if thinking:
                self._thinking_field = "reasoning_content"
                self._thinking.append(thinking)
                self._deltas.thinking(thinking)
            if piece.text:
                self._texts.append(piece.text)
                self._deltas.text(piece.text)

    def _grow_call(self, piece: _CallDelta) -> None:
        function = piece.function or _Function()
        index = piece.index or 0
        call = self._slots.get(index)
        # Some compatible servers give every call the index 0, or none: a new id is a new call, and
        # so is a name without one where calls come whole, or where the call before is whole.
        if call is None or (function.name and self._begins_anew(call, piece)):
            call = self._slots[index] = _Call()
            self._calls.append(call)
        call.id = piece.id or call.id
        call.name = function.name or call.name
        if piece.extra_content:
            # Gemini's signature of the thoughts behind the call, without which it refuses it.
            call.extra = {"extra_content": piece.extra_content}
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            # Some servers give an object for the JSON of one.
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            call.arguments.append(arguments)
        self._deltas.tool_call(self._calls.index(call), call.name, arguments)

    def _begins_anew(self, call: _Call, piece: _CallDelta) -> bool:
        if piece.id and call.id:
            return piece.id != call.id
        if piece.id or not call.name:
            return False
        return self._whole_calls or (piece.index is None and _is_whole(call))

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        return iter(self._deltas.take())

    def usage(self) -> Usage:
        """The tokens as the last usage chunk counts them."""
        prompt = self._usage.prompt_tokens_details or _PromptDetails()
        completion = self._usage.completion_tokens_details or _CompletionDetails()
        asked, written = self._usage.prompt_tokens or 0, self._usage.completion_tokens or 0
        # Gemini and xAI count reasoning in the total alone.
        hidden = max(0, (self._usage.total_tokens or 0) - asked - written)
        cached = (
            prompt.cached_tokens or self._usage.prompt_cache_hit_tokens or self._usage.cached_tokens
        )
        return Usage(
            input_tokens=asked,
            output_tokens=written + hidden,
            cache_read_tokens=cached or 0,
            cache_write_tokens=prompt.cache_write_tokens or 0,
            reasoning_tokens=completion.reasoning_tokens or hidden,
        )

    def _parts(self) -> list[Part]:
        parts: list[Part] = []
        if self._thinking or self._thinking_details or self._extra:
            thinking = "".join(self._thinking)
            # Without a field of its own, as Gemini's, it is not sent back.
            opaque: dict[str, Any] = (
                {self._thinking_field: thinking} if self._thinking_field else {}
            )
            if self._thinking_details:
                opaque["reasoning_details"] = self._thinking_details
            if self._extra:
                opaque["extra_content"] = self._extra
            parts.append(Thinking(thinking, self._provider, opaque))
        if self._texts:
            found = {"annotations": self._annotations} if self._annotations else {}
            parts.append(Text("".join(self._texts), {self._provider: found} if found else {}))
        return parts

    def response(self) -> ModelResponse:
        """The whole response."""
        parts = self._parts()
        for place, call in enumerate(self._calls):
            call_id = call.id or f"call_{self._id or 'x'}_{place}"
            opaque = {self._provider: call.extra} if call.extra else None
            parts.append(tool_call(call_id, call.name, "".join(call.arguments), opaque))
        model = f"{self._provider}:{self._answered}" if self._answered else self._asked
        reason = StopReason.REFUSAL if self._refused else stop_reason(self._finish, _STOP)
        if self._calls and reason is StopReason.END_TURN:
            reason = StopReason.TOOL_USE
        return ModelResponse(
            message=Message("assistant", tuple(parts), model=model),
            stop_reason=reason,
            usage=self.usage(),
            model=model,
            response_id=self._id,
        )

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived: text and thinking, without calls that may not be whole."""
        return interrupted(self._parts(), self._asked), self.usage()
