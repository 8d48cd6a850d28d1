"""An agent's form and its YAML side by side, each following the other, and what is wrong."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError, ResourceError
from aof_nb.markdown import html_text
from aof_nb.notebook.console.agent_facts import facts_of
from aof_nb.notebook.console.agent_file import (
    ChangedOnDisk,
    Draft,
    normal_path,
    open_draft,
    save_draft,
)
from aof_nb.notebook.console.agent_form import INPUT_WIDTH, AgentForm, document_at, with_field
from aof_nb.notebook.console.agent_list import problems_of
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.widgets import button
from aof_nb.readable import counted
from aof_nb.resources import load_document
from aof_nb.resources.problems import Problem

_PAUSE_SECONDS = 0.15
_ROWS = 34
_FEWEST_ROWS = 16


@dataclass(frozen=True)
class Judgement:
    """What is known of a draft as it stands.

    Args:
        document: The agent's values; None if they cannot be read.
        problems: What is wrong with the file.
        facts: What the agent is, as HTML; empty if it cannot be made.
        name: What it is called; empty if that is not known.
    """

    document: Any
    problems: Sequence[Problem]
    facts: str
    name: str = ""


class AgentEditor:
    """Edits one draft.

    Args:
        host: The console.
        judged: Told what is known of the draft when it was shown, and when it has changed.
        saved: Told that the draft was saved, which may be in another file.
    """

    def __init__(
        self,
        host: Host,
        judged: Callable[[Judgement], None],
        saved: Callable[[Draft], None],
    ) -> None:
        import ipywidgets

        self._host, self._judged, self._saved = host, judged, saved
        self._warned = ""
        self._draft: Draft | None = None
        self._editable = False
        self._shown = ""
        self._turn = 0
        self._lock = asyncio.Lock()
        self.form = AgentForm(self._form_typed)
        self.yaml: Any = ipywidgets.Textarea(rows=_ROWS, layout={"width": INPUT_WIDTH})
        self.yaml.tooltip = "YAML of the agent"
        self.yaml.observe(self._yaml_typed, "value")
        self.problems: Any = ipywidgets.HTML()
        self.problems.add_class("aof-wrap")
        self.path: Any = ipywidgets.Text(description="File", layout={"width": "24em"})
        self.path.style.description_width = "auto"
        self.path.tooltip = "The file, from the console's directory"
        self.save = button(
            "Save", "save", lambda: self._host.start(self._save), tip="Writes the YAML to the file"
        )
        self.again = button(
            "Load again",
            "refresh",
            lambda: self._host.start(self._load_again),
            tip="Drops what was changed here",
        )
        self.over = button(
            "Write over it",
            "exclamation-triangle",
            lambda: self._host.start(functools.partial(self._save, over=True)),
            tip="What is in the file now is lost",
        )
        self.conflict: Any = ipywidgets.HTML(layout={"display": "none"})
        self.over.layout.display = "none"
        right: Any = ipywidgets.VBox([ipywidgets.HTML("<h4>YAML</h4>"), self.yaml, self.problems])
        columns: Any = ipywidgets.Box([self.form.widget, right])
        columns.add_class("aof-columns")
        self._bar: Any = ipywidgets.HBox(
            [self.path, self.save, self.again, self.over], layout={"flex_flow": "row wrap"}
        )
        self.widget: Any = ipywidgets.VBox([self.conflict, self._bar, columns])

    @property
    def draft(self) -> Draft | None:
        """What is edited."""
        return self._draft

    async def show(self, draft: Draft | None, *, editable: bool, form: bool) -> None:
        """Shows a draft.

        Args:
            draft: The draft; None for nothing.
            editable: Whether it may be changed.
            form: Whether it is an agent, which has a form.
        """
        self._draft, self._editable = draft, editable
        self._turn += 1
        self._write(draft.text if draft is not None else "")
        self.yaml.rows = min(_ROWS, max(_FEWEST_ROWS, self.yaml.value.count("\n") + 3))
        self.yaml.disabled = not editable
        self._bar.layout.display = None if editable else "none"
        self.form.widget.layout.display = None if form else "none"
        self.warn("")
        if draft is not None:
            self.path.value = draft.path
            await self._judge(draft)

    def warn(self, text: str, path: str = "") -> None:
        """Says that a file on the disk is another one by now; nothing if empty."""
        self._warned = path
        said = f'<div class="aof-problem" role="alert">! {html_text(text)}</div>' if text else ""
        if said != self.conflict.value:
            self.conflict.value = said
        for each in (self.conflict, self.over):
            each.layout.display = None if text else "none"

    def made(self) -> tuple[Agent, str]:
        """The agent as it stands, and its file if that holds it alone and as it stands.

        Raises:
            ConfigurationError: If it is wrong, or no agent.
        """
        draft = self._draft
        if draft is None:
            raise ConfigurationError("no agent is open", remedy="select one, or make a new one")
        file = self._host.directory / draft.path
        resource = load_document(draft.text, draft.place, file=draft.path, folder=file.parent)
        if not isinstance(resource, Agent):
            raise ConfigurationError(f"{draft.path} is no agent", remedy="write kind: Agent")
        alone = document_at(draft.text, 1) is None and not draft.changed
        return resource, str(file) if alone else ""

    def _write(self, text: str) -> None:
        if self.yaml.value != text:
            self._shown = text
            self.yaml.value = text

    def _yaml_typed(self, change: Any) -> None:
        # What was put in here comes back, on whatever thread that is.
        text, draft = change["new"], self._draft
        if text == self._shown or draft is None:
            return
        self._shown = text

        async def take() -> None:
            async with self._lock:
                # A field of the form may have changed it since.
                draft.text = self.yaml.value if draft is self._draft else text
            await self._judge(draft, pause=_PAUSE_SECONDS)

        self._host.start(take)

    def _form_typed(self, key: str, typed: str) -> None:
        draft = self._draft
        if draft is None or not self._editable:
            return

        async def take() -> None:
            try:
                async with self._lock:
                    draft.text = await asyncio.to_thread(
                        with_field, draft.text, draft.place, key, typed
                    )
                    if draft is self._draft:
                        self._write(draft.text)
            finally:
                await self._judge(draft, pause=_PAUSE_SECONDS)

        self._host.start(take)

    async def _judge(self, draft: Draft, *, pause: float = 0) -> None:
        """Says what is wrong, and fills the form, once nothing more is typed."""
        self._turn += 1
        turn = self._turn
        self._say_saved(draft)
        if pause:
            await asyncio.sleep(pause)
        if turn != self._turn or draft is not self._draft:
            return
        found = await asyncio.to_thread(judgement, draft, self._host.directory)
        if turn != self._turn or draft is not self._draft:
            return
        self.form.show(found.document, editable=self._editable)
        self.form.complain(found.problems, found.document)
        self.problems.value = problems_html(found.problems, draft.text)
        self._judged(found)

    def _say_saved(self, draft: Draft) -> None:
        self.again.disabled = draft.original is None
        self.save.description = "Save *" if draft.changed else "Save"
        self.save.tooltip = (
            "Writes the YAML to the file; there are changes" if draft.changed else "Nothing changed"
        )

    async def _save(self, *, over: bool = False) -> None:
        draft, directory = self._draft, self._host.directory
        if draft is None:
            return
        path = normal_path(directory, str(self.path.value))
        # What was warned of may be lost, and no other file.
        over = over and path == self._warned
        try:
            async with self._lock:
                work = functools.partial(save_draft, directory, draft, path, over=over)
                await asyncio.to_thread(work)
        except ChangedOnDisk as error:
            self.warn(error.message, path)
            return
        self.warn("")
        self.path.value = draft.path
        self._saved(draft)
        self._host.tell(f"Saved as {draft.path}.")
        await self._judge(draft)
        self._host.refresh()

    async def _load_again(self) -> None:
        draft = self._draft
        if draft is None or draft.original is None:
            return
        directory = self._host.directory
        async with self._lock:
            fresh = await asyncio.to_thread(open_draft, directory, draft.path, draft.place)
            draft.text, draft.saved, draft.original = fresh.text, fresh.saved, fresh.original
            draft.windows, draft.marked = fresh.windows, fresh.marked
        if draft is self._draft:
            self._write(draft.text)
            self.path.value = draft.path
            self.warn("")
        await self._judge(draft)
        self._host.refresh()


def judgement(draft: Draft, directory: Path) -> Judgement:
    """What is known of a draft as it stands; it takes time.

    Args:
        draft: The draft.
        directory: Where the console's files are.
    """
    text, folder = draft.text, (directory / draft.path).parent
    problems = problems_of(text, file=draft.path, folder=folder)
    document, facts, name = document_at(text, draft.place), "", ""
    try:
        agent = load_document(text, draft.place, file=draft.path, folder=folder)
        if isinstance(agent, Agent):
            name = agent.name
            facts = facts_of(agent, _origin(draft))
    except ResourceError as error:
        # What is right in the file may still not be loaded here, for want of a variable.
        if not any(each.severity == "error" for each in problems):
            facts = f'<div class="aof-warning">! {html_text(error.message)}</div>'
    return Judgement(document, problems, facts, name)


def _origin(draft: Draft) -> str:
    if draft.original is None:
        return "what is written here; it is in no file yet"
    changed = ", with changes that are not saved yet" if draft.changed else ""
    return f"the file {draft.path}{changed}"


def problems_html(problems: Sequence[Problem], text: str) -> str:
    """What is wrong with a text, each with its line, its field and what would be right.

    Args:
        problems: What was found.
        text: The YAML.
    """
    if not problems:
        return '<div role="status" class="aof-good">✓ Nothing is wrong with it.</div>'
    lines = text.split("\n")
    errors = sum(each.severity == "error" for each in problems)
    counts = [counted(errors, "problem")] if errors else []
    warned = len(problems) - errors
    counts += [counted(warned, "warning")] if warned else []
    shown = "".join(_problem(each, lines) for each in problems)
    return f'<div role="status"><b>{" and ".join(counts)}</b>{shown}</div>'


def _problem(problem: Problem, lines: Sequence[str]) -> str:
    mark, level = ("!", "warning") if problem.severity == "warning" else ("✗", "bad")
    place = [f"line {problem.line}"] if problem.line else []
    place += [problem.field] if problem.field else []
    quoted = ""
    if problem.line and problem.line <= len(lines):
        quoted = f"<br><code>{html_text(lines[problem.line - 1].strip()[:120])}</code>"
    remedy = f" → {problem.remedy}" if problem.remedy else ""
    said = html_text(f"{', '.join(place)}: {problem.message}{remedy}".removeprefix(": "))
    return f'<div class="aof-{level}">{mark} {said}</div><div class="aof-told">{quoted[4:]}</div>'
