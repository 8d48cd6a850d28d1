"""The magics in a real kernel."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebook.kernel import Executed, Frontend, Kernel, started

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
    markdown = "".join(each["data"].get("text/markdown", "") for each in executed.displays)
    found = re.findall(r"<details><summary>(.*?)</summary>", markdown)
    return [html.unescape(re.sub(r"<[^>]*>", "", each)) for each in found]


def test_a_cell_leaves_one_record(kernel: Kernel) -> None:
    executed = kernel.run("%%aof sre --approve all --out r\nWhy is checkout slow?")
    [record] = executed.displays
    assert set(record["data"]) == {"text/markdown"}
    text = re.sub(r"[\d.]+ m?s\b", "T", record["data"]["text/markdown"])
    for said in (
        "**sre**\n\nLet me look at the **service** first.\n",
        "<summary>✓ ○ <b>read_log</b> <code>service=checkout</code> T</summary>",
        "```\n<b>disk full</b>\n```",
        "The log says: &lt;b>disk full&lt;/b>\n",
        "<summary>✓ ✎ write <b>restart</b> <code>service=checkout</code> T</summary>",
        "# Done\n\ncheckout is **up** again.\n",
        "script:fix.yaml (scripted) · 3 turns · 2 tool calls · 0 tokens · T",
    ):
        assert said in text
    told = record["metadata"]["aof"]
    assert told["status"] == "completed"
    assert [each["outcome"] for each in told["calls"]] == ["ok", "ok"]
    assert executed.messages[2]["msg_type"] == "display_data"
    first = executed.of("display_data")[0]["data"]["text/markdown"]
    assert first == "**sre · starting…**\n"
    assert kernel.run("(r.status.value, r.tool_calls)").of("execute_result")[0]["data"] == {
        "text/plain": "('completed', 2)"
    }


def test_the_view_is_sent_what_has_changed(kernel: Kernel) -> None:
    page = Frontend(kernel, {"approved": "1"})
    kernel.run("%%aof sre\nWhy?", seen=page)
    assert page.told[0]["all"] == page.name
    shown = "".join(page.html.values())
    assert "<strong>service</strong>" in shown
    assert "&lt;b&gt;disk full&lt;/b&gt;" in shown
    assert page.told[-1]["ended"] is True
    assert [each["status"] for each in page.told if "approval" in each.get("status", "")]


def test_an_answer_comes_in_small_pieces(kernel: Kernel) -> None:
    page = Frontend(kernel)
    kernel.run(PACED)
    began = time.monotonic()
    kernel.run("%%aof paced\nGo", seen=page)
    seconds = time.monotonic() - began
    pieces = [each for each in page.told if "items" in each and "all" not in each]
    assert 5 < len(pieces) <= seconds * 20 + 2
    shown = "".join(html for _, html in sorted(page.html.items()))
    missing = [n for n in range(280) if f"word {n}😀" not in shown]
    assert not missing
    sent = sum(len(json.dumps(each, ensure_ascii=False)) for each in pieces)
    assert sent < 5 * len("".join(f"word {n}😀 " for n in range(300)))


PACED = """
from aof_nb.events import ModelResponse, TextDelta
from aof_nb.messages import Message, StopReason, Usage
class Paced:
    name = "paced (scripted)"
    async def stream(self, request):
        text = [f"word {n}😀" + ("\\n\\n" if n % 50 == 49 else " ") for n in range(300)]
        for each in text:
            await asyncio.sleep(0.01)
            yield TextDelta(each)
        message = Message.assistant("".join(text))
        yield ModelResponse(message, StopReason.END_TURN, Usage(), "paced")
