"""Asking on a terminal: what is shown, what is typed, and when there is nobody."""

from __future__ import annotations

import asyncio
import getpass
import os
import pty
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aof_nb.editor import edited
from aof_nb.errors import ApprovalPending
from aof_nb.policy import ApprovalRequest
from aof_nb.ports import Effect, ToolSpec
from aof_nb.terminal import TerminalApprover, read_terminal
from tests.cli.test_run_notebook import read_until


def a_request(**arguments: Any) -> ApprovalRequest:
    spec = ToolSpec(name="lab__restart", description="", input_schema={}, effect=Effect.DESTRUCTIVE)
    return ApprovalRequest(
        run_id="r", call_id="c", tool=spec, arguments=arguments, reason="the policy asks"
    )


class Typist:
    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.prompts: list[str] = []

    async def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        await asyncio.sleep(0)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)


@pytest.mark.parametrize(
    ("typed", "approved", "similar"),
    [("y", True, False), (" YES ", True, False), ("a", True, True), ("n", False, False)],
)
async def test_the_three_answers(typed: str, approved: bool, similar: bool) -> None:
    request = a_request()
    answer = await TerminalApprover(Typist(typed)).ask(request)
    assert (answer.approved, answer.similar) == (approved, similar)
    assert (answer.digest, answer.by, answer.via) == (
        request.digest,
        getpass.getuser(),
        "terminal",
    )


async def test_anything_else_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    typist = Typist("", "yep", "y n", "n")
    assert not (await TerminalApprover(typist).ask(a_request())).approved
    assert len(typist.prompts) == 4
    assert "Please type y, a, e or n" in capsys.readouterr().err


NEW = '{"replicas": 3}'


@pytest.mark.parametrize(
    ("typed", "approved", "arguments"),
    [
        (["e", NEW, "y"], True, {"replicas": 3}),
        (["E", NEW, "n"], False, None),
        (["e", NEW, "a", "y"], True, {"replicas": 3}),
        (["e", "", "y"], True, None),
        (["e", "{", "y"], True, None),
        (["e", "[]", "e", NEW, "y"], True, {"replicas": 3}),
        (["e", '{"replicas": "many"}', "a"], True, None),
        (["e", NEW, "e", '{"replicas": 9}', "y"], True, None),
        (["e", NEW, "e", '{"replicas": 4}', "y"], True, {"replicas": 4}),
    ],
)
async def test_arguments_are_edited_in_a_line(
    typed: list[str],
    approved: bool,
    arguments: dict[str, Any] | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    schema = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    request = a_request(replicas=9)
    request = msgspec.structs.replace(
        request, tool=msgspec.structs.replace(request.tool, input_schema=schema)
    )
    typist = Typist(*typed)
    answer = await TerminalApprover(typist).ask(request)
    assert (answer.approved, answer.arguments) == (approved, arguments)
    assert answer.similar == (typed[-1] == "a")
    assert typist.lines == []
    if NEW in typed:
        assert "replicas  3" in capsys.readouterr().err


async def test_what_came_of_a_question_is_shown_before_the_next_one() -> None:
    order: list[str] = []

    async def typed(prompt: str) -> str:
        order.append("asked")
        await asyncio.sleep(0.001)
        return "y"

    approver = TerminalApprover(typed)

    async def call(number: int) -> None:
        await approver.ask(a_request(n=number))
        for _ in range(20):
            await asyncio.sleep(0)
        order.append("told")

    await asyncio.gather(call(1), call(2), call(3))
    assert order == ["asked", "told"] * 3


def test_arguments_are_edited_in_the_users_editor(tmp_path: Path) -> None:
    """In a process of its own, whose terminal is a real one."""
    editor = tmp_path / "my editor"
    editor.write_text('#!/bin/sh\nsed -i s/9/3/ "$1"\ntest -t 0 && echo edited here\n')
    editor.chmod(0o755)
    code = textwrap.dedent("""
        import asyncio
        from tests.test_terminal import a_request
        from aof_nb.terminal import TerminalApprover
        answer = asyncio.run(TerminalApprover().ask(a_request(replicas=9)))
        print("taken:", answer.approved, answer.arguments)
    """)
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "VISUAL": f"'{editor}'"},
        start_new_session=True,
    )
    os.close(terminal)
    read_until(keyboard, b"[n] no: ")
    os.write(keyboard, b"e\n")
    assert b"edited here" in read_until(keyboard, b"[n] no: ")
    os.write(keyboard, b"y\n")
    assert b"taken: True {'replicas': 3}" in read_until(keyboard, b"}")
    assert process.wait(timeout=60) == 0
    os.close(keyboard)


