"""Bedrock's models over real HTTP, against a server that frames and refuses as AWS does."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import pytest

from aof_nb import errors
from aof_nb.events import ModelResponse, TextDelta, ThinkingDelta, ToolCallDelta
from aof_nb.messages import (
    Message,
    Opaque,
    Outcome,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from aof_nb.models import resolve_model
from aof_nb.ports import Sampling, ToolSpec
from tests.fakes import (
    Failure,
    FakeBedrock,
    RedactedThinking,
    Refusal,
    Reply,
    ServerTool,
    Usage,
)
from tests.fakes import Thinking as Thought
from tests.fakes import ToolCall as Call
from tests.models.bedrock import (
    CLAUDE,
    DEEPSEEK,
    GPT,
    LLAMA,
    NOVA,
    THINK,
    answer,
    ask,
    aws_credentials,
    collect,
    no_thread_left,
    results,
    served,
)

pytestmark = pytest.mark.usefixtures(aws_credentials.__name__, no_thread_left.__name__)


async def test_text_streams_and_ends_in_a_response() -> None:
    spent = Usage(input=900, output=4, cache_read=600, cache_write=200)
    async with FakeBedrock() as fake:
        fake.reply(Reply("checkout waits for payments", usage=spent))
        *deltas, response = await collect(served(fake), ask(system="be exact"))
    assert isinstance(response, ModelResponse)
    assert "".join(e.text for e in deltas if isinstance(e, TextDelta)) == response.message.text
    assert response.message.text == "checkout waits for payments"
    assert response.stop_reason is StopReason.END_TURN
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens) == (900, 4)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (600, 200)
    assert response.model == response.message.model == f"bedrock:{CLAUDE}"
    assert response.response_id
    sent = fake.requests[0]
    assert sent.path == f"/model/{CLAUDE.replace(':', '%3A')}/converse-stream"
    assert "/eu-west-1/bedrock/aws4_request" in sent.headers["authorization"]


async def test_parallel_calls_and_thinking_survive_tool_turns() -> None:
    """The fake refuses a history whose thinking or call pairing is not what it sent."""
    calls = (Call("read_log", {"lines": 3}), Call("read_log", {"lines": 5}))
    thoughts = (Thought("Two logs, then."), RedactedThinking())
    async with FakeBedrock() as fake:
        fake.reply(Reply(*thoughts, "Looking.", *calls), Reply(*thoughts, "It is the lock."))
        model = served(fake)
        events = await collect(model, ask(sampling=THINK))
        first = events[-1]
        assert isinstance(first, ModelResponse)
        assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == "Two logs, then."
        assert {e.index for e in events if isinstance(e, ToolCallDelta)} == {3, 4}
        assert first.stop_reason is StopReason.TOOL_USE
        assert [c.arguments for c in first.message.tool_calls] == [{"lines": 3}, {"lines": 5}]
        answered = results(*first.message.tool_calls, outcome=Outcome.ERROR)
        second = await answer(model, ask("why?", first.message, answered, sampling=THINK))
        sent = fake.requests[1].json
    assert second.message.text == "It is the lock."
    assert "thinking" in sent["additionalModelRequestFields"]
    assert sent["messages"][2]["content"][0]["toolResult"]["status"] == "error"


async def test_thinking_is_not_asked_for_in_another_models_tool_turn() -> None:
    asked = Message("assistant", (Text("Looking."), ToolCall("c1", "read_log", {})))
    answered = results(ToolCall("c1", "read_log", {}))
    over = Message.assistant("It is the lock.")
    async with FakeBedrock() as fake:
        fake.reply("ok", "ok")
        go_on = Message.user("go on")
        await answer(served(fake), ask("why?", asked, answered, go_on, sampling=THINK))
        await answer(served(fake), ask("why?", asked, answered, over, go_on, sampling=THINK))
        sent = ["additionalModelRequestFields" in request.json for request in fake.requests]
    assert sent == [False, True]


@pytest.mark.parametrize("model", [NOVA, DEEPSEEK, GPT, LLAMA, "amazon.titan-text-express-v1"])
async def test_what_claude_wrote_can_be_sent_to_every_family(model: str) -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply(Thought("Hm."), "Looking.", Call("read_log", {"lines": 3})), "ok")
        first = await answer(served(fake), ask(sampling=THINK))
        history = (first.message, results(*first.message.tool_calls), Message.user("go on"))
        request = ask("why?", *history, system="be exact", sampling=THINK)
        assert (await answer(served(fake, model), request)).message.text == "ok"
        sent = str(fake.requests[1].json)
    assert "reasoningContent" not in sent
    assert "be exact" in sent
    assert "go on" in sent


async def test_reasoning_without_a_signature_stays_with_its_maker() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply(Thought("Hm."), "ok"), "ok")
        first = await answer(served(fake, DEEPSEEK), ask())
        assert isinstance(first.message.parts[0], Thinking)
        await answer(served(fake, DEEPSEEK), ask("why?", first.message, Message.user("go on")))
        assert "Hm." not in str(fake.requests[1].json)


@pytest.mark.parametrize(
    ("call_id", "name"),
    [
        ("functions.read_log:0", "read_log"),
        ("chatcmpl-tool-" + "0" * 60, "read_log"),
        ("c1", "functions.read_log"),
        ("c1", ""),
        ("c1", "read_log_" * 20),
    ],
)
async def test_calls_that_another_model_wrote_can_be_sent(call_id: str, name: str) -> None:
    asked = Message("assistant", (ToolCall(call_id, name, {}),))
    answered = Message("tool", (ToolResult(call_id, name, " \n", Outcome.ERROR),))
    async with FakeBedrock() as fake:
        fake.reply("ok")
        await answer(served(fake), ask("why?", asked, answered))


async def test_a_call_with_broken_arguments_can_be_sent_back() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply(Call("read_log", '{"lines": ')), "ok")
        message = (await answer(served(fake), ask())).message
        [call] = message.tool_calls
        assert (call.arguments, call.raw_arguments) == (None, '{"lines": ')
        await answer(served(fake), ask("why?", message, results(call)))


async def test_withheld_tools_stay_declared() -> None:
    call = ToolCall("c1", "read_log", {})
    history = (Message("assistant", (call,)), results(call), Message.user("answer now"))
    async with FakeBedrock() as fake:
        fake.reply("ok", "ok")
        await answer(served(fake), ask("why?", *history, tool_choice="none"))
        await answer(served(fake), ask("why?", *history, tools=()))
        declared = [request.json["toolConfig"] for request in fake.requests]
    assert all("toolChoice" not in config for config in declared)
    assert declared[1]["tools"][0]["toolSpec"]["name"] == "read_log"


async def test_empty_and_neighbouring_messages_are_joined_or_left_out() -> None:
    history = (Message.user("and?"), Message.assistant("  "), Message.user("  "))
    async with FakeBedrock() as fake:
        fake.reply("ok")
        await answer(served(fake, cache=False), ask("why?", *history, system=" ", tools=()))
        assert fake.requests[0].json == {
            "messages": [{"role": "user", "content": [{"text": "why?"}, {"text": "and?"}]}]
        }


async def test_reasoning_that_nothing_follows_is_not_sent() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply(Thought("Hm.")), "ok")
        message = (await answer(served(fake), ask())).message
        message = Message("assistant", (*message.parts, Text(" ")), model=message.model)
        await answer(served(fake), ask("why?", message, Message.user("go on")))
        assert "Hm." not in str(fake.requests[1].json)


async def test_a_response_cut_while_thinking_can_be_gone_on_from() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply(Thought("Hm, let me"), stop="length"), "ok")
        cut = await answer(served(fake), ask())
        assert cut.stop_reason is StopReason.MAX_TOKENS
        await answer(served(fake), ask("why?", cut.message, Message.user("go on")))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply("x"), StopReason.END_TURN),
        (Reply(Refusal("No.")), StopReason.REFUSAL),
        (Reply("x", stop="filter"), StopReason.REFUSAL),
        (Reply("x", stop="length"), StopReason.MAX_TOKENS),
        (Reply("x", stop="stop_sequence"), StopReason.STOP_SEQUENCE),
        (Reply("x", stop="context"), StopReason.CONTEXT_FULL),
        (Reply(Call("read_log"), stop="end_turn"), StopReason.TOOL_USE),
        (Reply("x", stop="of_tomorrow"), StopReason.OTHER),
    ],
)
async def test_stop_reasons(reply: Reply, expected: StopReason) -> None:
    async with FakeBedrock() as fake:
        fake.reply(reply)
        assert (await answer(served(fake), ask())).stop_reason is expected


async def test_server_side_tools_are_carried_through() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply("Looking.", ServerTool(input={"query": "x"}), "Found."), "ok")
        message = (await answer(served(fake), ask())).message
        blocks = [part.block for part in message.parts if isinstance(part, Opaque)]
        await answer(served(fake), ask("why?", message, Message.user("go on")))
        sent = fake.requests[1].json["messages"][1]["content"]
    assert blocks[0]["toolUse"]["input"] == {"query": "x"}
    assert blocks[1]["toolResult"]["content"] == [{"json": {"title": "Status"}}]
    assert not message.tool_calls
    assert [block for block in sent if "text" not in block] == blocks


async def test_models_that_cannot_stream_tool_calls_answer_in_one_piece() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply("Looking.", Call("read_log", {"lines": 3})), "It is the lock.", "ok")
        model = served(fake, LLAMA)
        events = await collect(model, ask())
        first = events[-1]
        assert isinstance(first, ModelResponse)
        assert [type(event) for event in events[:-1]] == [TextDelta, ToolCallDelta]
        assert first.message.tool_calls[0].arguments == {"lines": 3}
        assert first.stop_reason is StopReason.TOOL_USE
        answered = results(*first.message.tool_calls, outcome=Outcome.ERROR)
        await answer(model, ask("why?", first.message, answered, Message.user("be quick")))
        await answer(model, ask(tools=()))
        paths = [request.path.rpartition("/")[2] for request in fake.requests]
        sent = fake.requests[1].json["messages"]
    assert paths == ["converse", "converse", "converse-stream"]
    assert [list(block) for block in sent[1]["content"]] == [["toolUse"]]
    content = sent[2]["content"][0]["toolResult"]["content"]
    assert content == [{"text": "locked"}, {"text": "be quick"}]


async def test_a_model_that_says_it_cannot_stream_tool_calls_is_asked_again() -> None:
    async with FakeBedrock() as fake:
        said = "This model doesn't support tool use in streaming mode."
        fake.reply(Failure(400, said), "ok", "ok")
        model = served(fake, "new.maker-model-v1:0")
        assert (await answer(model, ask())).message.text == "ok"
        await answer(model, ask())
        paths = [request.path.rpartition("/")[2] for request in fake.requests]
    assert paths == ["converse-stream", "converse", "converse"]


@pytest.mark.parametrize(
    ("model", "cache", "marks"),
    [
        (CLAUDE, True, ["system", "toolConfig", "messages"]),
        (CLAUDE, False, []),
        (NOVA, True, ["system"]),
        (LLAMA, True, []),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/x1", True, []),
    ],
)
async def test_the_stable_beginning_is_marked_for_the_cache(
    model: str, cache: bool, marks: list[str]
) -> None:
    async with FakeBedrock() as fake:
        fake.reply("ok")
        await answer(served(fake, model, cache=cache), ask(system="be exact"))
        sent = fake.requests[0].json
    assert [
        key for key in ("system", "toolConfig", "messages") if "cachePoint" in str(sent[key])
    ] == marks


async def test_a_profile_that_hides_its_model_can_be_told_what_it_is() -> None:
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcdef"
    async with FakeBedrock(check=False) as fake:
        fake.reply("ok")
        await answer(served(fake, arn, family="anthropic.claude-opus-4-8"), ask(sampling=THINK))
        sent = fake.requests[0]
    asked = {"type": "adaptive", "display": "summarized"}
    assert sent.json["additionalModelRequestFields"] == {"thinking": asked}
    assert sent.path == f"/model/{quote(arn, safe='')}/converse-stream"


async def test_the_same_beginning_is_the_same_bytes() -> None:
    async with FakeBedrock() as fake:
        fake.reply("ok", "ok")
        model = served(fake, cache=False)
        await answer(model, ask(system="be exact"))
        later = (Message.assistant("ok"), Message.user("and?"))
        await answer(model, ask("why?", *later, system="be exact"))
        first, second = (request.body for request in fake.requests)
    assert second.startswith(first.removesuffix(b"]}"))


SAMPLED = Sampling(max_tokens=77, temperature=0.1, top_p=0.5, stop=("END",), reasoning_effort="low")


@pytest.mark.parametrize(
    ("model", "config", "rest"),
    [
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", {"temperature": 0.1, "topP": 0.5}, {}),
        (CLAUDE, {"temperature": 0.1}, {}),
        ("anthropic.claude-sonnet-5", {}, {"outputConfig": {"effort": "low"}}),
        (NOVA, {"temperature": 0.1, "topP": 0.5}, {}),
        (
            GPT,
            {"temperature": 0.1, "topP": 0.5},
            {"additionalModelRequestFields": {"reasoning_effort": "low"}},
        ),
    ],
)
async def test_sampling_is_what_the_family_takes(model: str, config: Any, rest: Any) -> None:
    async with FakeBedrock() as fake:
        fake.reply("ok")
        await answer(served(fake, model), ask(sampling=SAMPLED, tools=()))
        sent = fake.requests[0].json
    assert sent.pop("inferenceConfig") == {"maxTokens": 77, "stopSequences": ["END"], **config}
    sent.pop("messages")
    assert sent == rest


async def test_a_schema_is_what_the_family_takes() -> None:
    schema = {"$schema": "x", "type": "object", "properties": {}, "additionalProperties": False}
    tool = ToolSpec(name="look", description="", input_schema=schema)
    async with FakeBedrock() as fake:
        fake.reply("ok", "ok")
        for model in (NOVA, CLAUDE):
            await answer(served(fake, model, cache=False), ask(tools=(tool,)))
        sent = [r.json["toolConfig"]["tools"][0]["toolSpec"] for r in fake.requests]
    assert sent[0] == {
        "name": "look",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }
    assert sent[1]["inputSchema"]["json"] == schema


@pytest.mark.parametrize(
    ("unset", "named"),
    [("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"), ("AWS_DEFAULT_REGION", "AWS_REGION")],
)
async def test_what_is_missing_is_named_before_any_request(
    unset: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(unset)
    if unset == "AWS_ACCESS_KEY_ID":
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with FakeBedrock() as fake:
        with pytest.raises(errors.ConfigurationError) as caught:
            await collect(served(fake), ask())
        assert not fake.requests
    assert named in caught.value.message
    assert named in caught.value.remedy
    assert isinstance(caught.value, errors.MissingCredential) is (named == "AWS_ACCESS_KEY_ID")


async def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    async with FakeBedrock() as fake:
        with pytest.raises(errors.MissingExtra, match="bedrock") as caught:
            await collect(served(fake), ask())
    assert 'pip install "aof-nb[bedrock]"' in caught.value.remedy


@pytest.mark.parametrize("given", [True, False])
async def test_a_bedrock_key_needs_no_other_credentials(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    if not given:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "of-today")
    async with FakeBedrock(api_key="of-today") as fake:
        fake.reply("ok")
        model = served(fake, api_key="of-today" if given else None)
        assert (await answer(model, ask())).message.text == "ok"


async def test_a_bedrock_key_is_not_sent_in_the_open() -> None:
    model = resolve_model(f"bedrock:{CLAUDE}", base_url="http://198.51.100.1", api_key="k")
    with pytest.raises(errors.ConfigurationError, match="not encrypted"):
        await collect(model, ask())


async def test_keys_and_address_of_the_environment_are_used_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with FakeBedrock() as fake:
        fake.reply("ok", "ok")
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", fake.base_url)
        model = resolve_model(f"bedrock:{CLAUDE}", region="us-west-2")
        for key in ("AKIDLASTYEAR", "AKIDTODAY"):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            await answer(model, ask())
        sent = [request.headers["authorization"] for request in fake.requests]
    assert "AKIDLASTYEAR" in sent[0]
    assert "AKIDTODAY" in sent[1]
    assert "/us-west-2/" in sent[1]


async def test_renewed_credentials_of_a_file_are_used_after_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    found = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(found))
    async with FakeBedrock() as fake:
        fake.reply(Failure(403, type="ExpiredTokenException"), "ok")
        model = served(fake)
        found.write_text("[default]\naws_access_key_id=AKIDOLD\naws_secret_access_key=s\n")
        with pytest.raises(errors.AuthenticationFailed):
            await answer(model, ask())
        found.write_text("[default]\naws_access_key_id=AKIDNEW\naws_secret_access_key=s\n")
        await answer(model, ask())
        assert "AKIDNEW" in fake.requests[1].headers["authorization"]
