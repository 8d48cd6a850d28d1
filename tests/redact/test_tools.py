"""A tool is given the true values, and gives none back."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aof_nb.errors import OutcomeUnknown, ToolError
from aof_nb.events import ApprovalRequested, Event, Notice, ToolProgress
from aof_nb.gate import Gate
from aof_nb.policy import (
    Action,
    Answer,
    ApprovalRequest,
    HasPlainForm,
    KnowsSimilar,
    Policy,
    Rule,
)
from aof_nb.ports import Tool, ToolContext, ToolOutput, ToolSpec
from aof_nb.redact import RedactionPolicy, Redactor
from aof_nb.redact.tools import RedactedTool, redacted_tools
from aof_nb.tools.shell import ShellTool

TOKEN = "c0rrect-h0rse/battery"
PLACEHOLDER = "[secret:DEPLOY_TOKEN]"


def shown(**options: Any) -> Redactor:
    """A redactor that has shown its one secret."""
    redactor = Redactor({"DEPLOY_TOKEN": TOKEN}, **options)
    redactor.text(TOKEN)
    return redactor


def context(events: list[Event] | None = None) -> ToolContext:
    return ToolContext("r", "c1", (events if events is not None else []).append)


class Fake:
    """A tool that notes what it is given, and does as it is told."""

    def __init__(self, does: Callable[[ToolContext], Any] = lambda _: ToolOutput("done")) -> None:
        self.spec = ToolSpec(name="deploy", description="Deploys.", input_schema={})
        self.does = does
        self.given: list[dict[str, Any]] = []

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.given.append(arguments)
        return self.does(context)  # type: ignore[no-any-return]


def fails(error: BaseException) -> Callable[[ToolContext], Any]:
    def does(_: ToolContext) -> Any:
        raise error

    return does


async def test_it_is_given_the_value_and_its_output_holds_none() -> None:
    tool = Fake(lambda _: ToolOutput(f"used {TOKEN}", {"used": TOKEN}))
    output = await RedactedTool(tool, shown()).call({"key": PLACEHOLDER, "n": 1}, context())
    assert tool.given == [{"key": TOKEN, "n": 1}]
    assert output == ToolOutput(f"used {PLACEHOLDER}", {"used": PLACEHOLDER})


async def test_arguments_and_outputs_without_secrets_are_the_same_objects() -> None:
    expected = ToolOutput("fine", {"n": 1})
    tool, arguments = Fake(lambda _: expected), {"n": 1}
    assert await RedactedTool(tool, shown()).call(arguments, context()) is expected
    assert tool.given[0] is arguments


async def test_an_unknown_placeholder_is_an_error_and_nothing_is_called() -> None:
    tool = Fake()
    with pytest.raises(ToolError, match="stands for no secret"):
        await RedactedTool(tool, shown()).call({"key": "[secret:OTHER]"}, context())
    assert tool.given == []


async def test_a_tool_that_may_not_be_told_is_not() -> None:
    redactor = shown(policy=RedactionPolicy(tools=("kube*",)))
    tool = Fake()
    layer = RedactedTool(tool, redactor)
    with pytest.raises(ToolError, match="deploy is not given") as raised:
        await layer.call({"key": PLACEHOLDER}, context())
    assert "redaction.tools" in raised.value.remedy
    assert (await layer.call({"key": "plain"}, context())).content == "done"


async def test_what_it_says_of_a_secret_says_which_call_shows_it() -> None:
    redactor = Redactor()
    await RedactedTool(Fake(lambda _: ToolOutput("password: hunter2")), redactor).call(
        {}, context()
    )
    again = Redactor(state=redactor.state)
    with pytest.raises(ToolError) as raised:
        await RedactedTool(Fake(), again).call({"p": "[secret:password-1]"}, context())
    assert "Repeat the call of deploy (c1)" in raised.value.remedy


@pytest.mark.parametrize("kind", [ToolError, OutcomeUnknown])
async def test_its_own_errors_stay_what_they_are(kind: type[ToolError]) -> None:
    tool = RedactedTool(Fake(fails(kind(f"refused {TOKEN}", remedy=f"not {TOKEN}"))), shown())
    with pytest.raises(kind) as raised:
        await tool.call({}, context())
    assert raised.value.message == str(raised.value) == f"refused {PLACEHOLDER}"
    assert raised.value.remedy == f"not {PLACEHOLDER}"


async def test_other_errors_are_told_without_secrets() -> None:
    tool = RedactedTool(Fake(fails(ValueError(f"bad key {TOKEN}"))), shown())
    with pytest.raises(ToolError, match="ValueError: bad key") as raised:
        await tool.call({}, context())
    assert TOKEN not in str(raised.value)
    assert raised.value.__suppress_context__
    with pytest.raises(KeyError):
        await RedactedTool(Fake(fails(KeyError("x"))), shown()).call({}, context())
    with pytest.raises(ToolError, match="SystemExit"):
        await RedactedTool(Fake(fails(SystemExit(f"usage: {TOKEN}"))), shown()).call({}, context())


async def test_a_cancelled_call_is_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await RedactedTool(Fake(fails(asyncio.CancelledError())), shown()).call({}, context())


async def test_what_is_no_output_is_redacted_as_the_loop_shows_it() -> None:
    output = await RedactedTool(Fake(lambda _: {"key": TOKEN}), shown()).call({}, context())
    assert output == ToolOutput("{'key': '[secret:DEPLOY_TOKEN]'}")


async def test_events_from_any_thread() -> None:
    def does(inner: ToolContext) -> ToolOutput:
        inner.emit(ToolProgress("c1", f"with {TOKEN}"))
        other = threading.Thread(target=inner.emit, args=(Notice("password: hunter2x"),))
        other.start()
        other.join()
        return ToolOutput("")

    events: list[Event] = []
    await RedactedTool(Fake(does), shown()).call({}, context(events))
    assert events == [
        ToolProgress("c1", f"with {PLACEHOLDER}"),
        Notice("password: [secret:password-1]"),
    ]


def test_a_description_that_holds_a_secret() -> None:
    tool = Fake()
    assert RedactedTool(tool, shown()).spec is tool.spec
    tool.spec = ToolSpec(name="deploy", description=f"Uses {TOKEN}.", input_schema={})
    layer = RedactedTool(tool, shown())
    assert layer.spec.description == f"Uses {PLACEHOLDER}."
    tool.spec = ToolSpec(name="deploy", description="Uses nothing.", input_schema={})
    assert layer.spec is tool.spec


def test_what_a_policy_asks_of_some_tools_is_asked_of_the_layer() -> None:
    class Knows(Fake):
        def similar(self, arguments: Mapping[str, Any]) -> str:
            return f"kind {arguments['a']}"

    knowing, plain = redacted_tools([Knows(), Fake()], shown())
    assert isinstance(knowing, KnowsSimilar)
    assert knowing.similar({"a": 1}) == "kind 1"
    assert not isinstance(knowing, HasPlainForm)
    assert not isinstance(plain, KnowsSimilar)
    assert isinstance(RedactedTool(ShellTool(), shown()), HasPlainForm)
    assert isinstance(plain, Tool)


class Asked:
    """A person who says yes, and remembers what was shown."""

    def __init__(self) -> None:
        self.requests: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.requests.append(request)
        return Answer(approved=True, digest=request.digest)


async def test_policy_and_people_see_placeholders_and_the_tool_the_value() -> None:
    tool, person, events = Fake(), Asked(), list[Event]()
    policy = Policy(rules=(Rule(action=Action.ASK, arguments={"key": "*secret:DEPLOY*"}),))
    [guarded] = Gate(policy, approver=person).guard(redacted_tools([tool], shown()))
    await guarded.call({"key": PLACEHOLDER}, context(events))
    assert person.requests[0].arguments == {"key": PLACEHOLDER}
    assert isinstance(events[0], ApprovalRequested)
    assert TOKEN not in repr(events)
    assert tool.given == [{"key": TOKEN}]


async def test_a_tool_that_is_denied_is_told_nothing() -> None:
    tool = Fake()
    policy = Policy(rules=(Rule(action=Action.DENY, tool="deploy"),))
    [guarded] = Gate(policy).guard(redacted_tools([tool], shown()))
    assert (await guarded.call({"key": PLACEHOLDER}, context())).denied
    assert tool.given == []


@pytest.mark.parametrize("secret", ["pa$$ w'o\"rd; rm -rf /", "two words"])
async def test_a_value_stays_within_its_word_of_a_command_line(secret: str) -> None:
    redactor = Redactor({"PHRASE": secret})
    redactor.text(secret)
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    line = f"{sys.executable} -c '{program}' --key=[secret:PHRASE] end"
    output = await RedactedTool(ShellTool(), redactor).call({"argv": line}, context())
    assert json.loads(redactor.restore(output.content)) == [f"--key={secret}", "end"]
    assert secret not in json.loads(output.content)[0]


@pytest.mark.parametrize(
    ("name", "arguments", "printed", "hidden"),
    [
        (
            "kubectl",
            {"args": ["get", "secret", "db", "-o", "jsonpath={.data.password}"]},
            base64.b64encode(b"tr0ub4dor&3").decode(),
            "[secret:revealed-secret-1:base64]",
        ),
        (
            "shell",
            {"argv": "kubectl get secret db -n shop -o jsonpath={.data}"},
            json.dumps({"user": "app-user-71", "password": "tr0ub4dor&3"}),
            '{"user": "[secret:revealed-secret-1]", "password": "[secret:revealed-secret-2]"}',
        ),
        (
            "gcloud",
            {"args": ["secrets", "versions", "access", "latest", "--secret=db"]},
            "tr0ub4dor&3\n",
            "[secret:revealed-secret-1]\n",
        ),
        ("kubectl", {"args": ["get", "secrets"]}, "db-creds  Opaque  3", "db-creds  Opaque  3"),
        ("kubectl", {"args": ["get", "pods"]}, "tr0ub4dor&3", "tr0ub4dor&3"),
    ],
)
async def test_what_a_call_asks_for_may_be_what_makes_its_output_secret(
    name: str, arguments: dict[str, Any], printed: str, hidden: str
) -> None:
    tool = Fake(lambda _: ToolOutput(printed, {"output": printed}))
    tool.spec = ToolSpec(name=name, description="", input_schema={})
    redactor = Redactor()
    output = await RedactedTool(tool, redactor).call(arguments, context())
    assert output == ToolOutput(hidden, {"output": hidden})
    assert redactor.restore(output.content) == printed


async def test_a_failed_call_reveals_nothing() -> None:
    said = "Error from server (NotFound): secrets db-credentials-71 not found"
    tool = Fake(lambda _: ToolOutput(said, is_error=True))
    arguments = {"args": ["kubectl", "get", "secret", "db", "-o", "jsonpath={.data.x}"]}
    assert (await RedactedTool(tool, Redactor()).call(arguments, context())).content == said
