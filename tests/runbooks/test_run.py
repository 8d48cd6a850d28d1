"""Running notebooks in real kernels: what is kept, what is told, and what is left behind."""

from __future__ import annotations

import asyncio
import math
import os
import re
import sys
from pathlib import Path

import msgspec
import nbformat
import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.policy import Action, Answer, ApprovalRequest, Policy
from aof_nb.runbooks import CellFinished, CellStarted, Progress, inspect_notebook, run_notebook
from tests.notebooks import printed, write_notebook

ASK = """\
from aof_nb.approval_channel import approver_from_environment
from aof_nb.policy import ApprovalRequest
from aof_nb.ports import ToolSpec

spec = ToolSpec(name="restart", description="", input_schema={})
approver = approver_from_environment()
answer = approver and await approver.ask(
    ApprovalRequest(run_id="r", call_id="c", tool=spec, arguments={"service": "web"}, reason="")
)
print("approved:", answer and answer.approved)
"""


async def test_a_notebook_runs_with_its_parameters_in_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    notebook = write_notebook(
        tmp_path / "books" / "a {brace}.ipynb",
        "md:# The book\n\n## Where\n",
        "import os, sys\nprint(sys.executable, os.getcwd(), replicas + 1)",
        "# the mode\nprint(os.environ['AOF_APPROVE'], os.environ.get('AOF_APPROVER'))",
        parameters="replicas = 1",
        kernel="a-kernel-of-another-machine",
    )
    told: list[Progress] = []
    result = await run_notebook(
        notebook, parameters={"replicas": "4"}, approve="never", on_progress=told.append
    )
    assert (result.status, result.error) == ("completed", None)
    assert re.fullmatch(r"runs/a \{brace\}-\d{8}-\d{6}\.ipynb", str(result.output_path))
    assert printed(result.output_path) == f"{sys.executable} {tmp_path / 'books'} 5\nnever None\n"
    assert result.report_path == result.output_path.with_suffix(".html")
    assert [each.title for each in told if isinstance(each, CellStarted)] == [
        *("replicas = 1", "Parameters", "Where", "the mode")
    ]
    ended = [each for each in told if isinstance(each, CellFinished)]
    assert [(each.cell, each.cells, each.ok) for each in ended] == [
        (number, 4, True) for number in (1, 2, 3, 4)
    ]
    assert nbformat.read(notebook, as_version=4).cells[2].outputs == []


async def test_a_failing_cell_leaves_notebook_and_report(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "print('before the fall')",
        "md:## Fall",
        "raise ValueError('too <b>far</b>')",
        "print('never')",
    )
    output, report = tmp_path / "new" / "out.ipynb", tmp_path / "other" / "r.html"
    result = await run_notebook(notebook, output=output, report=report)
    assert result.status == "failed"
    assert result.error is not None
    assert (result.error.cell, result.error.title) == (2, "Fall")
    assert (result.error.error, result.error.message) == ("ValueError", "too <b>far</b>")
    assert printed(output) == "before the fall\n"
    html = report.read_text()
    assert "before the fall" in html
    assert "ValueError" in html
    statuses = [
        cell.metadata.papermill["status"]
        for cell in nbformat.read(output, as_version=4).cells
        if "status" in cell.metadata.get("papermill", {})
    ]
    assert statuses[-2:] == ["failed", "pending"]


async def test_cells_may_raise_or_leave_on_purpose(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb", "1 / 0", "import sys; sys.exit(0)", "print('never')"
    )
    content = nbformat.read(notebook, as_version=4)
    content.cells[0].metadata["tags"] = ["raises-exception"]
    nbformat.write(content, notebook)
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert (result.status, result.error) == ("completed", None)
    assert "never" not in printed(result.output_path)
    assert "Exception was encountered" not in result.output_path.read_text()


async def test_the_report_needs_and_runs_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"do not put me in")
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "from IPython.display import Image, Markdown\n"
        "display(Markdown('![it](secret.png) <script>bad()</script>'))\n"
        "Image(bytes.fromhex('89504e470d0a1a0a'), format='png')",
    )
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    html = result.report_path.read_text()
    head = html[: html.index("<title>")]
    assert "default-src 'none'" in head
    assert "script-src" not in head
    assert "data:image/png;base64,iVBORw0KGgo" in html
    assert "ZG8gbm90IHB1dCBtZSBpbg" not in html
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=\"https?:", html)


@pytest.mark.parametrize("approved", [True, False])
async def test_a_cell_can_ask_the_one_who_started_it(tmp_path: Path, approved: bool) -> None:
    class Person:
        asked: ApprovalRequest | None = None

        async def ask(self, request: ApprovalRequest) -> Answer:
            self.asked = request
            return Answer(approved=approved, digest=request.digest)

    person = Person()
    notebook = write_notebook(tmp_path / "n.ipynb", ASK)
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb", approver=person)
    assert printed(result.output_path) == f"approved: {approved}\n"
    assert person.asked is not None
    assert person.asked.arguments == {"service": "web"}


