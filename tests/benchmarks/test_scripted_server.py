"""The benchmarks' server says in all three protocols what a model's name asks for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

SERVER = Path(__file__).parents[2] / "benchmarks" / "scripted_server.py"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address; it ends with its standard input."""
    port = tmp_path_factory.mktemp("server") / "port"
    command = [sys.executable, str(SERVER), "--port-file", str(port), "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        while not port.exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port.read_text()}"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("model", ["bench-2-10", "bench-2-10-p1ms"])
async def test_messages(url: str, model: str) -> None:
    client = anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": 'a "role":"tool" in text does not count'}]
    keys = []
    for _ in range(2):
        ask = client.messages.stream(model=model, max_tokens=99, messages=messages)
        async with ask as stream:
            (call,) = (await stream.get_final_message()).content
        assert call.type == "tool_use"
        keys.append(call.input)
        messages.append({"role": "assistant", "content": [call.model_dump(exclude_none=True)]})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "ok"}
        messages.append({"role": "user", "content": [result]})
    assert keys == [{"key": "turn-1"}, {"key": "turn-2"}]
    async with client.messages.stream(model=model, max_tokens=99, messages=messages) as stream:
        deltas = [text async for text in stream.text_stream]
    assert len(deltas) == 10
    message = await client.messages.create(model=model, max_tokens=99, messages=messages)
    assert message.content[0].text == "".join(deltas)


async def test_chat_completions(url: str) -> None:
    client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="x", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "go"}]
    first = await client.chat.completions.create(model="bench-1-7", messages=messages)
    (call,) = first.choices[0].message.tool_calls
    assert call.function.arguments == '{"key": "turn-1"}'
    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "ok"})
    stream = await client.chat.completions.create(model="bench-1-7", messages=messages, stream=True)
    deltas = [c.choices[0].delta.content async for c in stream]
    assert len([delta for delta in deltas if delta]) == 7


async def test_responses(url: str) -> None:
    client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="x", max_retries=0)
    first = await client.responses.create(model="bench-1-7", input="go")
    (call,) = first.output
    asked: list[Any] = [
        {"role": "user", "content": "go"},
        call.model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": call.call_id, "output": "ok"},
    ]
    stream = await client.responses.create(model="bench-1-7", input=asked, stream=True)
    kinds = [event.type async for event in stream]
    assert kinds.count("response.output_text.delta") == 7
    assert kinds[-1] == "response.completed"


async def test_pace_is_kept_and_other_names_are_refused(url: str) -> None:
    async with httpx2.AsyncClient(base_url=url) as client:
        body = {"model": "bench-0-40-p5ms", "messages": [], "stream": True}
        began = time.monotonic()
        answer = await client.post("/v1/chat/completions", json=body)
        assert time.monotonic() - began >= 0.2
        assert answer.text.endswith("data: [DONE]\n\n")
        refused = await client.post("/v1/messages", json={"model": "claude"})
        assert refused.status_code == 404

        async def chunks() -> Any:
            yield b'{"model":"bench-1-1","messages":[{"ro'
            yield b'le":"tool"}]}'

        answer = await client.post("/v1/chat/completions", content=chunks())
        assert answer.json()["choices"][0]["message"]["content"] == "the "
