"""Asking across processes: the answer comes back, and whatever fails leaves the question open."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from aof_nb.approval_channel import approver_from_environment, connect, serve
from aof_nb.errors import ApprovalPending
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import Effect, ToolSpec


def a_request(call_id: str = "c1", **arguments: object) -> ApprovalRequest:
    spec = ToolSpec(
        name="restart",
        description="Restarts a service.",
        input_schema={"type": "object", "properties": {"lines": {"maximum": 1.5}}},
        effect=Effect.DESTRUCTIVE,
    )
    return ApprovalRequest(
        run_id="r", call_id=call_id, tool=spec, arguments=dict(arguments), reason="policy"
    )


class Person:
    """Answers by the call's id, once `go` is set; remembers what was withdrawn."""

    def __init__(self) -> None:
        self.asked: list[ApprovalRequest] = []
        self.withdrawn: list[str] = []
        self.go = asyncio.Event()
        self.noticed = asyncio.Event()

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        self.noticed.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.withdrawn.append(request.call_id)
            raise
        if request.call_id == "broken":
            raise RuntimeError("the screen is on fire")
        return Answer(
            approved=request.call_id == "yes",
            digest=request.digest,
            similar=request.call_id == "yes",
            by="jo",
            via="terminal",
        )


async def test_the_question_arrives_whole_and_the_answer_comes_back() -> None:
    person = Person()
    person.go.set()
    request = a_request("yes", service="web", text="ünï\n" * 50_000, ratio=0.1, deep={"a": [None]})
    async with serve(person) as address:
        answer = await connect(address).ask(request)
    assert person.asked == [request]
    assert answer == Answer(
        approved=True, digest=request.digest, similar=True, by="jo", via="terminal"
    )


async def test_several_questions_wait_at_the_same_time() -> None:
    person = Person()
    async with serve(person) as address, asyncio.TaskGroup() as group:
        approver = connect(address)
        yes, no = (group.create_task(approver.ask(a_request(each))) for each in ("yes", "no"))
        while len(person.asked) < 2:
            await asyncio.sleep(0.01)
        person.go.set()
    assert (yes.result().approved, no.result().approved) == (True, False)


async def test_a_cancelled_question_is_withdrawn_and_others_stay() -> None:
    person = Person()
    async with serve(person) as address:
        approver = connect(address)
        first = asyncio.create_task(approver.ask(a_request("first")))
        await person.noticed.wait()
        second = asyncio.create_task(approver.ask(a_request("yes")))
        while len(person.asked) < 2:
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        while not person.withdrawn:
            await asyncio.sleep(0.01)
        assert person.withdrawn == ["first"]
        person.go.set()
        assert (await second).approved


async def test_an_approver_that_fails_has_not_answered() -> None:
    person = Person()
    person.go.set()
    async with serve(person) as address:
        with pytest.raises(ApprovalPending, match="the screen is on fire"):
            await connect(address).ask(a_request("broken"))
        assert (await connect(address).ask(a_request("yes"))).approved


async def test_one_that_finds_nobody_has_not_answered() -> None:
    class Nobody:
        async def ask(self, request: ApprovalRequest) -> Answer:
            raise ApprovalPending("there is no terminal to ask on")

    async with serve(Nobody()) as address:
        with pytest.raises(ApprovalPending, match="there is no terminal to ask on"):
            await connect(address).ask(a_request("yes"))


async def test_a_server_that_has_gone_has_not_answered() -> None:
    person = Person()
    async with serve(person) as address:
        pending = asyncio.create_task(connect(address).ask(a_request("yes")))
        await person.noticed.wait()
    with pytest.raises(ApprovalPending, match="the process that asks has ended"):
        await pending
    with pytest.raises(ApprovalPending, match="nobody has answered"):
        await connect(address).ask(a_request("yes"))
    assert person.withdrawn == ["yes"]
    assert not Path(address).parent.exists()


async def test_rubbish_is_no_yes_and_costs_nobody_else_anything() -> None:
    person = Person()
    person.go.set()
    async with serve(person) as address:
        for rubbish in (b"", b"{", b"{}\n", b"\xff\xfe\n"):
            reader, writer = await asyncio.open_unix_connection(address)
            writer.write(rubbish)
            writer.write_eof()
            assert b'"approved":true' not in await reader.read()
            writer.close()
        assert person.asked == []
        assert (await connect(address).ask(a_request("yes"))).approved


async def test_an_answer_that_is_none_is_no_yes(tmp_path: Path) -> None:
    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"answer": {"approved": "certainly"}}\n')
        writer.close()

    async with serve(Person()) as address:
        elsewhere = Path(address).with_name("other")
        async with await asyncio.start_unix_server(mumble, elsewhere):
            with pytest.raises(ApprovalPending, match="nobody has answered"):
                await connect(str(elsewhere)).ask(a_request("yes"))


async def test_only_this_user_can_reach_it_however_long_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    async with serve(Person()) as address:
        assert stat.S_IMODE(Path(address).parent.stat().st_mode) == 0o700
        assert len(os.fsencode(address)) < 104


async def test_another_process_finds_it_in_its_environment() -> None:
    program = textwrap.dedent("""
        import asyncio
        from aof_nb.approval_channel import approver_from_environment
        from tests.test_approval_channel import a_request

        print((asyncio.run(approver_from_environment().ask(a_request("yes")))).approved)
    """)
    person = Person()
    person.go.set()
    async with serve(person) as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={**os.environ, "AOF_APPROVER": address},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert out == b"True\n"


def test_without_the_variable_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AOF_APPROVER", raising=False)
    assert approver_from_environment() is None


async def test_an_asker_that_has_left_before_its_answer_costs_nobody_else_theirs() -> None:
    person = Person()
    person.go.set()
    async with serve(person) as address:
        _, writer = await asyncio.open_unix_connection(address)
        writer.write(msgspec.json.encode(a_request("yes")) + b"\n")
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(person.noticed.wait(), 10)
        answer = await asyncio.wait_for(connect(address).ask(a_request("yes")), 10)
    assert answer.approved