async def test_with_nobody_to_ask_an_inherited_channel_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_APPROVER", str(tmp_path / "somebody-else"))
    notebook = write_notebook(tmp_path / "n.ipynb", ASK)
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert printed(result.output_path) == "approved: None\n"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


WAIT = """\
import asyncio, os, pathlib, subprocess
child = subprocess.Popen(["sleep", "1000"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid} ")
try:
    await asyncio.sleep(1000)
finally:
    child.kill()
    child.wait()
    print("put away")
"""


async def pids(directory: Path) -> list[int]:
    while True:
        text = (directory / "pids").read_text() if (directory / "pids").exists() else ""
        if text.endswith(" "):
            return [int(each) for each in text.split()]
        await asyncio.sleep(0.05)


async def test_cancelling_interrupts_the_cell_and_ends_the_kernel(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "md:# Wait", WAIT, "print('never')")
    output = tmp_path / "out.ipynb"
    running = asyncio.create_task(run_notebook(notebook, output=output))
    started = await pids(tmp_path)
    running.cancel()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(alive(pid) for pid in started)
    assert printed(output) == "put away\n"


async def test_a_cell_that_will_not_stop_is_killed_with_its_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aof_nb.runbooks.engine.GRACE", 0.5)
    stubborn = (
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "pathlib.Path('pids').write_text(f'{os.getpid()} ')\n"
        "while True: time.sleep(1)"
    )
    notebook = write_notebook(tmp_path / "n.ipynb", stubborn)
    running = asyncio.create_task(run_notebook(notebook, output=tmp_path / "out.ipynb"))
    started = await pids(tmp_path)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(alive(pid) for pid in started)
    nbformat.read(tmp_path / "out.ipynb", as_version=4)


async def test_time_runs_out_and_what_there_was_is_kept(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb", "print('first', flush=True)", "import time; time.sleep(1000)"
    )
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb", timeout=10)
    assert result.status == "timeout"
    assert result.error is not None
    assert result.error.cell == 2
    assert printed(result.output_path) == "first\n"
    assert "KeyboardInterrupt" in result.report_path.read_text()


async def test_the_notebook_s_own_time_limit_holds_unless_another_is_given(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb", "import time; time.sleep(1)", aof={"time_limit": "10ms"}
    )
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert (result.status, result.time_limit) == ("timeout", 0.01)
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb", timeout=math.inf)
    assert (result.status, result.time_limit) == ("completed", None)


AGENT = """\
from aof_nb import Agent, Policy, tool
import pathlib

done = []

@tool(effect="write")
def restart(service: str) -> str:
    "Restarts a service."
    done.append(service)
    return "restarted"

pathlib.Path("go.yaml").write_text(
    "steps:\\n- call: {tool: restart, arguments: {service: web}}\\n- answer: over\\n"
)
agent = Agent(name="a", model="script:go.yaml", tools=[restart], policy=Policy(write="allow"))
result = await agent.run("go", approve="all")
print(done)
"""


async def test_a_runbook_s_policy_holds_for_all_its_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb", AGENT, aof={"policy": {"rules": [{"action": "deny", "tool": "re*"}]}}
    )
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert printed(result.output_path) == "[]\n"
    # What holds for whoever runs it holds for the runbook too.
    outer = Policy(write=Action.DENY)
    monkeypatch.setenv("AOF_POLICY", msgspec.json.encode([outer]).decode())
    write_notebook(notebook, AGENT, aof={"policy": {"read": "ask"}})
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert printed(result.output_path) == "[]\n"
    monkeypatch.delenv("AOF_POLICY")
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert printed(result.output_path) == "['web']\n"


async def test_a_kernel_that_dies_is_a_failed_cell(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "import os; os._exit(3)", "print('never')")
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert result.status == "failed"
    assert result.error is not None
    assert "died" in result.error.message
    assert result.report_path.exists()


async def test_what_cannot_be_run_is_said_before_any_kernel_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.ipynb cannot be read"):
        await run_notebook(tmp_path / "gone.ipynb")
    (tmp_path / "text.ipynb").write_text("hello")
    with pytest.raises(ConfigurationError, match="is no notebook"):
        await run_notebook(tmp_path / "text.ipynb")
    (tmp_path / "odd.ipynb").write_text('{"cells": 3}')
    with pytest.raises(ConfigurationError, match="is no notebook"):
        await run_notebook(tmp_path / "odd.ipynb")
    notebook = write_notebook(tmp_path / "r.ipynb", "1")
    with pytest.raises(ConfigurationError, match=r"text\.ipynb.* cannot be written"):
        await run_notebook(notebook, output=tmp_path / "text.ipynb" / "out.ipynb")
    content = nbformat.read(notebook, as_version=4)
    content.metadata.kernelspec["language"] = "R"
    nbformat.write(content, notebook)
    with pytest.raises(ConfigurationError, match="a notebook in R"):
        await run_notebook(notebook)


def test_a_notebook_tells_its_title_and_parameters(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb", "md:Words\n\n# The *title* \n", "x = 1", parameters="service = 'a'"
    )
    info = inspect_notebook(notebook)
    assert (info.title, info.language) == ("The *title*", "python")
    assert [each.name for each in info.parameters or ()] == ["service"]
