"""What a policy says of a call, and what an answer is good for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError
from aof_nb.events import ApprovalAnswered, ApprovalRequested, Event, answered_in_a_line
from aof_nb.gate import Gate
from aof_nb.policy import (
    Action,
    Answer,
    ApprovalRequest,
    ApproveMode,
    Approver,
    Policy,
    Rule,
    ambient_approver,
    approval_timeout_from_environment,
    approve_from_environment,
    bounds_from_environment,
    set_ambient_approver,
)
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from tests import virtual_time

ALLOW, ASK, DENY = Action.ALLOW, Action.ASK, Action.DENY


def spec(name: str = "restart", effect: Effect = Effect.WRITE, text: str = "") -> ToolSpec:
    return ToolSpec(name=name, description=text, input_schema={"type": "object"}, effect=effect)


class Restart:
    """A tool that notes its calls; calls of one service are alike."""

    def __init__(self, name: str = "restart", effect: Effect = Effect.WRITE) -> None:
        self.spec = spec(name, effect)
        self.calls: list[dict[str, Any]] = []

    def similar(self, arguments: Mapping[str, Any]) -> str:
        return str(arguments.get("service"))

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.calls.append(arguments)
        return ToolOutput("restarted")


class Says:
    """An approver that answers as a function says, and notes what it was asked."""

    def __init__(self, answer: Callable[[ApprovalRequest], Answer]) -> None:
        self.answer = answer
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        await asyncio.sleep(0)
        return self.answer(request)


def yes(request: ApprovalRequest) -> Answer:
    return Answer(approved=True, digest=request.digest, by="ann", via="test")


def yes_to_similar(request: ApprovalRequest) -> Answer:
    return Answer(approved=True, digest=request.digest, similar=True)


def no(request: ApprovalRequest) -> Answer:
    return Answer(approved=False, digest=request.digest, similar=True, by="ann")


def behind(
    *tools: Restart,
    approver: Approver | None = None,
    mode: ApproveMode = "ask",
    policy: Policy | None = None,
) -> Callable[..., Any]:
    """Calls the tools behind one gate; the events are in the function's `events`."""
    guarded = Gate(policy or Policy(), mode=mode, approver=approver).guard(tools)
    events: list[Event] = []

    async def call(place: int = 0, **arguments: Any) -> ToolOutput:
        context = ToolContext(run_id="r", call_id="c", emit=events.append)
        return await guarded[place].call(arguments, context)

    call.events = events  # type: ignore[attr-defined]
    return call


@pytest.mark.parametrize(
    ("effect", "action"),
    [(Effect.READ, ALLOW), (Effect.WRITE, ASK), (Effect.DESTRUCTIVE, ASK)],
)
def test_without_rules_the_effect_decides(effect: Effect, action: Action) -> None:
    assert Policy().decide(spec(effect=effect), {}) is action
    turned = Policy(read=DENY, write=DENY, destructive=DENY)
    assert turned.decide(spec(effect=effect), {}) is DENY


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        ([ALLOW, ASK], ALLOW),
        ([ASK, ALLOW], ASK),
        ([ALLOW, ASK, DENY], DENY),
        ([DENY, ALLOW], DENY),
    ],
)
def test_deny_wins_else_the_first_rule(actions: list[Action], action: Action) -> None:
    policy = Policy(destructive=DENY, rules=tuple(Rule(action=each) for each in actions))
    assert policy.decide(spec(effect=Effect.DESTRUCTIVE), {}) is action


@given(st.lists(st.sampled_from([ALLOW, ASK, DENY]), min_size=1, max_size=6), st.booleans())
def test_a_denial_cannot_be_ordered_away(actions: list[Action], backwards: bool) -> None:
    ordered = reversed(actions) if backwards else actions
    decided = Policy(rules=tuple(Rule(action=each) for each in ordered)).decide(spec(), {})
    assert (decided is DENY) == (DENY in actions)


