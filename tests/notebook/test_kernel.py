"""The magics in a real kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebook.kernel import Executed, Kernel, started

PLAYBOOK = """\
steps:
  - id: look
    say: Let me look at the **service** first.
    call: {tool: read_log, arguments: {service: checkout}}
  - id: fix
    say: "The log says: {{ results.look.content }}"
    call: {tool: restart, arguments: {service: checkout}}
  - when: results.fix.denied
    answer: Nothing was restarted.
  - answer: "# Done\\n\\ncheckout is **up** again."
"""
TOOLS = """\
%load_ext aof_nb
import asyncio
from aof_nb import Agent, tool

@tool(effect="read")
def read_log(service: str) -> str:
    "Reads a log."
    return "<b>disk full</b>"

@tool
def restart(service: str) -> str:
    "Restarts a service."
    return "restarted"

@tool(effect="read")
async def wait() -> str:
    "Waits."
    print("it waits")
    await asyncio.sleep(600)

sre = Agent(name="sre", model="script:fix.yaml", tools=[read_log, restart])
slow = Agent(name="slow", model="script:slow.yaml", tools=[wait])
"""
SLOW = """\
steps:
  - say: This will take a while.
    call: {tool: wait}
  - answer: never
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    directory = tmp_path_factory.mktemp("kernel")
    (directory / "fix.yaml").write_text(PLAYBOOK)
    (directory / "slow.yaml").write_text(SLOW)
    (directory / "bye.yaml").write_text("steps: [{answer: Bye.}]\n")
    with started(directory) as running:
        assert running.run(TOOLS).reply["status"] == "ok"
        yield running


def rows(executed: Executed) -> list[str]:
    return [
        each["data"]["text/plain"]
        for each in executed.displays
        if "<details" in each["data"].get("text/html", "")
    ]


def test_a_cell_shows_text_rows_and_a_footer(kernel: Kernel) -> None:
    executed = kernel.run("%%aof sre --approve all --out r\nWhy is checkout slow?")
    shown = [re.sub(r"[\d.]+ m?s\b", "T", e["data"]["text/plain"]) for e in executed.displays]
    assert shown == [
        "sre",
        "Let me look at the **service** first.",
        "✓ read_log service=checkout (T)",
        "The log says: <b>disk full</b>",
        "✓ restart service=checkout (T)",
        "# Done\n\ncheckout is **up** again.",
        "script:fix.yaml (scripted) · 3 turns · 2 tool calls · 0 tokens · T",
    ]
    row, answer, footer = (executed.displays[n] for n in (2, 5, 6))
    assert "&lt;b&gt;disk full&lt;/b&gt;" in row["data"]["text/html"]
    assert "<h1>Done</h1>" in answer["data"]["text/html"]
    assert footer["metadata"]["aof"]["status"] == "completed"
    assert executed.messages[2]["msg_type"] == "display_data"
    first = executed.of("display_data")[0]["data"]["text/plain"]
    assert first == "sre · starting…"
    assert kernel.run("(r.status.value, r.tool_calls)").of("execute_result")[0]["data"] == {
        "text/plain": "('completed', 2)"
    }


def test_a_row_changes_in_place(kernel: Kernel) -> None:
    executed = kernel.run("%%aof sre --approve all\nWhy?")
    states: dict[str, list[str]] = {}
    for message in executed.of("display_data", "update_display_data"):
        if "read_log" in message["data"].get("text/plain", "") and "<details" in str(message):
            states.setdefault(message["transient"]["display_id"], []).append(
                message["data"]["text/plain"][0]
            )
    assert list(states.values()) == [["…", "✓"]]


def test_an_agent_in_yaml(kernel: Kernel) -> None:
    kernel.run("playbook = 'bye.yaml'")
    defined = kernel.run("%%aof_agent bye\nmodel: script:{playbook}\ntools: [read_file]\n")
    assert defined.printed == "agent bye: script:bye.yaml (scripted), 1 tool\n"
    assert "\nBye.\n" in kernel.run("%%aof bye\nHello").text
    wrong = kernel.run("%%aof_agent odd\nmodel: script:bye.yaml\ntols: [shell]\n")
    [error] = wrong.of("error")
    assert error["ename"] == "CellFailed"
    assert "<cell>:2" in error["evalue"]
    assert len(error["traceback"]) == 2


