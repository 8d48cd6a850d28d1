"""The agents of the notebook and of the console's directory: look at them, change and try them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Any

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError
from aof_nb.markdown import html_text
from aof_nb.models.registry import shown_name
from aof_nb.notebook import registry
from aof_nb.notebook.console.agent_drafts import drafts_in
from aof_nb.notebook.console.agent_editor import AgentEditor, Judgement
from aof_nb.notebook.console.agent_facts import facts_of
from aof_nb.notebook.console.agent_file import (
    Draft,
    has_changed,
    new_draft,
    open_draft,
)
from aof_nb.notebook.console.agent_list import AgentFiles, Declared
from aof_nb.notebook.console.agent_trial import AgentTrial
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import button, fold
from aof_nb.notebook.lookups import model_names
from aof_nb.readable import counted

_COLUMNS = (
    Column("name", "Agent"),
    Column("state", "State"),
    Column("model", "Model"),
    Column("tools", "Tools", wide=True),
    Column("where", "Where"),
)
_EMPTY = (
    "No agents yet: New agent makes one as a file. Those that %%aof_agent defines, and AOF files "
    "in the console's directory, are listed here too."
)
_FIRST_MODEL = "openai:gpt-5"
_SHOWN = 500


class AgentsPage:
    """A table of agents; the one that is selected, to be looked at, changed and tried.

    Args:
        host: The console.
    """

    interval = 5.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._files = AgentFiles(host.directory)
        self._declared: dict[str, Declared] = {}
        self._agents: dict[str, Agent] = {}
        self._drafts = drafts_in(host.directory)
        self._open = ""
        self._shown: Agent | None = None
        self._name = self._besides = ""

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self.new = button(
            "New agent",
            "plus",
            lambda: self._host.start(self._begin),
            tip="Begins a file from the smallest one",
        )
        self.copy = button(
            "Copy into a file",
            "copy",
            lambda: self._host.start(self._copy),
            tip="Begins a file with what the agent declares",
        )
        self.new.layout.align_self = self.copy.layout.align_self = "flex-start"
        self.table = Table("Agents", _COLUMNS, empty=_EMPTY)
        self.table.on_select(lambda row: self._host.start(lambda: self._select(row)))
        self._note: Any = ipywidgets.HTML(layout={"display": "none"})
        self.head: Any = ipywidgets.HTML()
        self.facts: Any = ipywidgets.HTML()
        for each in (self._note, self.head, self.facts):
            each.add_class("aof-wrap")
        self.editor = AgentEditor(self._host, self._judged, self._saved)
        self.trial = AgentTrial(self._host, self._prepare)
        self._about = fold("What it is", self.facts, unfolded=True)
        self._try: Any = ipywidgets.VBox([ipywidgets.HTML("<h4>Try it</h4>"), self.trial.widget])
        self._panel: Any = ipywidgets.VBox(
            [self.head, self.copy, self.editor.widget, self._about, self._try],
            layout={"display": "none"},
        )
        return ipywidgets.VBox([self.new, self.table.widget, self._note, self._panel])

    async def refresh(self) -> None:
        """Looks at the notebook's agents and the directory's files."""
        agents = registry.all_agents(self._host.variables)
        found = await asyncio.to_thread(self._files.read)
        self._agents = {f"notebook:{name}": each for name, each in agents.items()}
        self._declared = {_id(each): each for each in found}
        self.editor.form.offer(await asyncio.to_thread(model_names))
        self._show_rows()
        left = len(self._declared) - _SHOWN
        hidden = f"{left} more are not shown. " if left > 0 else ""
        hidden += "" if self._files.complete else "The directory holds more files than are read. "
        note = f"{hidden}Open the console in a smaller directory." if hidden else ""
        self._note.value = f"<small>{html_text(note)}</small>"
        self._note.layout.display = None if note else "none"
        if self._agents.get(self._open, self._shown) is not self._shown:
            await self._show_agent(self._open)
        await self._look_at_disk()

    def close(self) -> None:
        """Lets go of what was read."""
        self._declared, self._agents = {}, {}

    def _show_rows(self) -> None:
        rows = [_of_notebook(row, each) for row, each in self._agents.items()]
        rows += [_of_draft(each) for each in self._drafts.new if each.original is None]
        changed = {each.path for each in self._drafts.opened.values() if each.changed}
        declared = list(self._declared.values())[:_SHOWN]
        self.table.show([*rows, *(_of_file(each, each.path in changed) for each in declared)])

    async def _look_at_disk(self) -> None:
        draft = self.editor.draft
        if draft is None or self._open.startswith("notebook:"):
            return
        if await asyncio.to_thread(has_changed, self._host.directory, draft):
            said = f"{draft.path} has changed on the disk since it was opened here"
            self.editor.warn(said, draft.path)

    async def _select(self, row: str) -> None:
        if not row or row == self._open:
            return
        self._open = row
        if row.startswith("notebook:"):
            await self._show_agent(row)
            return
        draft = next((each for each in self._drafts.new if _new_id(each) == row), None)
        declared = self._declared.get(row)
        if draft is None:
            if declared is None:
                raise ConfigurationError("this file is gone", remedy="select another one")
            draft = self._drafts.opened.get(declared.path)
            if draft is None:
                draft = await asyncio.to_thread(
                    open_draft, self._host.directory, declared.path, declared.place
                )
                self._drafts.opened[declared.path] = draft
            draft.place = declared.place
        if self._open == row:
            await self._show_draft(draft, declared)

    async def _show_agent(self, row: str) -> None:
        agent = self._named(row)
        self._shown = agent
        source = _source(row, agent)
        facts = await asyncio.to_thread(facts_of, agent, source)
        if self._open != row:
            return
        await self.editor.show(None, editable=False, form=False)
        self._reveal(agent.name, source, editor=False, trial=True)
        self.facts.value = facts

    async def _show_draft(self, draft: Draft, declared: Declared | None) -> None:
        kind = declared.kind if declared is not None else "Agent"
        editable = kind in {"Agent", ""}
        self._name = declared.name if declared is not None else "A new agent"
        self._besides = (
            "" if editable else f" · of kind {kind}: aof_nb shows it here, and edits agents only"
        )
        self._reveal("", "", editor=True, trial=editable)
        self._say_draft(draft)
        self.facts.value = ""
        await self.editor.show(draft, editable=editable, form=editable)

    def _reveal(self, name: str, said: str, *, editor: bool, trial: bool) -> None:
        self.trial.clear()
        self._say(name, said)
        self.copy.layout.display = "none" if editor else None
        self.editor.widget.layout.display = None if editor else "none"
        self._about.layout.display = self._try.layout.display = None if trial else "none"
        self._panel.layout.display = None

    def _judged(self, found: Judgement) -> None:
        wrong = any(each.severity == "error" for each in found.problems)
        self.facts.value = found.facts or (
            "It cannot be made before its problems are mended." if wrong else ""
        )
        self._show_rows()
        draft, named = self.editor.draft, found.name
        if draft is not None:
            self._name = named or self._name
            self._say_draft(draft)

    def _say_draft(self, draft: Draft) -> None:
        state = "" if not draft.changed else " · changed, not saved yet"
        said = f"{draft.path}{state}" if draft.original is not None else "not saved yet"
        self._say(self._name, f"{said}{self._besides}")

    def _saved(self, draft: Draft) -> None:
        self._drafts.new = [each for each in self._drafts.new if each is not draft]
        others = [each for each in self._drafts.opened.values() if each is not draft]
        self._drafts.opened = {each.path: each for each in [*others, draft]}
        self._open = f"file:{draft.path}#{draft.place}"
        self.table.selected = self._open
        self._say_draft(draft)

    def _say(self, name: str, said: str) -> None:
        self.head.value = (
            f'<h3>{html_text(name)}</h3><span class="aof-told">{html_text(said)}</span>'
        )

    def _named(self, row: str) -> Agent:
        agent = self._agents.get(row)
        if agent is None:
            raise ConfigurationError(
                f"the notebook has no agent {row.removeprefix('notebook:')!r} any more",
                remedy="define it again, or select another one",
            )
        return agent

    async def _begin(self) -> None:
        draft = await asyncio.to_thread(new_draft, self._host.directory, _FIRST_MODEL)
        await self._take_up(draft)

    async def _copy(self) -> None:
        agent = self._named(self._open)
        draft = await asyncio.to_thread(new_draft, self._host.directory, _FIRST_MODEL)
        draft.text = await asyncio.to_thread(yaml_of, agent)
        await self._take_up(draft)

    async def _take_up(self, draft: Draft) -> None:
        taken = {each.path for each in self._drafts.new}
        number, stem = 2, draft.path.removesuffix(".yaml")
        while draft.path in taken:
            draft.path = f"{stem}-{number}.yaml"
            number += 1
        self._drafts.new.append(draft)
        self._open = _new_id(draft)
        self._show_rows()
        self.table.selected = self._open
        await self._show_draft(draft, None)

    async def _prepare(self) -> tuple[Agent, str]:
        if self._open.startswith("notebook:"):
            return self._named(self._open), ""
        return await asyncio.to_thread(self.editor.made)


def yaml_of(agent: Agent) -> str:
    """An agent of the notebook as AOF YAML, as far as YAML can say what it is.

    Args:
        agent: The agent.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import LiteralScalarString

    spec: dict[str, Any] = dict(agent.declared or {})
    if not spec:
        spec["model"] = shown_name(agent.model)
        if agent.instructions:
            text = agent.instructions
            spec["instructions"] = LiteralScalarString(text) if "\n" in text else text
        tools = [each for each in agent.tools if isinstance(each, str | Mapping)]
        if tools:
            spec["tools"] = tools
    spec.pop("name", None)
    metadata = {"name": agent.name}
    if agent.description and "description" not in spec:
        metadata["description"] = agent.description
    yaml = YAML()
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    written = io.StringIO()
    document = {"apiVersion": "aof.dev/v1", "kind": "Agent", "metadata": metadata, "spec": spec}
    yaml.dump(document, written)
    return written.getvalue()