@pytest.mark.parametrize(
    ("rule", "arguments", "matches"),
    [
        ({"tool": "lab__*"}, {}, True),
        ({"tool": "LAB__*"}, {}, False),
        ({"tool": "lab"}, {}, False),
        ({"tool": "lab__[st]op"}, {}, False),
        ({"effect": Effect.WRITE}, {}, True),
        ({"effect": Effect.READ}, {}, False),
        ({"tool": "lab__*", "effect": Effect.READ}, {}, False),
        ({"arguments": {"argv": "kubectl get *"}}, {"argv": ["kubectl", "get", "pods"]}, True),
        ({"arguments": {"argv": "kubectl get *"}}, {"argv": "kubectl get pods"}, True),
        ({"arguments": {"argv": "kubectl get *"}}, {"argv": ["kubectl", "delete", "p"]}, False),
        ({"arguments": {"argv": "kubectl get *"}}, {"argv": ["Kubectl", "get", "p"]}, False),
        ({"arguments": {"argv": "*"}}, {}, False),
        ({"arguments": {"force": "true"}}, {"force": True}, True),
        ({"arguments": {"replicas": "3"}}, {"replicas": 3}, True),
        ({"arguments": {"a": "1", "b": "2"}}, {"a": 1, "b": 3}, False),
    ],
)
def test_all_that_a_rule_names_must_match(
    rule: dict[str, Any], arguments: dict[str, Any], matches: bool
) -> None:
    assert Rule(action=DENY, **rule).matches(spec("lab__restart"), arguments) is matches


def test_a_misspelt_rule_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="efect"):
        msgspec.convert({"action": "deny", "efect": "read"}, Rule)


async def test_a_yes_is_for_one_call() -> None:
    tool, approver = Restart(), Says(yes)
    call = behind(tool, approver=approver)
    for _ in range(2):
        assert (await call(service="checkout")).content == "restarted"
    assert len(approver.asked) == 2
    requested, answered = call.events[:2]
    assert isinstance(requested, ApprovalRequested)
    assert (requested.tool, requested.arguments) == ("restart", {"service": "checkout"})
    assert isinstance(answered, ApprovalAnswered)
    assert (answered.approved, answered.by, answered.via) == (True, "ann", "test")
    assert answered.digest == requested.digest


async def test_a_no_is_shown_to_the_model_and_holds_for_nothing_else() -> None:
    tool, approver = Restart(), Says(no)
    call = behind(tool, approver=approver)
    for _ in range(2):
        output = await call(service="checkout")
        assert output.denied
        assert output.is_error
        assert output.content.startswith("Denied by ann")
    assert (tool.calls, len(approver.asked)) == ([], 2)


async def test_a_read_is_not_asked_about() -> None:
    approver = Says(no)
    call = behind(Restart(effect=Effect.READ), approver=approver)
    assert not (await call()).is_error
    assert (approver.asked, call.events) == ([], [])


async def test_similar_is_for_the_same_definition_and_kind() -> None:
    first, second = Restart(), Restart("restart_hard")
    approver = Says(yes_to_similar)
    call = behind(first, second, approver=approver)
    await call(0, service="checkout", why="a")
    await call(0, service="checkout", why="b")
    assert len(approver.asked) == 1
    await call(0, service="payments")
    assert len(approver.asked) == 2
    await call(1, service="checkout")
    assert len(approver.asked) == 3
    first.spec = spec("restart", text="now it erases the disk")
    await call(0, service="checkout")
    assert len(approver.asked) == 4


async def test_similar_ends_with_the_run() -> None:
    tool, approver = Restart(), Says(yes_to_similar)
    for _ in range(2):
        await behind(tool, approver=approver)(service="checkout")
    assert len(approver.asked) == 2


async def test_a_denial_in_the_policy_is_not_asked_about_in_any_mode() -> None:
    policy = Policy(rules=(Rule(action=DENY, tool="restart"),))
    for mode in ("ask", "never", "all"):
        tool, approver = Restart(), Says(yes)
        call = behind(tool, approver=approver, mode=mode, policy=policy)
        output = await call(service="checkout")
        assert (output.denied, tool.calls, approver.asked) == (True, [], [])


