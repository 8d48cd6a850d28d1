"""What differs between two runs, and only that."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aof_nb.journal.comparison import Change, as_lines, compare
from aof_nb.messages import Text
from tests.journal.conftest import told
from tests.journal.scenes import ANSWER, ATTACK, INCIDENT, Clicks, call, incident, incident_agent


async def test_the_same_run_twice_differs_in_nothing(state: Path) -> None:
    first, second = await incident("x"), await incident("x")
    comparison = compare(told(first.run_id), told(second.run_id))
    assert [each for each in comparison.changes if each.name != "tokens"] == []
    once = told(first.run_id)
    nothing = compare(once, once)
    assert (nothing.is_empty, nothing.same_calls) == (True, 6)
    assert list(as_lines(nothing))[-1] == "no difference"


async def test_what_differs_is_named_in_its_place(state: Path) -> None:
    agent = incident_agent(
        INCIDENT[0],
        (
            Text("Another way."),
            call("restart", service="web"),
            call("restart", service="payments"),
            call("run_command", argv=["reboot"]),
        ),
        (Text("It was DNS.\n" + ANSWER),),
        name="dba",
    )
    first = await incident("Why?\nSince when?")
    second = await agent.run("Why?\nSince yesterday?", approve="all")
    comparison = compare(told(first.run_id), told(second.run_id))
    changes = {each.name: each for each in comparison.changes}
    assert changes["agent"] == Change("agent", "sre", "dba")
    assert changes["tool calls"] == Change("tool calls", "6", "5")
    assert changes["approvals"] == Change("approvals", "ask", "all")
    assert "turns" not in changes
    assert comparison.diverged == 2
    assert "-Since when?\n+Since yesterday?" in comparison.prompt
    assert comparison.instructions == ""
    assert "+It was DNS." in comparison.answer
    assert comparison.same_calls == 2
    assert [(each.kind, each.tool, each.turns) for each in comparison.calls] == [
        ("missing", "run_command", (2, 0)),
        ("arguments", "restart", (2, 2)),
        ("outcome", "restart", (2, 2)),
        ("missing", "nonsense", (2, 0)),
        ("added", "run_command", (0, 2)),
    ]
    by_kind = {each.kind: each for each in comparison.calls}
    assert by_kind["outcome"].outcomes == ("denied", "ok")
    assert "+service: web" in by_kind["arguments"].difference
    lines = list(as_lines(comparison))
    assert lines[:2] == [f"--- {first.run_id}", f"+++ {second.run_id}"]
    assert "responses differ from turn 2 on" in lines
    assert "! restart service=payments: denied → ok" in lines
    assert any(each.startswith("+ run_command: reboot (turn 2") for each in lines)
    decoded = msgspec.json.decode(msgspec.json.encode(comparison))
    assert decoded["runs"] == [first.run_id, second.run_id]


async def test_another_output_of_the_same_call_is_shown(state: Path) -> None:
    first = await incident_agent((call("logs", service="a", lines=2),), (Text("x"),)).run("x")
    path = told(first.run_id).path
    second = await incident_agent((call("logs", service="a", lines=2),), (Text("x"),)).run("x")
    journal = Path(told(second.run_id).path)
    journal.write_bytes(journal.read_bytes().replace(b"03:14:01 a timeout", b"03:14:01 a is well"))
    comparison = compare(told(first.run_id), told(second.run_id))
    [change] = comparison.calls
    assert change.kind == "output"
    assert "-03:14:01 a timeout after 5000 ms" in change.difference
    assert "+03:14:01 a is well after 5000 ms" in change.difference
    assert comparison.diverged is None
    assert path != told(second.run_id).path


async def test_a_run_that_went_further_differs_from_there(state: Path) -> None:
    short = await incident_agent(*INCIDENT[:1], (Text("enough"),)).run("x", approver=Clicks())
    long = await incident("x")
    assert compare(told(short.run_id), told(long.run_id)).diverged == 2
    agent = incident_agent((call("restart", service="web"),), (Text("done"),))
    waits = await agent.run("x")
    done = await agent.run("x", approve="all")
    comparison = compare(told(waits.run_id), told(done.run_id))
    assert comparison.diverged == 2
    [change] = comparison.calls
    assert change.outcomes == ("waits for approval", "ok")


async def test_lines_steer_no_terminal(state: Path) -> None:
    first = await incident_agent((Text(f"a\x1b[2J{ATTACK}"),)).run("x\x07")
    second = await incident_agent((Text("b\u202e"),)).run("y\x1b]0;pwned")
    lines = list(as_lines(compare(told(first.run_id), told(second.run_id))))
    assert len(lines) > 5
    assert all(each.isprintable() for each in lines)