def _source(row: str, agent: Agent) -> str:
    name = row.removeprefix("notebook:")
    cell = registry.agents.get(name) is agent
    return f"this notebook: {f'%%aof_agent {name}' if cell else f'the variable {name}'}"


def _id(declared: Declared) -> str:
    return f"file:{declared.path}#{declared.place}"


def _new_id(draft: Draft) -> str:
    return f"new:{draft.path}"


def _of_notebook(row: str, agent: Agent) -> TableRow:
    named = [_tool_name(each) for each in agent.tools]
    named += [each.name for each in agent.mcp_servers]
    return TableRow(
        id=row,
        cells={
            "name": agent.name,
            "model": agent.model_name,
            "tools": ", ".join(named),
            "where": _source(row, agent),
            "state": "✓ defined",
        },
    )


def _tool_name(tool: Any) -> str:
    if isinstance(tool, Mapping):
        return str(tool.get("name") or tool.get("type") or "?")
    spec = getattr(tool, "spec", None)
    name = getattr(spec, "name", None) or getattr(tool, "__name__", None)
    return str(name or tool)


def _of_draft(draft: Draft) -> TableRow:
    cells = {"name": "A new agent", "where": draft.path, "state": "● not saved yet"}
    return TableRow(id=_new_id(draft), cells={"model": "", "tools": "", **cells}, level="warning")


def _of_file(declared: Declared, changed: bool) -> TableRow:
    state, level = _state(declared)
    if changed:
        state = f"● changed here · {state}"
    return TableRow(
        id=_id(declared),
        cells={
            "name": declared.name,
            "model": declared.model,
            "tools": ", ".join(declared.tools),
            "where": declared.path,
            "state": state,
        },
        level=level,
    )


def _state(declared: Declared) -> tuple[str, str]:
    if declared.kind and not declared.is_agent:
        return f"· kind {declared.kind}, listed only", ""
    errors = [each for each in declared.problems if each.severity == "error"]
    wrong = len(errors)
    if wrong:
        return f"✗ {counted(wrong, 'problem')}", "bad"
    warned = len(declared.problems)
    return (f"! {counted(warned, 'warning')}", "warning") if warned else ("✓ valid", "")
