"""The loops that are compared: each asks, calls `lookup`, and asks again until there is a text.

`floor_*` are written by hand on one HTTP client and orjson, `transport_*` is the same loop on the
transport that aof_nb uses, `sdk_*` are the official SDKs used as their documentation shows,
`aof_*` is aof_nb with everything switched on: policy, argument validation, limits, events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

PROMPT = "Why is checkout slow?"
SCHEMA = {
    "type": "object",
    "properties": {"key": {"type": "string"}},
    "required": ["key"],
    "additionalProperties": False,
}
CHAT_TOOLS = [
    {
        "type": "function",
        "function": {"name": "lookup", "description": "Looks a key up.", "parameters": SCHEMA},
    }
]
CLAUDE_TOOLS = [{"name": "lookup", "description": "Looks a key up.", "input_schema": SCHEMA}]

Loop = Callable[[str], Awaitable[str]]
TURN_TIMES: list[float] = []


def lookup(key: str) -> str:
    """The tool: it costs nothing, and notes the CPU time at which its turn came."""
    TURN_TIMES.append(time.process_time())
    return f"value of {key}: " + "x" * 200


async def _chat_by_hand(send: Callable[[bytes], Any], model: str) -> str:
    import orjson

    messages: list[dict[str, Any]] = [{"role": "user", "content": PROMPT}]
    while True:
        body = {"model": model, "messages": messages, "tools": CHAT_TOOLS, "stream": True}
        texts: list[str] = []
        calls: dict[int, dict[str, Any]] = {}
        rest = b""
        async for data in send(orjson.dumps(body)):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if not line.startswith(b"data: ") or line == b"data: [DONE]":
                    continue
                for choice in orjson.loads(line[6:])["choices"]:
                    delta = choice["delta"]
                    if delta.get("content"):
                        texts.append(delta["content"])
                    for piece in delta.get("tool_calls") or ():
                        call = calls.setdefault(piece["index"], {"arguments": ""})
                        call["id"] = piece.get("id") or call.get("id")
                        function = piece["function"]
                        call["name"] = function.get("name") or call.get("name")
                        call["arguments"] += function.get("arguments") or ""
        if not calls:
            return "".join(texts)
        asked = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls.values()
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": asked})
        for call in calls.values():
            result = lookup(**orjson.loads(call["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


async def floor_httpx2(url: str, stack: AsyncExitStack) -> Loop:
    """By hand on httpx2 and orjson."""
    import httpx2

    client = await stack.enter_async_context(httpx2.AsyncClient(timeout=60))
    headers = {"authorization": "Bearer k", "content-type": "application/json"}

    async def send(body: bytes) -> Any:
        address = f"{url}/v1/chat/completions"
        async with client.stream("POST", address, content=body, headers=headers) as response:
            async for data in response.aiter_bytes():
                yield data

    return lambda model: _chat_by_hand(send, model)


async def floor_aiohttp(url: str, stack: AsyncExitStack) -> Loop:
    """By hand on aiohttp and orjson."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    headers = {"authorization": "Bearer k", "content-type": "application/json"}

    async def send(body: bytes) -> Any:
        address = f"{url}/v1/chat/completions"
        async with session.post(address, data=body, headers=headers) as response:
            async for data in response.content.iter_any():
                yield data

    return lambda model: _chat_by_hand(send, model)


async def transport_openai(url: str, stack: AsyncExitStack) -> Loop:
    """By hand on the openai client's own transport over aiohttp, responses taken as bytes."""
    import httpx2
    import openai

    transport = openai.DefaultAioHttpClient()
    client = await stack.enter_async_context(
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, http_client=transport)
    )
    options: Any = {"headers": {"content-type": "application/json"}}

    async def send(body: bytes) -> Any:
        response: Any = await client.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            content=body,
            options=options,
            stream=True,
        )
        async for data in response.aiter_bytes():
            yield data
        await response.aclose()

    return lambda model: _chat_by_hand(send, model)


