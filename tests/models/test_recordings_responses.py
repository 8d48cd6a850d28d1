"""What the Responses API streams that our fake has no word for is understood, and goes back.

The events follow the documentation and the SDK's types; what is to be sent back is judged by the
official SDK, which reads the same bytes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from aof_nb.errors import ContentRefused, ModelError, Overloaded, RateLimited, ServerError
from aof_nb.messages import StopReason, Thinking
from aof_nb.models import openai_responses as responses_api
from aof_nb.models.openai_responses_decoding import ResponsesDecoder
from tests.fakes import FakeOpenAI
from tests.fakes.providers import Raw
from tests.fakes.sdks import gpt, respond
from tests.models.recordings import Event, body, read


def item(place: int, **fields: Any) -> list[Event]:
    begun = fields | {"status": "in_progress"} if "status" in fields else fields
    return [
        {"type": "response.output_item.added", "output_index": place, "item": begun},
        {"type": "response.output_item.done", "output_index": place, "item": fields},
    ]


ANNOTATION = {
    "type": "url_citation",
    "start_index": 0,
    "end_index": 9,
    "url": "https://example.org",
    "title": "Example",
}


def said(place: int, text: str, **fields: Any) -> list[Event]:
    piece = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    piece |= fields.pop("piece", {})
    added, done = item(
        place,
        id=f"msg_{place}",
        type="message",
        status="completed",
        role="assistant",
        content=[piece],
        **fields,
    )
    where = {"output_index": place, "item_id": f"msg_{place}", "content_index": 0}
    return [
        added | {"item": added["item"] | {"content": []}},
        {"type": "response.content_part.added", **where, "part": piece | {"text": ""}},
        {"type": "response.output_text.delta", **where, "delta": text, "logprobs": []},
        {
            "type": "response.output_text.annotation.added",
            **where,
            "annotation_index": 0,
            "annotation": ANNOTATION,
        },
        {"type": "response.output_text.done", **where, "text": text},
        {"type": "response.content_part.done", **where, "part": piece},
        done,
    ]


def gpt_stream(*items: list[Event], kind: str = "completed", **fields: Any) -> list[Event]:
    events = [event for each in items for event in each]
    output = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    usage = {
        "input_tokens": 328,
        "input_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 64},
        "output_tokens": 356,
        "output_tokens_details": {"reasoning_tokens": 256},
        "total_tokens": 684,
    }
    shape = {"id": "resp_1", "object": "response", "model": "gpt-5", "output": []}
    response = shape | {"status": "in_progress", "usage": None, "error": None}
    whole = shape | {"status": kind, "output": output, "usage": usage} | fields
    head = [
        {"type": "response.created", "response": response},
        {"type": "response.queued", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "keepalive"},
    ]
    tail = [{"type": f"response.{kind}", "response": whole}]
    numbered = enumerate([*head, *events, *tail])
    return [event | {"sequence_number": number} for number, event in numbered]


REASONED = [
    *item(0, id="rs_1", type="reasoning", summary=[], encrypted_content="gAAAA")[:1],
    *(
        {"output_index": 0, "item_id": "rs_1", "summary_index": number} | event
        for number, text in enumerate(["**First**", "**Second**"])
        for event in (
            {
                "type": "response.reasoning_summary_part.added",
                "part": {"type": "summary_text", "text": ""},
            },
            {"type": "response.reasoning_summary_text.delta", "delta": text},
            {"type": "response.reasoning_summary_text.done", "text": text},
        )
    ),
    *item(
        0,
        id="rs_1",
        type="reasoning",
        summary=[
            {"type": "summary_text", "text": "**First**"},
            {"type": "summary_text", "text": "**Second**"},
        ],
        encrypted_content="gAAAAABo",
    )[1:],
]
SEARCHED = item(
    1,
    id="ws_1",
    type="web_search_call",
    status="completed",
    action={"type": "search", "query": "weather", "sources": [{"type": "url", "url": "x"}]},
)
FILES = item(
    1,
    id="fs_1",
    type="file_search_call",
    status="completed",
    queries=["deep research"],
    results=None,
)
LISTED = item(
    0,
    id="mcpl_1",
    type="mcp_list_tools",
    server_label="deepwiki",
    tools=[{"name": "ask", "input_schema": {"type": "object"}, "annotations": None}],
)
CALLED = item(
    1,
    id="mcp_1",
    type="mcp_call",
    status="completed",
    server_label="deepwiki",
    name="ask",
    arguments='{"q": 1}',
    output="yes",
    error=None,
    approval_request_id=None,
)
PYTHON = item(
    1,
    id="ci_1",
    type="code_interpreter_call",
    status="completed",
    container_id="cntr_1",
    code="1+1",
    outputs=[{"type": "logs", "logs": "2"}],
)
FUNCTION = item(
    2,
    id="fc_1",
    type="function_call",
    status="completed",
    call_id="call_1",
    name="query",
    arguments='{"sql":"select 1"}',
    namespace="db",
    caller={"type": "program", "caller_id": "prog_1"},
)
GPT = {
    "web search": (
        gpt_stream(REASONED, SEARCHED, said(2, "It is dry.", piece={"annotations": [ANNOTATION]})),
        "It is dry.",
    ),
    "files": (gpt_stream(REASONED, FILES, said(2, "Found.")), "Found."),
    "mcp": (gpt_stream(LISTED, CALLED, said(2, "Yes.")), "Yes."),
    "python": (gpt_stream(REASONED, PYTHON, said(2, "2")), "2"),
    "a namespace": (gpt_stream(REASONED, said(1, "Hm.", phase="commentary"), FUNCTION), "Hm."),
    "phases": (
        gpt_stream(said(0, "Look. ", phase="commentary"), said(1, "So.", phase="final_answer")),
        "Look. So.",
    ),
}


@pytest.mark.parametrize("name", GPT)
async def test_gpt_s_items_go_back_as_they_came(name: str) -> None:
    events, text = GPT[name]
    response, shown, thinking = read(ResponsesDecoder("openai:gpt-5"), events)
    assert shown == response.message.text == text
    if REASONED[0] | {"sequence_number": 4} in events:
        assert thinking == "**First**\n\n**Second**"
        assert [p.text for p in response.message.parts if isinstance(p, Thinking)] == [thinking]
    async with FakeOpenAI(check=False) as fake:
        fake.reply(Raw(body(events)))
        theirs = (await respond(gpt(fake)))[-1].response
    expected = []
    for each in theirs.model_dump(mode="json", exclude_unset=True)["output"]:
        if each["type"] == "message":
            # Ids and states of what OpenAI does not keep are left out.
            each.pop("id")
            each.pop("status")
            for piece in each["content"]:
                piece.pop("logprobs")
                if not piece["annotations"]:
                    piece.pop("annotations")
        elif each["type"] == "function_call":
            each.pop("id")
            each.pop("status")
            each["arguments"] = json.loads(each["arguments"])
        expected.append(each)
    sent = json.loads(b"[" + responses_api.encode_message(response.message) + b"]")
    for each in sent:
        if each["type"] == "function_call":
            each["arguments"] = json.loads(each["arguments"])
    assert sent == expected
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (328, 356, 256)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (128, 64)


def test_gpt_s_refusal_and_incomplete_answers() -> None:
    refusal = {"type": "refusal", "refusal": "I can't."}
    done = item(0, id="m", type="message", status="completed", role="assistant", content=[refusal])
    delta = {"type": "response.refusal.delta", "output_index": 0, "delta": "I can't."}
    response, shown, _ = read(ResponsesDecoder("openai:x"), gpt_stream([delta, *done]))
    assert (shown, response.stop_reason) == ("I can't.", StopReason.REFUSAL)
    for reason, expected in [
        ("max_output_tokens", StopReason.MAX_TOKENS),
        ("content_filter", StopReason.REFUSAL),
        ("steered", StopReason.OTHER),
    ]:
        events = gpt_stream(
            said(0, "Half"), kind="incomplete", incomplete_details={"reason": reason}
        )
        response, _, _ = read(ResponsesDecoder("openai:x"), events)
        assert (response.message.text, response.stop_reason) == ("Half", expected)


@pytest.mark.parametrize(
    ("code", "message", "kind", "wait"),
    [
        ("bio_policy", "Blocked.", ContentRefused, None),
        ("cyber_policy", "This request was flagged.", ContentRefused, None),
        ("invalid_prompt", "Your prompt was flagged.", ContentRefused, None),
        ("rate_limit_exceeded", "Please try again in 11.054s.", RateLimited, 11.054),
        ("slow_down", "Slow down.", Overloaded, None),
        ("vector_store_timeout", "Timed out.", ServerError, None),
    ],
)
def test_gpt_s_failures_in_a_stream(
    code: str, message: str, kind: type[ModelError], wait: float | None
) -> None:
    error = {"code": code, "message": message, "param": None, "type": None}
    failed = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    with pytest.raises(ModelError) as caught:
        ResponsesDecoder("openai:x").feed(json.dumps(failed).encode())
    assert type(caught.value) is kind
    assert caught.value.retry_after == wait