@pytest.mark.parametrize(
    ("label", "outcome", "record", "answer"),
    [
        ("Approve", "✓ restart", r"Approved by \S+, 20\d\d-.*: restart service=checkout$", "up"),
        ("Deny", "⊘ restart", r"Denied by \S+, 20\d\d-", "Nothing was restarted."),
        ("Approve similar for this run", "✓ restart", r"^Approved .*similar calls", "up"),
    ],
)
def test_a_click_while_the_cell_runs(
    kernel: Kernel, label: str, outcome: str, record: str, answer: str
) -> None:
    def click(message: dict[str, Any]) -> None:
        state = message["content"].get("data", {}).get("state", {})
        if message["msg_type"] == "comm_open" and state.get("_model_name") == "ButtonModel":
            buttons[state["description"]] = message["content"]["comm_id"]
        if message["msg_type"] == "display_data" and _is_widget(message):
            kernel.click(buttons[label])

    buttons: dict[str, str] = {}
    executed = kernel.run("%%aof sre\nWhy?", seen=click)
    assert set(buttons) == {"Approve", "Deny", "Approve similar for this run"}
    assert rows(executed)[1].startswith(outcome)
    told = [e["data"]["text/plain"] for e in executed.displays if "answer" in _aof(e)]
    assert len(told) == 1
    assert re.search(record, told[0])
    assert answer in executed.text
    assert not any(_is_widget({"content": each}) for each in executed.displays)
    closed = {each["comm_id"] for each in executed.of("comm_close")}
    assert set(buttons.values()) <= closed


def _is_widget(message: dict[str, Any]) -> bool:
    return "application/vnd.jupyter.widget-view+json" in message["content"]["data"]


def _aof(content: dict[str, Any]) -> dict[str, Any]:
    return dict(content["metadata"].get("aof", {}))


def test_an_interrupt_ends_the_run_and_the_queue(
    kernel: Kernel, record_property: pytest.RecordProperty
) -> None:
    def running(message: dict[str, Any]) -> bool:
        return "wait" in message["content"].get("data", {}).get("text/plain", "")[:8]

    queued: list[str] = []

    def when(message: dict[str, Any]) -> bool:
        if running(message) and not queued:
            queued.append(kernel.send("ran = True"))
            return True
        return False

    seconds, executed = kernel.interrupted("%%aof slow --out r\nTake your time.", when)
    record_property("interrupt_seconds", seconds)
    print(f"interrupted in {seconds * 1000:.0f} ms")
    assert seconds < 2
    assert executed.reply["status"] == "error"
    assert rows(executed) == ["? wait (interrupted, outcome unknown)"]
    assert "\ninterrupted · " in executed.text
    [error] = executed.of("error")
    assert len(error["traceback"]) == 1
    assert kernel.run("r.status.value").of("execute_result")[0]["data"]["text/plain"] == (
        "'cancelled'"
    )
    assert "NameError" in str(kernel.run("ran").of("error"))


def test_an_interrupt_withdraws_the_question(kernel: Kernel) -> None:
    seconds, executed = kernel.interrupted(
        "%%aof sre\nWhy?", lambda m: m["msg_type"] == "display_data" and _is_widget(m)
    )
    assert seconds < 2
    assert "Not answered, " in executed.text
    assert rows(executed)[1].startswith("? restart service=checkout (interrupted")


def test_a_failing_run_fails_the_cell_with_the_remedy(kernel: Kernel) -> None:
    kernel.run("lost = Agent(name='lost', model='script:none.yaml')")
    executed = kernel.run("%%aof lost --out r\nHello")
    [error] = executed.of("error")
    assert executed.reply["status"] == "error"
    assert error["ename"] == "CellFailed"
    assert len(error["traceback"]) == 2
    assert "the playbook cannot be read" in error["traceback"][0]
    assert "check the path" in error["traceback"][1]
    assert "\nfailed · " in executed.text
    assert kernel.run("r.error.message").reply["status"] == "ok"
    [error] = kernel.run("%%aof lost --debug\nHello").of("error")
    assert "Traceback" in "\n".join(error["traceback"])


def test_a_limit_is_said(kernel: Kernel) -> None:
    executed = kernel.run("%%aof sre --max-turns 1\nWhy?")
    assert executed.reply["status"] == "ok"
    assert "\nstopped by a limit (turns) · " in executed.text


def test_a_burst_costs_bytes_in_proportion(kernel: Kernel) -> None:
    kernel.run(BURST)
    sizes = []
    for chunks in (5_000, 10_000):
        kernel.run(f"n = {chunks}")
        executed = kernel.run("%%aof burst\nGo")
        contents = executed.of("display_data", "update_display_data")
        sizes.append(sum(len(json.dumps(each, ensure_ascii=False)) for each in contents))
    text = 5_000 * len("word word 1234 ")
    print(f"iopub content: {sizes[0] / text:.2f} times the text")
    assert sizes[0] < 3 * text
    assert 1.8 < sizes[1] / sizes[0] < 2.2


BURST = """
from aof_nb.events import ModelResponse, TextDelta
from aof_nb.messages import Message, StopReason, Usage
class Burst:
    name = "burst (scripted)"
    async def stream(self, request):
        text = [("word word 1234 " if i % 40 else "word word 1234\\n\\n") for i in range(n)]
        for each in text:
            yield TextDelta(each)
        message = Message.assistant("".join(text))
        yield ModelResponse(message, StopReason.END_TURN, Usage(), "burst")
burst = Agent(name="burst", model=Burst())
"""