async def sdk_openai(url: str, stack: AsyncExitStack) -> Loop:
    """The openai SDK, as documented."""
    import openai

    client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k"))

    async def run(model: str) -> str:
        messages: list[Any] = [{"role": "user", "content": PROMPT}]
        while True:
            stream = await client.chat.completions.create(
                model=model, messages=messages, tools=CHAT_TOOLS, stream=True
            )
            text = ""
            calls: dict[int, Any] = {}
            async for chunk in stream:
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    for piece in choice.delta.tool_calls or ():
                        if piece.index not in calls:
                            calls[piece.index] = piece
                        else:
                            calls[piece.index].function.arguments += piece.function.arguments
            if not calls:
                return text
            asked = [call.model_dump(exclude={"index"}) for call in calls.values()]
            messages.append({"role": "assistant", "content": text or None, "tool_calls": asked})
            for call in calls.values():
                result = lookup(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    return run


async def sdk_anthropic(url: str, stack: AsyncExitStack) -> Loop:
    """The anthropic SDK, as documented."""
    import anthropic

    client = await stack.enter_async_context(anthropic.AsyncAnthropic(base_url=url, api_key="k"))

    async def run(model: str) -> str:
        messages: list[Any] = [{"role": "user", "content": PROMPT}]
        while True:
            async with client.messages.stream(
                model=model, max_tokens=4096, messages=messages, tools=CLAUDE_TOOLS
            ) as stream:
                async for _ in stream.text_stream:
                    pass
                message = await stream.get_final_message()
            calls = [block for block in message.content if block.type == "tool_use"]
            if not calls:
                return "".join(block.text for block in message.content if block.type == "text")
            messages.append({"role": "assistant", "content": message.content})
            results = [
                {"type": "tool_result", "tool_use_id": each.id, "content": lookup(**each.input)}
                for each in calls
            ]
            messages.append({"role": "user", "content": results})

    return run


def aof_loop(provider: str, url: str, *, journal: bool = True) -> Loop:
    """aof_nb on a provider.

    Args:
        provider: Its prefix in a model's name.
        url: Its address.
        journal: Whether runs are journaled.
    """
    from aof_nb import Agent, Limits, resolve_model, tool

    looked_up = tool(effect="read", name="lookup")(_lookup_tool)

    async def run(model: str) -> str:
        agent = Agent(
            name="bench",
            model=resolve_model(f"{provider}:{model}", base_url=url, api_key="k"),
            tools=[looked_up],
            limits=Limits(max_turns=200),
            journal=journal,
        )
        texts = [
            event.text
            async for event in agent.stream(PROMPT)
            if type(event).__name__ == "TextDelta"
        ]
        return "".join(texts)

    return run


async def _lookup_tool(key: str) -> str:
    """Looks a key up."""
    return lookup(key)


async def aof_openai(url: str, stack: AsyncExitStack) -> Loop:
    """aof_nb on Chat Completions."""
    return aof_loop("openai-chat", f"{url}/v1")


async def aof_responses(url: str, stack: AsyncExitStack) -> Loop:
    """aof_nb on Responses."""
    return aof_loop("openai", f"{url}/v1")


async def aof_anthropic(url: str, stack: AsyncExitStack) -> Loop:
    """aof_nb on Messages."""
    return aof_loop("anthropic", url)


CONTESTANTS: dict[str, Callable[[str, AsyncExitStack], Awaitable[Loop]]] = {
    "httpx2 by hand": floor_httpx2,
    "aiohttp by hand": floor_aiohttp,
    "openai transport by hand": transport_openai,
    "openai SDK as documented": sdk_openai,
    "anthropic SDK as documented": sdk_anthropic,
    "aof_nb openai-chat": aof_openai,
    "aof_nb openai": aof_responses,
    "aof_nb anthropic": aof_anthropic,
}
