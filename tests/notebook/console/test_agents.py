"""The page Agents: what is listed, form and YAML in step, saving, and trying an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, tool
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.runs import run_dir
from aof_nb.messages import ToolCall
from aof_nb.notebook import registry
from aof_nb.notebook.console.agents import AgentsPage
from aof_nb.notebook.console.frame import Console
from aof_nb.policy import Answer
from tests.notebook.fakes import Says

PAGE = {"Agents": "aof_nb.notebook.console.agents:AgentsPage"}

TRIAGE = """\
# Who looks first
apiVersion: aof.dev/v1
kind: Agent
metadata:
  name: triage
spec:
  model: script:triage.yaml  # no key needed
  # what it may use
  tools:
    - shell
    # built in
    - read_file
  instructions: |
    Look first.
    Act later.
"""
SCRIPT = """\
steps:
  - say: "**Disk** is full <script>alert(1)</script>"
"""


async def until(holds: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while not (found := holds()):
            await asyncio.sleep(0.005)
    return found


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "agents", {})


@pytest.fixture
def variables() -> dict[str, Any]:
    return {}


@pytest.fixture
async def console(tmp_path: Path, variables: dict[str, Any]) -> AsyncIterator[Console]:
    (tmp_path / "triage-agent.yaml").write_text(TRIAGE)
    (tmp_path / "triage.yaml").write_text(SCRIPT)
    made = Console(directory=tmp_path, variables=variables, pages=PAGE)
    yield made
    await made.aclose()


@pytest.fixture
async def page(console: Console) -> AgentsPage:
    page = await until(lambda: console.page)
    await until(lambda: page.table.widget.rows)
    assert isinstance(page, AgentsPage)
    return page


def rows(page: AgentsPage) -> dict[str, dict[str, str]]:
    return {each["id"]: each["cells"] for each in page.table.widget.rows}


def note(console: Console) -> str:
    return str(console.widget.children[1].value)


async def opened(page: AgentsPage, row: str = "file:triage-agent.yaml#0") -> AgentsPage:
    page.table.widget.selected = row
    await until(lambda: page.editor.problems.value and page.editor.yaml.value)
    return page


def field(page: AgentsPage, key: str) -> Any:
    return page.editor.form._fields[key].input


async def test_agents_of_the_notebook_and_of_files_are_listed(
    console: Console, page: AgentsPage, variables: dict[str, Any], tmp_path: Path
) -> None:
    registry.agents["oncall"] = Agent(name="oncall", model="openai:gpt-5", tools=["shell"])
    variables["helper"] = Agent(name="mine", model=Says(), tools=[restart])
    (tmp_path / "flow.yaml").write_text(
        "apiVersion: aof.dev/v1\nkind: AgentFlow\nmetadata: {name: night}\nspec: {}\n"
    )
    (tmp_path / "broken.yaml").write_text("kind: Agent\nspec: [\n")
    (tmp_path / "other.yaml").write_text("kind: Deployment\n")
    console.refresh()
    await until(lambda: "file:flow.yaml#0" in rows(page))
    listed = rows(page)
    assert listed["notebook:oncall"]["where"] == "this notebook: %%aof_agent oncall"
    assert listed["notebook:helper"]["tools"] == "restart"
    assert listed["file:triage-agent.yaml#0"] == {
        "name": "triage",
        "model": "script:triage.yaml",
        "tools": "shell, read_file",
        "where": "triage-agent.yaml",
        "state": "✓ valid",
    }
    assert listed["file:flow.yaml#0"]["state"] == "· kind AgentFlow, listed only"
    assert listed["file:broken.yaml#0"]["state"] == "✗ 1 problem"
    assert not any("other" in each for each in listed)


@tool(effect="destructive")
def restart(service: str) -> str:
    """Restarts <b>one</b> service.

    Args:
        service: Which.
    """
    return f"{service} is up"


async def test_an_agent_of_the_notebook_is_inspected_and_copied_into_a_file(
    console: Console, page: AgentsPage, variables: dict[str, Any], tmp_path: Path
) -> None:
    variables["mine"] = Agent(
        name="mine", model="openai:gpt-5", instructions="One.\nTwo.", tools=[restart, "shell"]
    )
    console.refresh()
    await until(lambda: "notebook:mine" in rows(page))
    page.table.widget.selected = "notebook:mine"
    facts = await until(lambda: page.facts.value)
    assert "<code>restart</code>" in facts
    assert "destructive · Restarts &lt;b&gt;one&lt;/b&gt; service." in facts
    assert "calls that read: allow" in facts
    assert "this notebook: the variable mine" in facts
    page.copy.click()
    await until(lambda: "kind: Agent" in page.editor.yaml.value)
    assert "instructions: |-\n    One.\n    Two.\n" in page.editor.yaml.value
    assert rows(page)["new:new-agent.yaml"]["state"] == "● not saved yet"


async def test_an_agent_that_is_defined_again_is_shown_as_it_is_now(
    console: Console, page: AgentsPage
) -> None:
    registry.agents["oncall"] = Agent(name="oncall", model="openai:gpt-5")
    console.refresh()
    await until(lambda: "notebook:oncall" in rows(page))
    page.table.widget.selected = "notebook:oncall"
    await until(lambda: "openai:gpt-5" in page.facts.value)
    registry.agents["oncall"] = Agent(name="oncall", model="ollama:qwen3")
    console.refresh()
    await until(lambda: "ollama:qwen3" in page.facts.value)
    del registry.agents["oncall"]
    console.refresh()
    await until(lambda: "notebook:oncall" not in rows(page))
    page.trial.prompt.value = "go"
    page.trial.run.click()
    await until(lambda: "has no agent &#x27;oncall&#x27; any more" in note(console))


async def test_a_file_of_another_kind_is_shown_and_cannot_be_changed(
    console: Console, page: AgentsPage, tmp_path: Path
) -> None:
    trigger = "apiVersion: aof.dev/v1\nkind: Trigger\nmetadata: {name: pager}\nspec: {}\n"
    (tmp_path / "pager.yaml").write_text(f"{trigger}---\n{TRIAGE}")
    console.refresh()
    await until(lambda: "file:pager.yaml#1" in rows(page))
    assert rows(page)["file:pager.yaml#1"]["state"] == "! 1 warning"
    await opened(page, "file:pager.yaml#0")
    assert "of kind Trigger: aof_nb shows it here, and edits agents only" in page.head.value
    assert page.editor.yaml.disabled
    assert page.editor.form.widget.layout.display == "none"
    page.table.widget.selected = "file:pager.yaml#1"
    await until(lambda: not page.editor.yaml.disabled)
    field(page, "name").value = "second"
    await until(lambda: page.editor.yaml.value.endswith(TRIAGE.replace(": triage\n", ": second\n")))
    assert page.editor.yaml.value.startswith(trigger)


async def test_the_form_changes_its_line_of_the_yaml_and_nothing_else(page: AgentsPage) -> None:
    await opened(page)
    assert field(page, "tools").value == "shell\nread_file"
    field(page, "model").value = "ollama:qwen3"
    field(page, "tools").value = "shell\nread_file\nhttp"
    field(page, "write").value = "deny"
    changed = TRIAGE.replace("script:triage.yaml", "ollama:qwen3")
    changed = changed.replace("    - read_file\n", "    - read_file\n    - http\n")
    changed += "  policy:\n    write: deny\n"
    await until(lambda: page.editor.yaml.value == changed)
    field(page, "write").value = ""
    await until(lambda: "policy" not in page.editor.yaml.value)
    await until(lambda: "<code>http</code>" in page.facts.value)


@pytest.mark.parametrize(
    ("key", "typed", "written"),
    [
        ("description", "the first ", "description: the first\n"),
        ("temperature", "1.", "temperature: 1.0\n"),
        ("tools", "shell\nread_file\nhttp\n", "- http\n"),
        ("instructions", "Look.\n\n", "instructions: |\n    Look.\n"),
    ],
)
async def test_what_is_half_typed_is_left_as_it_is(
    page: AgentsPage, key: str, typed: str, written: str
) -> None:
    await opened(page)
    page.facts.value = ""
    field(page, key).value = typed
    await until(lambda: page.facts.value)
    assert written in page.editor.yaml.value
    assert field(page, key).value == typed


async def test_the_yaml_fills_the_form_and_is_judged_as_by_validate(
    page: AgentsPage,
) -> None:
    await opened(page)
    page.editor.yaml.value = TRIAGE.replace("- shell", "- shel") + "  temprature: 1\n"
    said = await until(lambda: "2 problems" in page.editor.problems.value and page.editor.problems)
    assert (
        "line 10, spec.tools[0]: there is no built-in tool &#x27;shel&#x27; → "
        "did you mean &#x27;shell&#x27;?" in said.value
    )
    assert "line 16, spec.temprature: unknown field" in said.value
    assert field(page, "tools").value == "shel\nread_file"
    assert "no built-in tool" in page.editor.form._fields["tools"]._note.value
    page.editor.yaml.value = "kind: Agent\nspec: [\n"
    await until(lambda: field(page, "model").disabled)
    assert "The form goes on when the YAML can be read" in page.editor.form._said.value
    assert "not valid YAML" in page.editor.problems.value
    page.editor.yaml.value = TRIAGE.replace("name: triage", "name: second")
    await until(lambda: field(page, "name").value == "second")
    assert not field(page, "model").disabled


async def test_saving_writes_the_file_and_keeps_its_mode(
    page: AgentsPage, console: Console, tmp_path: Path
) -> None:
    file = tmp_path / "triage-agent.yaml"
    file.chmod(0o640)
    await opened(page)
    field(page, "name").value = "first"
    await until(lambda: "name: first" in page.editor.yaml.value)
    page.editor.save.click()
    await until(lambda: "Saved as triage-agent.yaml" in note(console))
    assert file.read_text() == TRIAGE.replace("name: triage", "name: first")
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["triage-agent.yaml", "triage.yaml"]


async def test_what_others_have_written_meanwhile_is_not_lost(
    page: AgentsPage, console: Console, tmp_path: Path
) -> None:
    file = tmp_path / "triage-agent.yaml"
    await opened(page)
    field(page, "name").value = "mine"
    await until(lambda: "name: mine" in page.editor.yaml.value)
    theirs = TRIAGE.replace("name: triage", "name: theirs")
    file.write_text(theirs)
    page.editor.save.click()
    await until(lambda: "has changed on the disk" in page.editor.conflict.value)
    assert file.read_text() == theirs
    page.editor.over.click()
    await until(lambda: "name: mine" in file.read_text())
    await until(lambda: not page.editor.conflict.value)
    file.write_text(theirs)
    console.refresh()
    await until(lambda: "has changed on the disk" in page.editor.conflict.value)
    page.editor.again.click()
    await until(lambda: page.editor.yaml.value == theirs)
    await until(lambda: field(page, "name").value == "theirs")


async def test_writing_over_one_file_does_not_write_over_another(
    page: AgentsPage, console: Console, tmp_path: Path
) -> None:
    other = tmp_path / "other-agent.yaml"
    other.write_text("model: openai:gpt-5\n")
    await opened(page)
    (tmp_path / "triage-agent.yaml").write_text(TRIAGE + "# theirs\n")
    page.editor.save.click()
    await until(lambda: page.editor.conflict.value)
    page.editor.path.value = "other-agent.yaml"
    page.editor.over.click()
    await until(lambda: "is there already" in page.editor.conflict.value)
    assert other.read_text() == "model: openai:gpt-5\n"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../escaped.yaml", "is outside of"),
        ("/tmp/escaped.yaml", "is outside of"),
        ("out/escaped.yaml", "is outside of"),
        ("agent.py", "is no YAML file"),
        ("", "the file has no name"),
        ("a\0b.yaml", "is no file name"),
    ],
)
async def test_nothing_is_written_elsewhere(
    page: AgentsPage,
    console: Console,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    path: str,
    said: str,
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (tmp_path / "out").symlink_to(outside)
    await opened(page)
    page.editor.path.value = path
    page.editor.save.click()
    await until(lambda: said in note(console))
    assert list(outside.iterdir()) == []
    assert not (tmp_path.parent / "escaped.yaml").exists()


async def test_a_new_agent_is_valid_and_is_saved_where_one_says(
    page: AgentsPage, console: Console, tmp_path: Path
) -> None:
    page.new.click()
    await until(lambda: "name: new-agent" in page.editor.yaml.value)
    await until(lambda: "Nothing is wrong" in page.editor.problems.value)
    page.editor.path.value = "agents/first.yaml"
    page.editor.save.click()
    await until(lambda: "Saved as agents/first.yaml" in note(console))
    assert (tmp_path / "agents" / "first.yaml").read_text() == page.editor.yaml.value
    await until(lambda: "file:agents/first.yaml#0" in rows(page))
    assert page.table.selected == "file:agents/first.yaml#0"
    assert not any(each.startswith("new:") for each in rows(page))


async def test_what_is_changed_here_is_still_there_after_looking_at_another(
    page: AgentsPage, tmp_path: Path, console: Console
) -> None:
    (tmp_path / "other.yaml").write_text("kind: Agent\nname: other\n")
    console.refresh()
    await until(lambda: "file:other.yaml#0" in rows(page))
    await opened(page)
    field(page, "name").value = "mine"
    await until(lambda: "name: mine" in page.editor.yaml.value)
    page.table.widget.selected = "file:other.yaml#0"
    await until(lambda: "name: other" in page.editor.yaml.value)
    page.table.widget.selected = "file:triage-agent.yaml#0"
    await until(lambda: "name: mine" in page.editor.yaml.value)
    await until(lambda: "changed here" in rows(page)["file:triage-agent.yaml#0"]["state"])


async def test_an_agent_is_tried_as_it_stands_here(page: AgentsPage, tmp_path: Path) -> None:
    await opened(page)
    field(page, "name").value = "unsaved"
    await until(lambda: "name: unsaved" in page.editor.yaml.value)
    page.trial.prompt.value = "what is wrong?"
    page.trial.run.click()
    said = await until(lambda: "unsaved: completed" in page.trial.status.value and page.trial)
    assert "<strong>Disk</strong> is full &lt;script&gt;" in said.output.value
    assert "<script>" not in said.output.value
    assert not page.trial.run.disabled
    assert page.trial.stop.disabled
    assert (tmp_path / "triage-agent.yaml").read_text() == TRIAGE


async def test_approvals_wait_in_the_inbox(
    page: AgentsPage,
    console: Console,
    variables: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turned_to: list[str] = []
    monkeypatch.setattr(console, "show", turned_to.append)
    call = ToolCall(id="c1", name="restart", arguments={"service": "web"})
    variables["mine"] = Agent(name="mine", model=Says([call], ["done"]), tools=[restart])
    assert page.trial.answer.layout.display == "none"
    await tried(page, console)
    await until(lambda: "restart waits for an answer on the page Approvals" in shown(page))
    await until(lambda: page.trial.answer.layout.display is None)
    page.trial.answer.click()
    assert turned_to == ["Approvals"]
    run_id = page.trial.status.value.split("run ")[1].split("<")[0]
    record = Approvals(run_dir(run_id))
    [pending] = await until(record.pending)
    record.answer(pending.request, Answer(approved=True, digest=pending.request.digest, by="sam"))
    await until(lambda: "mine: completed" in page.trial.status.value)
    assert "✓ restart: ok" in shown(page)
    assert "approved by sam" in shown(page)
    assert page.trial.answer.layout.display == "none"


async def tried(page: AgentsPage, console: Console) -> None:
    console.refresh()
    await until(lambda: "notebook:mine" in rows(page))
    page.table.widget.selected = "notebook:mine"
    await until(lambda: page.facts.value)
    page.trial.prompt.value = "go"
    page.trial.run.click()


def shown(page: AgentsPage) -> str:
    return str(page.trial.output.value)


async def test_a_run_that_waits_is_stopped_and_nothing_is_left_behind(
    page: AgentsPage, console: Console, variables: dict[str, Any]
) -> None:
    call = ToolCall(id="c1", name="restart", arguments={"service": "web"})
    variables["mine"] = Agent(name="mine", model=Says([call], ["done"]), tools=[restart])
    before = len(asyncio.all_tasks())
    await tried(page, console)
    await until(lambda: "waits for an answer" in shown(page))
    page.trial.stop.click()
    await until(lambda: "mine: cancelled" in page.trial.status.value)
    assert not page.trial.run.disabled
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_wrong_agent_is_not_tried(page: AgentsPage, console: Console) -> None:
    await opened(page)
    page.editor.yaml.value = TRIAGE.replace("- shell", "- shel")
    await until(lambda: "1 problem" in page.editor.problems.value)
    page.trial.prompt.value = "go"
    page.trial.run.click()
    await until(lambda: "triage-agent.yaml:10: spec.tools[0]" in note(console))
    assert not page.trial.run.disabled


async def test_hostile_texts_stay_text(page: AgentsPage, console: Console, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e"
    (tmp_path / "evil<b>.yaml").write_text(
        f"apiVersion: aof.dev/v1\nkind: Agent\nmetadata:\n  name: '{evil}'\n"
        f"  description: '{evil}'\nspec:\n  model: 'openai:{evil}'\n  tools: ['{evil}']\n"
        f"  instructions: '{evil}'\n  '{evil}': 1\n  policy: {{write: '{evil}'}}\n"
    )
    console.refresh()
    row = await until(lambda: next((each for each in rows(page) if "evil" in each), ""))
    await opened(page, row)
    everything = [
        page.head.value,
        page.facts.value,
        page.editor.problems.value,
        *(each._note.value + each._about.value for each in page.editor.form._fields.values()),
    ]
    assert "&lt;img" in "".join(everything)
    assert not any("<img" in each or "<b>.yaml" in each for each in everything)
    assert not any("\u202e" in each for each in everything)
    assert "\u202e" not in rows(page)[row]["name"]


async def test_hostile_texts_of_an_agent_that_can_be_made_stay_text(
    page: AgentsPage, console: Console, variables: dict[str, Any]
) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e"
    variables["mine"] = Agent(
        name=evil, model=Says([evil], ["x"]), instructions=evil, description=evil, tools=[restart]
    )
    await tried(page, console)
    await until(lambda: "completed" in page.trial.status.value)
    everything = [page.head.value, page.facts.value, page.trial.status.value, shown(page)]
    assert all("&lt;img" in each for each in everything)
    assert not any("<img" in each or "\u202e" in each for each in everything)


async def test_what_is_not_saved_is_there_when_the_console_is_opened_again(
    console: Console, page: AgentsPage, tmp_path: Path
) -> None:
    await opened(page)
    field(page, "name").value = "unsaved"
    await until(lambda: "name: unsaved" in page.editor.yaml.value)
    await until(
        lambda: "changed, not saved yet" in page.head.value and "unsaved" in page.head.value
    )
    page.new.click()
    await until(lambda: "name: new-agent" in page.editor.yaml.value)
    await until(lambda: "it is in no file yet" in page.facts.value)
    await console.aclose()
    again = Console(directory=tmp_path, pages=PAGE)
    try:
        other = await until(lambda: again.page)
        await until(lambda: "new:new-agent.yaml" in rows(other))
        await until(lambda: "changed here" in rows(other)["file:triage-agent.yaml#0"]["state"])
        other.table.widget.selected = "file:triage-agent.yaml#0"
        await until(lambda: "name: unsaved" in other.editor.yaml.value)
    finally:
        await again.aclose()