paced = Agent(name="paced", model=Paced())
"""


def test_a_page_that_is_loaded_later_is_sent_everything(kernel: Kernel) -> None:
    page, later = Frontend(kernel), Frontend(kernel)

    def seen(message: dict[str, Any]) -> None:
        page(message)
        if page.asked and not later.view:
            later.view = page.view
            later.answer = {"approved": "1"}
            later.ready()
        elif later.view:
            later(message)

    executed = kernel.run("%%aof sre\nWhy?", seen=seen)
    assert "up** again" in executed.text
    assert any("Let me look" in each for each in later.html.values())
    assert [each["all"] for each in later.told if "all" in each] == [later.name]
    assert [each["all"] for each in page.told if "all" in each] == [page.name]
    assert page.html == later.html
    kernel.custom(page.view, {"do": "record"})
    kernel.run("await asyncio.sleep(0.3)", seen=later)
    [record] = [each["record"] for each in later.told if "record" in each]
    assert record["data"] == executed.displays[0]["data"]
    assert record["metadata"]["aof"]["status"] == "completed"


def test_a_page_is_as_new_as_one_that_is_loaded_later(kernel: Kernel) -> None:
    page, later = Frontend(kernel), Frontend(kernel)

    def seen(message: dict[str, Any]) -> None:
        page(message)
        if page.told and not later.view:
            later.view = page.view
            time.sleep(0.5)
            later.ready()
        elif later.view:
            later(message)

    kernel.run(f"{PACED}\n%config AOF.rate = 0.2")
    kernel.run("%%aof paced\nGo", seen=seen)
    kernel.run("%config AOF.rate = 20")
    assert list(later.told[0]) == ["all", "items", "status"]
    assert "word 30😀" in "".join(later.html.values())
    assert page.html == later.html


def test_what_is_said_meanwhile_is_told_the_model_and_shown(kernel: Kernel) -> None:
    page = Frontend(kernel)

    def seen(message: dict[str, Any]) -> None:
        page(message)
        if page.asked and page.answer is None:
            page.answer = {"approved": "1"}
            kernel.custom(page.view, {"do": "steer", "text": "Mind the *cache*."})
            kernel.custom(page.view, {"do": "answer", "call": page.asked[0], "approved": "1"})

    executed = kernel.run("%%aof sre\nWhy?", seen=seen)
    assert "you said: Mind the *cache*." in executed.text


def test_arguments_can_be_changed(kernel: Kernel) -> None:
    edited = {"approved": "1", "edited": "1", "arguments": '{"service": "payment"}'}
    executed = kernel.run("%%aof sre --out r\nWhy?", seen=Frontend(kernel, edited))
    assert "with changed arguments: service=payment" in executed.text
    said = kernel.run("r.messages[-2].tool_results[0].content").of("execute_result")[0]["data"]
    assert "approved this call with changed arguments" in said["text/plain"]
    assert '{"service":"payment"}' in said["text/plain"]


def test_arguments_that_do_not_fit_are_sent_back(kernel: Kernel) -> None:
    class Careless(Frontend):
        def __call__(self, message: dict[str, Any]) -> None:
            super().__call__(message)
            for told in self.told:
                if "problem" in told and told["problem"]["text"] not in problems:
                    problems.append(told["problem"]["text"])
                    right = {"do": "answer", "call": told["problem"]["call"], "approved": "0"}
                    kernel.custom(self.view, right | {"reason": "not now"})

    problems: list[str] = []
    wrong = {"approved": "1", "edited": "1", "arguments": '{"service": 3}'}
    executed = kernel.run("%%aof sre\nWhy?", seen=Careless(kernel, wrong))
    assert problems == ['It does not fit the tool\'s schema: $.service: 3 is not of type "string"']
    assert "Nothing was restarted." in executed.text
    assert "Reason: not now" in executed.text


def test_the_stop_button_ends_the_run(kernel: Kernel) -> None:
    page = Frontend(kernel)
    clicked: list[float] = []

    def seen(message: dict[str, Any]) -> None:
        page(message)
        if not clicked and any("<b>wait</b>" in each for each in page.html.values()):
            clicked.append(time.monotonic())
            kernel.custom(page.view, {"do": "stop"})

    executed = kernel.run("%%aof slow\nTake your time.", seen=seen)
    seconds = time.monotonic() - clicked[0]
    print(f"stopped in {seconds * 1000:.0f} ms")
    assert seconds < 2
    assert executed.reply["status"] == "error"
    assert rows(executed) == ["? ○ wait interrupted, outcome unknown"]


def test_an_agent_in_yaml(kernel: Kernel) -> None:
    kernel.run("playbook = 'bye.yaml'")
    defined = kernel.run("%%aof_agent bye\nmodel: script:{playbook}\ntools: [read_file]\n")
    assert defined.printed == "agent bye: script:bye.yaml (scripted), 1 tool\n"
    assert "\nBye.\n" in kernel.run("%%aof bye\nHello").text
    wrong = kernel.run("%%aof_agent odd\nmodel: script:bye.yaml\ntols: [shell]\nmemry: disk\n")
    [error] = wrong.of("error")
    assert error["ename"] == "CellFailed"
    assert "<cell>:3" in error["evalue"]
    assert [re.sub(r"\x1b\[\d+m", "", each) for each in error["traceback"]] == [
        "✗ <cell>:3: tols: unknown field 'tols'",
        "  → did you mean 'tools'?",
        "✗ <cell>:4: memry: unknown field 'memry'",
        "  → did you mean 'memory'?",
    ]
    kernel.run("import os; os.environ.pop('OPENAI_API_KEY', None)")
    defined = kernel.run("%%aof_agent far\nmodel: openai:gpt-5\n")
    assert defined.printed.splitlines()[1:] == [
        "  OPENAI_API_KEY is not set: this is needed when the agent is asked"
    ]


@pytest.mark.parametrize(
    ("answer", "outcome", "record", "said"),
    [
        (
            {"approved": "1"},
            "✓ ✎ write restart",
            r"Approved\*\* by \S+ \(notebook\), 20\d\d-",
            "up",
        ),
        (
            {"approved": "0"},
            "⊘ ✎ write restart",
            r"Denied\*\* by \S+ \(notebook\), 20",
            "Nothing was",
        ),
        (
            {"approved": "1", "similar": "1"},
            "✓ ✎ write restart",
            r"Approved.*and similar calls in this run: restart service=checkout",
            "up",
        ),
    ],
)
def test_a_click_while_the_cell_runs(
    kernel: Kernel, answer: dict[str, str], outcome: str, record: str, said: str
) -> None:
    page = Frontend(kernel, answer)
    executed = kernel.run("%%aof sre\nWhy?", seen=page)
    assert len(page.asked) == 1
    assert rows(executed)[1].startswith(outcome)
    assert re.search(record, executed.text)
    assert said in executed.text
    assert not any(_is_widget({"content": each}) for each in executed.displays)


def _is_widget(message: dict[str, Any]) -> bool:
    return "application/vnd.jupyter.widget-view+json" in message["content"].get("data", {})


def test_an_interrupt_ends_the_run_and_the_queue(
    kernel: Kernel, record_property: pytest.RecordProperty
) -> None:
    queued: list[str] = []

    def when(message: dict[str, Any]) -> bool:
        if "it waits" in str(message["content"]) and not queued:
            queued.append(kernel.send("ran = True"))
            # A signal overtakes what is still on its way to the kernel's socket.
            time.sleep(0.3)
            return True
        return False

    seconds, executed = kernel.interrupted("%%aof slow --out r\nTake your time.", when)
    record_property("interrupt_seconds", seconds)
    print(f"interrupted in {seconds * 1000:.0f} ms")
    assert seconds < 2
    assert executed.reply["status"] == "error"
    assert rows(executed) == ["? ○ wait interrupted, outcome unknown"]
    assert "\ninterrupted · " in executed.text
    [error] = executed.of("error")
    assert len(error["traceback"]) == 1
    assert kernel.run("r.status.value").of("execute_result")[0]["data"]["text/plain"] == (
        "'cancelled'"
    )
    assert "NameError" in str(kernel.run("ran").of("error"))


def test_an_interrupt_withdraws_the_question(kernel: Kernel) -> None:
    seconds, executed = kernel.interrupted(
        "%%aof sre\nWhy?", lambda m: m["msg_type"] == "update_display_data" and _is_widget(m)
    )
    assert seconds < 2
    assert "? **Not answered**: restart service=checkout" in executed.text
    assert rows(executed)[1].startswith("? ✎ write restart service=checkout interrupted")


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
    assert sizes[0] < 1.5 * text
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


def test_a_kernel_that_takes_no_clicks_shows_the_record_as_it_grows(kernel: Kernel) -> None:
    kernel.run(
        "import aof_nb.notebook.renderer as renderer\nrenderer.clicks_arrive = lambda: False"
    )
    kernel.run(PACED)
    try:
        executed = kernel.run("%%aof paced\nGo")
    finally:
        kernel.run(
            "from aof_nb.notebook import screen\nrenderer.clicks_arrive = screen.clicks_arrive"
        )
    shown = executed.of("display_data", "update_display_data")
    assert all(set(each["data"]) == {"text/markdown"} for each in shown)
    assert any("word 1😀" in each["data"]["text/markdown"] for each in shown[:-1])
