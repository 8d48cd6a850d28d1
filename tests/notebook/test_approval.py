"""Who is asked, and what stays of the question."""

from __future__ import annotations

import asyncio
import re
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aof_nb.call_description import described
from aof_nb.errors import ApprovalPending
from aof_nb.markdown import html_text
from aof_nb.notebook import approval
from aof_nb.notebook.approval import ButtonApprover, FirstOf, find_approver
from aof_nb.notebook.screen import Frontend
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import Effect, ToolSpec
from aof_nb.terminal import TerminalApprover
from tests.notebook.kernel import Executed, Kernel, started
from tests.notebook.test_kernel import PLAYBOOK, TOOLS

SPEC = ToolSpec(
    name="restart", description="", input_schema={"type": "object"}, effect=Effect.DESTRUCTIVE
)
REQUEST = ApprovalRequest(
    run_id="r",
    call_id="c",
    tool=SPEC,
    arguments={"service": "<img src=x onerror=alert(1)>\u202e"},
    reason="because",
)


class Publisher:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def publish(self, **sent: Any) -> None:
        self.sent.append(sent)


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The panels that were made; their buttons can be clicked."""
    made: list[Any] = []
    real = approval._panel

    def panel(*args: Any) -> Any:
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(approval, "_panel", panel)
    return made


async def asked(publisher: Publisher, panels: list[Any]) -> asyncio.Task[Any]:
    shell: Any = SimpleNamespace(display_pub=publisher)
    asking = asyncio.create_task(ButtonApprover(shell).ask(REQUEST))
    while not publisher.sent:
        await asyncio.sleep(0.01)
    return asking


def click(panel: Any, place: int) -> None:
    panel.box.children[1].children[place].click()


@pytest.mark.parametrize(
    ("place", "approved", "similar"), [(0, True, False), (1, False, False), (2, True, True)]
)
async def test_a_click_on_another_thread(
    publisher: Publisher,
    panels: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    place: int,
    approved: bool,
    similar: bool,
) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "maria")
    asking = await asked(publisher, panels)
    for _ in range(2):
        threading.Thread(target=click, args=(panels[0], place)).start()
    answer = await asyncio.wait_for(asking, 10)
    assert (answer.approved, answer.similar) == (approved, similar)
    assert (answer.digest, answer.by, answer.via) == (REQUEST.digest, "maria", "notebook")
    question, record = publisher.sent
    assert "application/vnd.jupyter.widget-view+json" in question["data"]
    assert record["update"]
    assert record["transient"] == question["transient"]
    assert set(record["data"]) == {"text/html", "text/plain"}
    assert "maria" in record["data"]["text/plain"]
    assert record["metadata"]["aof"]["digest"] == REQUEST.digest
    assert panels[0].box.comm is None


async def test_what_is_asked_is_shown_not_obeyed(publisher: Publisher, panels: list[Any]) -> None:
    asking = await asked(publisher, panels)
    question = panels[0].box.children[0].value
    assert "&lt;img" in question
    assert "<img" not in question
    assert "\u202e" not in question
    assert "because" in question
    for line in described(SPEC, REQUEST.arguments):
        assert html_text(line) in question
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    record = publisher.sent[-1]
    assert record["data"]["text/plain"].startswith("Not answered here, ")
    assert "<img" not in record["data"]["text/html"]
    assert panels[0].box.comm is None


@pytest.mark.parametrize(
    ("place", "clicks", "kind"),
    [
        (Frontend.HEADLESS, True, type(None)),
        (Frontend.LIVE, True, ButtonApprover),
        (Frontend.LIVE, False, TerminalApprover),
        (Frontend.CONSOLE, True, TerminalApprover),
        (Frontend.TERMINAL, True, TerminalApprover),
    ],
)
def test_who_is_asked(
    monkeypatch: pytest.MonkeyPatch, place: Frontend, clicks: bool, kind: type
) -> None:
    monkeypatch.setenv("AOF_FRONTEND", place.value)
    monkeypatch.delenv("AOF_APPROVER", raising=False)
    monkeypatch.setattr(approval, "clicks_arrive", lambda: clicks)
    shell: Any = SimpleNamespace(display_pub=None)
    assert type(find_approver(shell)) is kind


def test_the_process_that_started_the_kernel_is_asked_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AOF_APPROVER", str(tmp_path / "ask"))
    monkeypatch.setenv("AOF_FRONTEND", "headless")
    shell: Any = SimpleNamespace(display_pub=None)
    assert find_approver(shell) is not None


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    directory = tmp_path_factory.mktemp("console")
    (directory / "fix.yaml").write_text(PLAYBOOK)
    with started(directory, AOF_FRONTEND="console") as kernel:
        kernel.run(TOOLS)
        yield kernel


def said(executed: Executed) -> str:
    """What a console shows of a cell; questions are displayed, all else is printed."""
    return re.sub(r"\x1b\[[\d;]*m", "", f"{executed.text}\n{executed.printed}")


def test_a_console_is_asked_on_its_standard_input(console: Kernel) -> None:
    sent = console.send("%%aof sre\nWhy?")
    request = console.client.get_stdin_msg(timeout=60)
    assert "Allow?" in request["content"]["prompt"]
    console.client.input("y")
    executed: Executed = console.finish(sent)
    assert executed.reply["status"] == "ok"
    assert "Approval needed: restart" in said(executed)
    assert "approved by " in said(executed)
    assert "✓ restart service=checkout" in said(executed)
    assert "is up again." in said(executed)


def test_a_question_on_standard_input_is_interrupted(console: Kernel) -> None:
    sent = console.send("%%aof sre\nWhy?")
    console.client.get_stdin_msg(timeout=60)
    console.manager.interrupt_kernel()
    executed = console.finish(sent)
    assert executed.reply["ename"] == "Interrupted"
    assert "(withdrawn)" in said(executed)


def test_a_question_on_standard_input_has_its_time(console: Kernel) -> None:
    sent = console.send("%%aof sre --approval-timeout 0.3s\nWhy?")
    console.client.get_stdin_msg(timeout=60)
    executed = console.finish(sent)
    assert "(denied: nobody answered in time)" in said(executed)
    assert "Nothing was restarted." in said(executed)
    # The late answer is none to the next question.
    console.client.input("y")
    sent = console.send("%%aof sre\nWhy?")
    console.client.get_stdin_msg(timeout=60)
    console.client.input("n")
    assert "Nothing was restarted." in said(console.finish(sent))


def test_the_loop_goes_on_while_standard_input_is_asked(console: Kernel) -> None:
    source = """
    asked = asyncio.create_task(sre.run("Why?"))
    await asyncio.sleep(0)
    for n in range(500):
        await asyncio.sleep(0.01)
        if n == 20:
            print("the loop goes on", flush=True)
        if asked.done():
            break
    print(asked.done() and asked.result().status.value)
    """
    seen = []

    def answer(message: dict[str, Any]) -> None:
        if "the loop goes on" in str(message["content"].get("text")):
            seen.append(console.client.get_stdin_msg(timeout=60))
            console.client.input("y")

    executed = console.run(textwrap.dedent(source), seen=answer)
    assert len(seen) == 1
    assert "completed" in executed.printed


def test_closed_standard_input_leaves_the_question_open(console: Kernel) -> None:
    sent = console.send("%%aof sre\nWhy?")
    console.client.get_stdin_msg(timeout=60)
    console.client.input("\x04")
    executed = console.finish(sent)
    assert "waits for a person's approval" in " ".join(said(executed).split())


def test_a_page_without_a_view_is_asked_on_its_input_line_too(tmp_path: Path) -> None:
    (tmp_path / "fix.yaml").write_text(PLAYBOOK)
    with started(tmp_path) as kernel:
        kernel.run(f"{TOOLS}\nfrom aof_nb.notebook import approval\napproval._PATIENCE = 0.2")
        for typed, became in (("y", "Approved"), ("n", "Denied")):
            sent = kernel.send("%%aof sre\nWhy?")
            request = kernel.client.get_stdin_msg(timeout=60)
            assert "Allow?" in request["content"]["prompt"]
            kernel.client.input(typed)
            executed = kernel.finish(sent)
            assert executed.reply["status"] == "ok"
            assert f"**{became}** by " in executed.text


async def test_the_first_answer_counts_and_withdraws_the_other_questions() -> None:
    withdrawn = []

    class Asks:
        def __init__(self, what: bool | BaseException | None) -> None:
            self.what = what

        async def ask(self, request: ApprovalRequest) -> Answer:
            if isinstance(self.what, BaseException):
                raise self.what
            if self.what is None:
                try:
                    await asyncio.sleep(600)
                finally:
                    withdrawn.append(request)
            return Answer(approved=bool(self.what), digest=request.digest)

    pending = ApprovalPending("nobody", remedy="")
    answer = await FirstOf(Asks(pending), Asks(None), Asks(True)).ask(REQUEST)
    assert answer.approved
    assert withdrawn == [REQUEST]
    with pytest.raises(ApprovalPending):
        await FirstOf(Asks(pending), Asks(pending)).ask(REQUEST)