@pytest.mark.parametrize("approver", [None, Says(yes)])
async def test_never_refuses_what_would_be_asked(approver: Says | None) -> None:
    tool = Restart()
    call = behind(tool, mode="never", approver=approver)
    output = await call(service="checkout")
    assert (output.denied, output.is_error, tool.calls) == (True, True, [])
    assert "approval" in output.content
    assert approver is None or approver.asked == []


async def test_nobody_to_ask_is_a_refusal() -> None:
    tool = Restart()
    assert (await behind(tool)(service="checkout")).denied
    assert tool.calls == []


async def test_all_approves_without_asking() -> None:
    tool, approver = Restart(effect=Effect.DESTRUCTIVE), Says(no)
    assert not (await behind(tool, mode="all", approver=approver)(service="x")).is_error
    assert (tool.calls, approver.asked) == ([{"service": "x"}], [])


def request(tool: ToolSpec | None = None, **arguments: Any) -> ApprovalRequest:
    return ApprovalRequest(
        run_id="r", call_id="c", tool=tool or spec(), arguments=arguments, reason=""
    )


def test_a_digest_is_of_the_definition_and_the_exact_arguments() -> None:
    digest = request(a=1, b={"c": [1, 2], "d": None}).digest
    assert request(b={"d": None, "c": [1, 2]}, a=1).digest == digest
    others = [
        request(a=1, b={"c": [2, 1], "d": None}),
        request(a="1", b={"c": [1, 2], "d": None}),
        request(a=True, b={"c": [1, 2], "d": None}),
        request(a=1, b={"c": [1, 2]}),
        request(spec(text="x"), a=1, b={"c": [1, 2], "d": None}),
        request(spec(effect=Effect.READ), a=1, b={"c": [1, 2], "d": None}),
        request(spec("other"), a=1, b={"c": [1, 2], "d": None}),
    ]
    assert len({digest, *(each.digest for each in others)}) == len(others) + 1


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=2), values), st.dictionaries(st.text(max_size=2), values))
def test_digests_are_alike_where_the_json_is(one: dict[str, Any], other: dict[str, Any]) -> None:
    as_json = [msgspec.json.encode(each, order="deterministic") for each in (one, other)]
    digests = [
        ApprovalRequest(run_id=run, call_id=run, tool=spec(), arguments=each, reason=run).digest
        for run, each in (("1", one), ("2", other))
    ]
    assert (digests[0] == digests[1]) == (as_json[0] == as_json[1])


async def test_an_answer_to_another_request_is_refused() -> None:
    tool = Restart()
    other = request(service="payments").digest
    call = behind(tool, approver=Says(lambda _: Answer(approved=True, digest=other, similar=True)))
    for _ in range(2):
        output = await call(service="checkout")
        assert (output.denied, tool.calls) == (True, [])
        assert "no longer" in output.content
    assert [each.approved for each in call.events if isinstance(each, ApprovalAnswered)] == [
        False,
        False,
    ]


async def test_a_definition_that_changes_while_it_is_asked_about_is_refused() -> None:
    tool = Restart()

    def change(asked: ApprovalRequest) -> Answer:
        tool.spec = spec("restart", text="and erases the disk")
        return yes(asked)

    output = await behind(tool, approver=Says(change))(service="checkout")
    assert (output.denied, tool.calls) == (True, [])


async def test_arguments_that_change_while_they_are_asked_about_are_refused() -> None:
    tool = Restart()

    def change(asked: ApprovalRequest) -> Answer:
        answer = yes(asked)
        asked.arguments["service"] = "payments"
        return answer

    output = await behind(tool, approver=Says(change))(service="checkout")
    assert (output.denied, tool.calls) == (True, [])


