"""The official SDKs, used as their documentation shows, against a fake."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
from anthropic.types import Message
from openai.types.chat import ChatCompletionChunk

from tests.fakes.providers import FakeAnthropic, FakeOpenAI

HELLO: Any = [{"role": "user", "content": "hello"}]


def claude(fake: FakeAnthropic) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=fake.base_url, api_key="x", max_retries=0)


def gpt(fake: FakeOpenAI) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=fake.base_url, api_key="x", max_retries=0)


async def say(client: anthropic.AsyncAnthropic, messages: Any = HELLO, **more: Any) -> Message:
    more = {"model": "claude-sonnet-5", "max_tokens": 4096} | more
    ask = client.messages.stream(messages=messages, **more)
    async with ask as stream:
        return await stream.get_final_message()


class Chat:
    """What a chat stream amounts to, put together from the SDK's chunks."""

    def __init__(self) -> None:
        self.text = self.refusal = self.thinking = ""
        self.calls: dict[int, list[str]] = {}
        self.finish: str | None = None
        self.usage: Any = None

    def _take(self, content: Any) -> None:
        if isinstance(content, str):
            self.text += content
            return
        for piece in content:
            self.thinking += "".join(each["text"] for each in piece.get("thinking", []))
            self.text += piece.get("text", "")

    def add(self, chunk: ChatCompletionChunk) -> None:
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices or []:
            delta = choice.delta
            self.finish = choice.finish_reason or self.finish
            self._take(delta.content or "")
            self.refusal += delta.refusal or ""
            extra = delta.model_extra or {}
            self.thinking += extra.get("reasoning_content") or extra.get("reasoning") or ""
            for call in delta.tool_calls or []:
                known = self.calls.setdefault(call.index, ["", "", ""])
                known[0] = call.id or known[0]
                if call.function is not None:
                    known[1] = call.function.name or known[1]
                    known[2] += call.function.arguments or ""


async def chat(client: openai.AsyncOpenAI, messages: Any = HELLO, **more: Any) -> Chat:
    options: Any = {"include_usage": True}
    result = Chat()
    stream = await client.chat.completions.create(
        model="gpt-5", messages=messages, stream=True, stream_options=options, **more
    )
    async for chunk in stream:
        result.add(chunk)
    return result


async def respond(client: openai.AsyncOpenAI, asked: Any = HELLO, **more: Any) -> list[Any]:
    include: Any = ["reasoning.encrypted_content"]
    stream = await client.responses.create(
        model="gpt-5", input=asked, stream=True, store=False, include=include, **more
    )
    return [event async for event in stream]
