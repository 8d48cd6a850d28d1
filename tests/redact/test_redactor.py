"""Placeholders: one for each secret, in all its forms, the same again in a resumed run."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError, ToolError
from aof_nb.events import (
    ApprovalRequested,
    Notice,
    RunFinished,
    RunStarted,
    RunStatus,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnStarted,
)
from aof_nb.messages import (
    Message,
    Opaque,
    Outcome,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from aof_nb.ports import ToolOutput
from aof_nb.redact import RedactionPolicy, RedactionState, Redactor, declared_secrets
from aof_nb.redact.encodings import ENCODINGS, encoded
from aof_nb.redact.index import _matchers

TOKEN = "c0rrect-h0rse/battery"
KNOWN = {"DEPLOY_TOKEN": TOKEN}


def github(letter: str = "a") -> str:
    return "ghp_" + f"{letter}1B2" * 9


def test_text_without_a_secret_is_the_same_object() -> None:
    for text in ("", "nothing here", "password is wrong", "tokens: 12", "é" * 50):
        assert Redactor(KNOWN).text(text) is text


def test_placeholders_are_named_for_variables_and_kinds_in_order_of_appearance() -> None:
    redactor = Redactor(KNOWN)
    assert redactor.text(f"{github('b')} {github('a')} {TOKEN} {github('b')}") == (
        "[secret:github-token-1] [secret:github-token-2] [secret:DEPLOY_TOKEN] "
        "[secret:github-token-1]"
    )
    assert redactor.count == 3


def test_a_secret_found_by_its_place_is_found_everywhere_from_then_on() -> None:
    redactor = Redactor()
    assert redactor.text("tr0ub4dor&3 is nothing yet") == "tr0ub4dor&3 is nothing yet"
    assert redactor.text("DB_PASSWORD=tr0ub4dor&3; echo tr0ub4dor&3") == (
        "DB_PASSWORD=[secret:db-password-1]; echo [secret:db-password-1]"
    )
    assert redactor.text("with tr0ub4dor&3") == "with [secret:db-password-1]"
    assert redactor.text("p=tr0ub4dor%263") == "p=[secret:db-password-1:url]"


def test_a_word_that_is_a_password_is_hidden_only_where_it_is_one() -> None:
    redactor = Redactor({"PGPASSWORD": "postgres"})
    assert redactor.text("PGPASSWORD=postgres psql -U postgres") == (
        "PGPASSWORD=[secret:PGPASSWORD] psql -U postgres"
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_known_secret_is_found_and_restored_in_every_encoding(encoding: str) -> None:
    secret = 'c0rrect "h0rse" é\n&'
    redactor = Redactor({"KEY": secret})
    shown = encoded(secret, encoding)
    assert shown is not None
    text = redactor.text(f"<{shown}>")
    assert text.startswith("<[secret:KEY")
    assert redactor.restore(text) == f"<{shown}>"


@given(st.text(max_size=5), st.text(max_size=5))
def test_a_secret_within_base64_is_found_wherever_it_begins(before: str, after: str) -> None:
    redactor = Redactor(KNOWN)
    shown = base64.b64encode(f"{before}{TOKEN}{after}".encode()).decode()
    text = redactor.text(f"x {shown} y")
    assert text.startswith("x [secret:")
    assert text.endswith("] y")
    assert redactor.restore(text) == f"x {shown} y"


def test_the_lines_of_a_secret_of_many_are_found() -> None:
    key = "-----BEGIN X KEY-----\nMIIabcDEF0123456789abcdefghij\n-----END X KEY-----\n"
    assert Redactor({"KEY": key}).text("  | MIIabcDEF0123456789abcdefghij |") == (
        "  | [secret:KEY:line-2] |"
    )


def test_what_is_a_placeholder_already_is_left_alone() -> None:
    redactor = Redactor(KNOWN)
    for text in (
        "password: [secret:password-1]",
        '{"token": "[secret:DEPLOY_TOKEN]"}',
        "postgres://u:[secret:url-password-3]@db/x",
        "Authorization: Bearer [secret:authorization-1]",
        "[secret:db-password-1]: x",
        "TOKEN=[secret:token-1:base64]",
        "password: [secret:pass",
    ):
        assert redactor.text(text) is text


# Restoring


def test_values_are_restored_in_keys_and_values() -> None:
    redactor = Redactor(KNOWN)
    redactor.text(TOKEN)
    asked = {"argv": ["curl", "-H", "X: [secret:DEPLOY_TOKEN]"], "[secret:DEPLOY_TOKEN]": [1, None]}
    assert redactor.restore(asked) == {"argv": ["curl", "-H", f"X: {TOKEN}"], TOKEN: [1, None]}
    plain = {"argv": ["ls"], "n": 1}
    assert redactor.restore(plain) is plain


def test_what_nobody_has_been_shown_cannot_be_asked_for() -> None:
    redactor = Redactor(KNOWN)
    with pytest.raises(ToolError, match="stands for no secret of this run"):
        redactor.restore("[secret:DEPLOY_TOKEN]")
    redactor.message(Message("tool", (ToolResult("1", "x", "use [secret:DEPLOY_TOKEN]"),)))
    with pytest.raises(ToolError, match="stands for no secret of this run"):
        redactor.restore("[secret:DEPLOY_TOKEN]")


def test_a_user_may_name_a_secret_that_was_not_shown() -> None:
    redactor = Redactor(KNOWN)
    redactor.message(Message.user("deploy with [secret:DEPLOY_TOKEN]"))
    assert redactor.restore("[secret:DEPLOY_TOKEN]") == TOKEN


def test_an_unknown_placeholder_says_which_there_are() -> None:
    redactor = Redactor(KNOWN)
    redactor.text(TOKEN)
    with pytest.raises(ToolError, match=r"\[secret:GITHUB_TOKEN\].*\[secret:DEPLOY_TOKEN\]"):
        redactor.restore(["[secret:GITHUB_TOKEN]"])
    with pytest.raises(ToolError, match="no encoding 'rot13'"):
        redactor.restore("[secret:DEPLOY_TOKEN:rot13]")


# A run that is resumed


def test_a_resumed_run_gives_the_same_placeholders() -> None:
    first = Redactor(KNOWN)
    texts = [f"TOKEN={github()}", "password: tr0ub4dor&3", f"{TOKEN} {github('b')}"]
    shown = [first.text(text) for text in texts]
    stored = json.dumps({"salt": first.state.salt, "names": dict(first.state.names)})
    assert not [each for each in (TOKEN, github(), "tr0ub4dor&3") if each in stored]
    second = Redactor(KNOWN, state=first.state)
    assert [second.text(text) for text in reversed(texts)] == shown[::-1]
    assert second.text("token: aBc123dEf456gHi789") == "token: [secret:token-1]"
    third = Redactor(KNOWN, state=second.state)
    assert third.text("token: aBc123dEf456gHi789") == "token: [secret:token-1]"


def test_a_value_that_this_process_has_not_seen_is_said_to_be_gone_and_where_it_was() -> None:
    first = Redactor()
    first.text("password: tr0ub4dor&3", origin="the call of kubectl (call_7)")
    second = Redactor(state=first.state)
    with pytest.raises(ToolError, match="no longer known") as raised:
        second.restore("[secret:password-1]")
    assert "Repeat the call of kubectl (call_7)" in raised.value.remedy
    written = Redactor()
    written.text("password: tr0ub4dor&3")
    with pytest.raises(ToolError) as raised:
        Redactor(state=written.state).restore("[secret:password-1]")
    assert "Ask the user" in raised.value.remedy
    second.text("password: tr0ub4dor&3")
    assert second.restore("[secret:password-1]") == "tr0ub4dor&3"


def test_a_declared_secret_is_there_at_once_in_a_resumed_run() -> None:
    first = Redactor(KNOWN)
    first.text(TOKEN)
    assert Redactor(KNOWN, state=first.state).restore("[secret:DEPLOY_TOKEN]") == TOKEN
    rotated = Redactor({"DEPLOY_TOKEN": "an0ther-value"}, state=first.state)
    assert rotated.restore("[secret:DEPLOY_TOKEN]") == "an0ther-value"
    # What was found by its shape, and is declared now, keeps its placeholder.
    found = Redactor()
    found.text(github())
    later = Redactor({"GITHUB_TOKEN": github()}, state=found.state)
    assert later.restore("[secret:github-token-1]") == github()
    assert later.text(github()) == "[secret:github-token-1]"


def test_the_salt_is_a_run_s_own() -> None:
    assert Redactor().state.salt != Redactor().state.salt
    assert Redactor(state=RedactionState(salt="00ff")).state.salt == "00ff"


# JSON data


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": "hunter2"}, {"password": "[secret:password-1]"}),
        ({"password": 12345678}, {"password": "[secret:password-1]"}),
        ({"password": None, "token": True}, None),
        ({"password": ["is too short"]}, None),
        ({"pass": 1200, "fail": 3}, None),
        ({"password": "is too short"}, None),
        (
            {"Authorization": "Bearer aBc123dEf456gHi789"},
            {"Authorization": "Bearer [secret:authorization-1]"},
        ),
        (
            {"headers": {"Cookie": "a=b; session=abcdef0123456789"}},
            {"headers": {"Cookie": "a=b; session=[secret:session-cookie-1]"}},
        ),
        (
            [{"name": "DB_PASSWORD", "value": "hunter2"}],
            [{"name": "DB_PASSWORD", "value": "[secret:db-password-1]"}],
        ),
        (["psql", "--password", "hunter2"], ["psql", "--password", "[secret:password-1]"]),
        ({TOKEN: 1}, {"[secret:DEPLOY_TOKEN]": 1}),
        (
            {"kind": "Secret", "data": {"user": "YWRtaW4=", "empty": ""}},
            {"kind": "Secret", "data": {"user": "[secret:user-1:base64]", "empty": ""}},
        ),
        (
            {"kind": "Secret", "data": {"blob": "/wD/AA=="}},
            {"kind": "Secret", "data": {"blob": "[secret:blob-1]"}},
        ),
        (
            {"kind": "Secret", "stringData": {"user": "admin"}},
            {"kind": "Secret", "stringData": {"user": "[secret:user-1]"}},
        ),
        ({"kind": "ConfigMap", "data": {"user": "YWRtaW4="}}, None),
        ({"n": 1.5, "list": [1, "x", None, {"a": []}]}, None),
    ],
)
def test_json_data(value: Any, shown: Any) -> None:
    redactor = Redactor(KNOWN)
    found = redactor.value(value)
    if shown is None:
        assert found is value
        return
    assert found == shown
    assert redactor.value(found) is found
    if value != {"password": 12345678}:
        assert redactor.restore(found) == value


def test_what_is_no_json_is_left_as_it_is() -> None:
    value = {"a": {1, 2}, "b": object(), "password": "hunter2"}
    shown = Redactor().value(value)
    assert shown["a"] is value["a"]
    assert shown["b"] is value["b"]
    assert shown["password"] == "[secret:password-1]"


keys = st.text(st.sampled_from('abé0"\\ \n:'), max_size=5)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_json_without_secrets_is_the_same_object(value: Any) -> None:
    assert Redactor(KNOWN).value(value) is value


# Messages, outputs, events


def test_messages() -> None:
    redactor = Redactor(KNOWN)
    plain = Message("assistant", (Text("hi"), ToolCall("1", "x", {"a": 1}, "")))
    assert redactor.message(plain) is plain
    message = Message(
        "assistant",
        (
            Text(f"a {TOKEN}"),
            Thinking("fine", "anthropic", {"signature": "Eq" * 50}),
            Thinking(f"so {TOKEN}", "anthropic", {"thinking": f"so {TOKEN}", "signature": "x"}),
            Opaque("openai", {"type": "x", "url": f"https://u:{TOKEN}@h"}),
            ToolCall("1", "x", {"key": TOKEN}, "", {"signature": "abc"}),
            ToolCall("2", "x", None, f'{{"key": "{TOKEN}'),
            ToolResult("3", "x", f"out {TOKEN}", Outcome.ERROR, "3.txt"),
        ),
        model="m",
    )
    shown = redactor.message(message)
    assert TOKEN not in str(shown)
    assert shown.model == "m"
    assert shown.parts[1] is message.parts[1]
    assert shown.parts[2] == Thinking("so [secret:DEPLOY_TOKEN]", "", {})
    assert shown.tool_calls[0].arguments == {"key": "[secret:DEPLOY_TOKEN]"}
    assert shown.tool_results[0].outcome is Outcome.ERROR
    assert redactor.message(shown) is shown


def test_outputs() -> None:
    redactor = Redactor(KNOWN)
    plain = ToolOutput("fine", {"n": 1})
    assert redactor.output(plain) is plain
    shown = redactor.output(ToolOutput(f"out {TOKEN}", {"out": TOKEN}, is_error=True))
    assert shown == ToolOutput(
        "out [secret:DEPLOY_TOKEN]", {"out": "[secret:DEPLOY_TOKEN]"}, is_error=True
    )


@pytest.mark.parametrize(
    "event",
    [
        RunStarted("r", "a", "m", f"use {TOKEN}"),
        ToolStarted(1, ToolCall("1", "x", {"k": TOKEN}), "read"),
        ToolProgress("1", f"at {TOKEN}"),
        ApprovalRequested("1", "x", "write", {"k": TOKEN}, "d", "r"),
        ToolFinished("1", "x", Outcome.OK, f"out {TOKEN}", 0.1, {"k": TOKEN}),
        Notice(f"see {TOKEN}"),
        RunFinished(
            "r",
            RunStatus.FAILED,
            TOKEN,
            Usage(),
            1,
            1,
            0.1,
            {},
            error=f"e {TOKEN}",
            output={"a": TOKEN},
        ),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events(event: Any) -> None:
    shown = Redactor(KNOWN).event(event)
    assert TOKEN not in repr(shown)
    assert "[secret:DEPLOY_TOKEN]" in repr(shown)
    assert type(shown) is type(event)


def test_events_without_secrets_are_the_same_objects() -> None:
    for event in (TurnStarted(1), Notice("fine"), ToolProgress("1", "50 %")):
        assert Redactor(KNOWN).event(event) is event


def test_text_that_no_file_can_hold_is_redacted_too() -> None:
    assert Redactor(KNOWN).text(f"caf\udce9 {TOKEN}") == "caf� [secret:DEPLOY_TOKEN]"


# What a user may say


def test_patterns_and_what_is_allowed() -> None:
    policy = RedactionPolicy(
        patterns={"ticket": r"TCK-(?P<secret>[0-9a-f]{12})"}, allow=("hunter2", r"ghp_a.*")
    )
    redactor = Redactor(policy=policy)
    assert redactor.text(f"TCK-0123456789ab password: hunter2 {github('a')} {github('b')}") == (
        f"TCK-[secret:ticket-1] password: hunter2 {github('a')} [secret:github-token-1]"
    )
    assert redactor.value({"password": "hunter2", "t": "TCK-0123456789ab"}) == {
        "password": "hunter2",
        "t": "TCK-[secret:ticket-1]",
    }


def test_redaction_that_is_turned_off() -> None:
    redactor = Redactor(KNOWN, policy=RedactionPolicy(enabled=False, patterns={"x": "a+"}))
    text = f"{TOKEN} password: hunter2 aaa"
    assert redactor.text(text) is text
    assert redactor.value({"password": "hunter2"}) == {"password": "hunter2"}
    assert redactor.stream().feed(text) is text


@pytest.mark.parametrize("field", [{"patterns": {"x": "("}}, {"allow": ["["]}, {"allow": ["a*"]}])
def test_an_expression_that_is_none_is_named(field: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"redaction: (patterns\.x|allow)"):
        RedactionPolicy(**field)


# What the environment gives away


def test_secrets_in_the_environment() -> None:
    environment = {
        "GITHUB_TOKEN": "t0p-s3cret-value",
        "AWS_ACCESS_KEY_ID": "AKIAQQQQQQQQQQQQQQQQ",
        "AWS_SECRET_ACCESS_KEY": "abcd/efgh+1234",
        "DATABASE_URL": "postgres://app:p%40ss-w0rd@db/x",
        "OPENAI_API_KEY": "sk-whatever-1",
        "SESSION_SECRET": "  padded-s3cret \n",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.example/services/x",
        "MY_PIN": "837261",
        "HOME": "/root",
        "PWD": "/root/x",
        "SSH_AUTH_SOCK": "/tmp/agent.1",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/key.json",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "VAULT_TOKEN": "",
        "TOKEN_URL": "https://x.example/token",
        "API_KEY": "your-key-here",
        "SORT_KEY": "created_at",
        "COLORTERM": "truecolor",
    }
    assert declared_secrets(environment) == {
        "GITHUB_TOKEN": "t0p-s3cret-value",
        "AWS_ACCESS_KEY_ID": "AKIAQQQQQQQQQQQQQQQQ",
        "AWS_SECRET_ACCESS_KEY": "abcd/efgh+1234",
        "DATABASE_URL": "p%40ss-w0rd",
        "DATABASE_URL-2": "p@ss-w0rd",
        "OPENAI_API_KEY": "sk-whatever-1",
        "SESSION_SECRET": "padded-s3cret",
        "SLACK_WEBHOOK_URL": "https://hooks.slack.example/services/x",
        "MY_PIN": "837261",
    }


def test_headers_of_servers_and_further_variables() -> None:
    servers = {
        "Authorization": "Bearer t0p-s3cret-value",
        "X-Api-Key": "an0ther-one",
        "Accept": "*/*",
    }
    redactor = Redactor.from_environment(
        servers,
        {"GITHUB_TOKEN": "s3cond-value"},
        environment={"GITHUB_TOKEN": "f1rst-value", "BUILD_ID": "build-7331-x"},
        policy=RedactionPolicy(variables=("BUILD_*",)),
    )
    assert redactor.text("f1rst-value s3cond-value t0p-s3cret-value an0ther-one build-7331-x") == (
        "[secret:GITHUB_TOKEN] [secret:GITHUB_TOKEN-2] [secret:Authorization] [secret:X-Api-Key] "
        "[secret:BUILD_ID]"
    )


def test_the_process_s_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_TEST_TOKEN", "an-0dd-value")
    assert Redactor.from_environment().text("an-0dd-value") == "[secret:AOF_TEST_TOKEN]"


# Threads, and texts made to be slow


def test_threads_agree() -> None:
    redactor = Redactor()
    texts = [f"password: tr0ub4dor{number % 50}x" for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(redactor.text, texts))
    assert redactor.count == 50
    assert len(set(shown)) == 50
    assert [redactor.restore(each) for each in shown] == texts


UNITS = [
    *list(_matchers())[::5],
    "password=",
    "password: ",
    "token=a,",
    'token="',
    '"password":"',
    'password:"\\',
    "-----BEGIN PRIVATE KEY-----",
    "eyJ-eyJ.",
    "://a:b",
    "://a:b@",
    "curl -u ",
    "Cookie: a=b; ",
    "Authorization: Bearer a",
    "kind: Secret\ndata:\n",
    "kind: Secret\ndata:\n  a: b\n",
    "kind: Secret\n{",
    '{"kind": "Secret", "data": {"a":"',
    "[secret:a]",
    "[secret:",
    "name: A_TOKEN\nvalue: ",
    "a0" * 16,
    "token=aB1",
    "secret=a_b-",
    "password=a-",
    "pwd=$(",
    "kind: Secret\n{{",
    "data:\n  - a: b\n",
    "\\" * 9 + '"',
]


def _cost(unit: str, size: int) -> float:
    text = (unit * (size // len(unit) + 1))[:size]
    began = time.process_time()
    Redactor().text(text)
    return time.process_time() - began


def test_no_text_takes_more_than_its_length() -> None:
    """Four times the text may take eight times as long, not sixteen."""
    slow = {}
    for unit in UNITS:
        short = _cost(unit, 10_000)
        if short > 0.1:
            long, short = _cost(unit, 40_000), min(short, _cost(unit, 10_000))
            if long > 8 * short and _cost(unit, 40_000) > 8 * short:
                slow[unit] = (short, long)
        assert short < 10, unit
    assert slow == {}


@pytest.mark.parametrize(
    "unit", ["ghp_", "sk-1a-", "eyJ-", "password=", "://a:b", "0123456789abcdef"]
)
def test_no_stream_takes_more_than_its_length(unit: str) -> None:
    def cost(size: int) -> float:
        text, stream = unit * (size // len(unit)), Redactor().stream()
        began = time.process_time()
        for start in range(0, len(text), 4):
            stream.feed(text[start : start + 4])
        stream.flush()
        return time.process_time() - began

    short = min(cost(8_000) for _ in range(2))
    assert cost(32_000) < 10 * short or cost(32_000) < 10 * short