async def test_a_withdrawn_question_makes_no_call() -> None:
    tool = Restart()

    class Waits:
        async def ask(self, request: ApprovalRequest) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    asking = asyncio.create_task(behind(tool, approver=Waits())(service="checkout"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert tool.calls == []


class Silent:
    """Somebody who is asked and never answers."""

    withdrawn = False

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.request = request
        try:
            await asyncio.Event().wait()
        finally:
            self.withdrawn = True
        raise AssertionError


def test_no_answer_in_time_is_a_no_that_says_so() -> None:
    tool, nobody = Restart(), Silent()
    call = behind(tool, approver=nobody, policy=Policy(approval_timeout=300.0))
    output = virtual_time.run(call(service="checkout"))
    assert (output.denied, tool.calls, nobody.withdrawn) == (True, [], True)
    assert "nobody answered within 5 min," in output.content
    asked, answered = call.events
    assert isinstance(asked, ApprovalRequested)
    assert isinstance(answered, ApprovalAnswered)
    assert (answered.approved, answered.by, answered.via) == (False, "", "timeout")
    assert answered.digest == asked.digest == nobody.request.digest
    assert answered_in_a_line(answered) == "not approved: nobody answered within 5 min"


async def test_the_time_to_answer_is_told_to_who_is_asked_and_is_no_part_of_the_digest() -> None:
    asked = Says(yes)
    await behind(Restart(), approver=asked, policy=Policy(approval_timeout=60.0))(service="a")
    await behind(Restart(), approver=asked)(service="a")
    hurried, calm = asked.asked
    assert hurried.left is not None
    assert 50 < hurried.left <= 60
    assert "it is denied" in hurried.hurry
    assert (calm.expires, calm.left, calm.hurry) == (None, None, "")
    assert hurried.digest == calm.digest


async def test_a_face_that_fails_with_a_timeout_of_its_own_is_no_answer() -> None:
    def fails(request: ApprovalRequest) -> Answer:
        raise TimeoutError("the chat did not answer")

    call = behind(Restart(), approver=Says(fails), policy=Policy(approval_timeout=60.0))
    with pytest.raises(TimeoutError, match="the chat"):
        await call(service="checkout")


@pytest.mark.parametrize(
    ("own", "said", "bound", "holds"),
    [
        (None, None, None, None),
        (60.0, None, None, 60.0),
        (60.0, 90.0, None, 90.0),
        (60.0, math.inf, None, None),
        (60.0, 90.0, 30.0, 30.0),
        (None, math.inf, 30.0, 30.0),
    ],
)
async def test_what_is_said_comes_before_the_policy_and_a_bound_before_both(
    own: float | None, said: float | None, bound: float | None, holds: float | None
) -> None:
    asked = Says(no)
    gate = Gate(
        Policy(approval_timeout=own),
        approver=asked,
        bounds=[Policy(approval_timeout=bound)],
        approval_timeout=said,
    )
    context = ToolContext(run_id="r", call_id="c", emit=lambda event: None)
    await gate.guard([Restart()])[0].call({}, context)
    left = asked.asked[0].left
    assert (left is None) if holds is None else (left is not None and holds - 5 < left <= holds)


@pytest.mark.parametrize("said", ["soon", "0s", "-1"])
def test_a_time_to_answer_that_is_none_is_refused(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_APPROVAL_TIMEOUT", said)
    with pytest.raises(ConfigurationError, match="AOF_APPROVAL_TIMEOUT"):
        approval_timeout_from_environment()
    monkeypatch.setenv("AOF_APPROVAL_TIMEOUT", "5m")
    assert approval_timeout_from_environment() == 300.0


def test_the_face_that_asks_is_found_anew_each_time() -> None:
    faces: list[Approver | None] = [Says(yes), None]
    set_ambient_approver(lambda: faces[0])
    try:
        assert ambient_approver() is faces[0]
        faces.pop(0)
        assert ambient_approver() is None
    finally:
        set_ambient_approver(None)
    assert ambient_approver() is None


@pytest.mark.parametrize("own", [ALLOW, ASK, DENY])
@pytest.mark.parametrize("bound", [ALLOW, ASK, DENY])
async def test_a_bound_tightens_and_never_loosens(own: Action, bound: Action) -> None:
    tool, person = Restart(effect=Effect.DESTRUCTIVE), Says(yes)
    gate = Gate(Policy(destructive=own), approver=person, bounds=[Policy(destructive=bound)])
    [guarded] = gate.guard([tool])
    context = ToolContext(run_id="r", call_id="c", emit=lambda _: None)
    output = await guarded.call({"service": "web"}, context)
    strictest = max(own, bound, key=[ALLOW, ASK, DENY].index)
    assert output.denied is (strictest is DENY)
    assert len(person.asked) == (strictest is ASK)


def test_bounds_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AOF_POLICY", raising=False)
    assert bounds_from_environment() == ()
    bounds = (Policy(write=DENY), Policy(rules=(Rule(action=ASK, tool="a*"),)))
    monkeypatch.setenv("AOF_POLICY", msgspec.json.encode(bounds).decode())
    assert bounds_from_environment() == bounds
    for wrong in ("{}", "[", '[{"wirte": "deny"}]'):
        monkeypatch.setenv("AOF_POLICY", wrong)
        with pytest.raises(ConfigurationError, match="AOF_POLICY"):
            bounds_from_environment()


def test_the_environment_says_what_happens_where_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AOF_APPROVE", raising=False)
    assert approve_from_environment() == "ask"
    for mode in ("ask", "never", "all"):
        monkeypatch.setenv("AOF_APPROVE", mode)
        assert approve_from_environment() == mode
    monkeypatch.setenv("AOF_APPROVE", "yes")
    with pytest.raises(ConfigurationError, match="AOF_APPROVE is 'yes'"):
        approve_from_environment()


async def test_similar_answers_the_questions_that_stand_open() -> None:
    asked, clicked = asyncio.Semaphore(0), asyncio.Event()

    class Person:
        async def ask(self, request: ApprovalRequest) -> Answer:
            asked.release()
            if request.arguments["n"] != 1:
                await asyncio.Event().wait()
            await clicked.wait()
            answer = yes(request)
            return msgspec.structs.replace(answer, similar=True)

    tool = Restart()
    call = behind(tool, approver=Person())
    calls = [asyncio.create_task(call(service="checkout", n=n)) for n in range(3)]
    other = asyncio.create_task(call(service="payments", n=3))
    for _ in range(4):
        await asked.acquire()
    clicked.set()
    async with asyncio.timeout(5):
        assert not any(output.is_error for output in await asyncio.gather(*calls))
    assert sorted(each["n"] for each in tool.calls) == [0, 1, 2]
    answers = [each for each in call.events if isinstance(each, ApprovalAnswered)]  # type: ignore[attr-defined]
    assert [(each.approved, each.by) for each in answers] == [(True, "ann")] * 3
    assert sorted(each.similar for each in answers) == [False, False, True]
    assert not other.done()
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)


async def test_similar_does_not_answer_for_what_has_been_read_since() -> None:
    """A question that was about no secret data must not let them out when it is answered late."""
    asked, clicked = asyncio.Semaphore(0), asyncio.Event()
    reasons: list[str] = []

    class Person:
        async def ask(self, request: ApprovalRequest) -> Answer:
            asked.release()
            reasons.append(request.reason)
            if "would send" in request.reason:
                return no(request)
            if request.arguments["n"] != 1:
                await asyncio.Event().wait()
            await clicked.wait()
            return msgspec.structs.replace(yes(request), similar=True)

    tool, events = Restart(), list[Event]()
    tool.spec = msgspec.structs.replace(tool.spec, sends=True)
    gate = Gate(Policy(), approver=Person())
    [guarded] = gate.guard([tool])
    calls = []
    for n in range(2):
        context = ToolContext(run_id="r", call_id=str(n), emit=events.append)
        calls.append(asyncio.create_task(guarded.call({"service": "s", "n": n}, context)))
    await asked.acquire()
    await asked.acquire()
    gate.note_read(spec("read_log"))
    clicked.set()
    async with asyncio.timeout(5):
        outputs = await asyncio.gather(*calls)
    assert [each["n"] for each in tool.calls] == [1]
    assert outputs[0].denied
    assert "read_log" in reasons[-1]