async def test_an_editor_is_ended_with_the_question(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    command = ["sh", "-c", f'echo "$1" > {begun}.new && mv {begun}.new {begun}; sleep 60', "sh"]
    keyboard, terminal = pty.openpty()
    editing = asyncio.create_task(edited("{}", command, terminal))
    while not begun.exists():
        assert not editing.done()
        await asyncio.sleep(0.01)
    file = Path(begun.read_text().strip())
    assert file.exists()
    editing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await editing
    assert not file.exists()
    for descriptor in (keyboard, terminal):
        os.close(descriptor)


async def test_an_editor_that_fails_changes_nothing() -> None:
    keyboard, terminal = pty.openpty()
    with pytest.raises(OSError, match="ended with code 1"):
        await edited("{}", ["false"], terminal)
    with pytest.raises(FileNotFoundError):
        await edited("{}", ["no-such-editor"], terminal)
    for descriptor in (keyboard, terminal):
        os.close(descriptor)


async def test_the_end_of_input_leaves_it_open_and_is_counted() -> None:
    approver = TerminalApprover(Typist())
    with pytest.raises(ApprovalPending, match="no terminal"):
        await approver.ask(a_request())
    assert approver.unanswered == 1


async def test_what_is_asked_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    request = a_request(service="web", argv=["rm", "-rf", "a b"], note="\x1b[2Jy\u202e [red]", n=3)
    await TerminalApprover(Typist("n")).ask(request)
    captured = capsys.readouterr()
    assert captured.out == ""
    for part in ("lab__restart", "destructive", "service", "web", "rm -rf 'a b'", "[red]", "3"):
        assert part in captured.err
    assert "\x1b[2J" not in captured.err
    assert "\\x1b[2Jy\\u202e" in captured.err


async def test_what_would_change_is_shown_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["--- a", "+++ a", "-old\x1b[2J", *(f"+new {n}" for n in range(100))]
    request = msgspec.structs.replace(a_request(), preview="\n".join(lines))
    await TerminalApprover(Typist("n")).ask(request)
    shown = capsys.readouterr().err
    assert "-old\\x1b[2J" in shown
    assert "+new 5 " in shown
    assert "+new 99" not in shown
    assert "[... 43 more lines ...]" in shown


async def test_the_time_to_answer_is_said_and_when_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Absent:
        async def __call__(self, prompt: str) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    hurried = msgspec.structs.replace(a_request(), expires=time.time() + 0.3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(TerminalApprover(Absent()).ask(hurried), 0.4)
    shown = capsys.readouterr().err
    assert "Without an answer within" in shown
    assert "nobody answered in time" in shown


async def test_questions_are_asked_one_after_the_other() -> None:
    asking = 0

    async def read(prompt: str) -> str:
        nonlocal asking
        asking += 1
        assert asking == 1
        await asyncio.sleep(0.01)
        asking -= 1
        return "y"

    approver = TerminalApprover(read)
    answers = await asyncio.gather(*(approver.ask(a_request(n=n)) for n in range(4)))
    assert all(answer.approved for answer in answers)


async def test_a_withdrawn_question_makes_room_for_the_next() -> None:
    shown = asyncio.Event()

    async def read(prompt: str) -> str:
        if not shown.is_set():
            shown.set()
            await asyncio.Event().wait()
        return "y"

    approver = TerminalApprover(read)
    first = asyncio.create_task(approver.ask(a_request(n=1)))
    await shown.wait()
    second = asyncio.create_task(approver.ask(a_request(n=2)))
    first.cancel()
    assert (await second).approved
    assert first.cancelled()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal as standard input; the fixture is the keyboard."""
    keyboard, screen = pty.openpty()
    with os.fdopen(screen, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keyboard
    os.close(keyboard)


async def test_a_line_is_read_without_a_thread_and_without_blocking(terminal: int) -> None:
    threads = threading.active_count()
    reading = asyncio.create_task(read_terminal("? "))
    await asyncio.sleep(0.05)
    os.write(terminal, "ja ü".encode())
    await asyncio.sleep(0.05)
    assert not reading.done()
    assert threading.active_count() == threads
    os.write(terminal, b"\n")
    assert await asyncio.wait_for(reading, 10) == "ja ü"


async def test_what_was_typed_ahead_does_not_answer(terminal: int) -> None:
    os.write(terminal, b"y\n")
    reading = asyncio.create_task(read_terminal("? "))
    await asyncio.sleep(0.1)
    assert not reading.done()
    os.write(terminal, b"n\n")
    assert await asyncio.wait_for(reading, 10) == "n"


async def test_a_cancelled_read_leaves_the_terminal_to_the_next(terminal: int) -> None:
    reading = asyncio.create_task(read_terminal("? "))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    again = asyncio.create_task(read_terminal("? "))
    await asyncio.sleep(0.05)
    os.write(terminal, b"y\n")
    assert await asyncio.wait_for(again, 10) == "y"


async def test_control_d_is_the_end(terminal: int) -> None:
    reading = asyncio.create_task(read_terminal("? "))
    await asyncio.sleep(0.05)
    os.write(terminal, b"\x04")
    with pytest.raises(EOFError):
        await asyncio.wait_for(reading, 10)


def test_without_a_terminal_it_stays_open_at_once() -> None:
    program = textwrap.dedent("""
        import asyncio
        from aof_nb.errors import ApprovalPending
        from aof_nb.terminal import TerminalApprover
        from tests.test_terminal import a_request

        try:
            asyncio.run(TerminalApprover().ask(a_request()))
        except ApprovalPending as pending:
            print(pending.message)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="y\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (0, "there is no terminal to ask on\n")
