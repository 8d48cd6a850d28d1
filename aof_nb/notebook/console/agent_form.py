"""An agent's form: what it has most often, field by field, kept in step with its YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from aof_nb.errors import ResourceError
from aof_nb.markdown import revealed
from aof_nb.notebook.console.yaml_edit import value_at, with_value
from aof_nb.notebook.console.yaml_values import values_of
from aof_nb.policy import Action
from aof_nb.readable import visible
from aof_nb.resources.problems import Problem
from aof_nb.yaml_text import field_path

_ACTIONS = tuple(str(each.value) for each in Action)
_REQUIRED = ("name", "model")
INPUT_WIDTH = "calc(100% - 4px)"
"""The room that there is, without the margin that inputs have."""


@dataclass(frozen=True)
class FormField:
    """A field of the form.

    Args:
        key: What the form calls it.
        label: What people call it.
        paths: Where it may stand in the YAML; where it is written if it is not there yet first.
        kind: ``text``, ``lines``, ``names``, ``number`` or ``choice``.
        hint: What stands in it while it is empty.
    """

    key: str
    label: str
    paths: tuple[str, ...]
    kind: str = "text"
    hint: str = ""

    def places(self, document: Any) -> list[tuple[str, ...]]:
        """The paths in one document, which may be an agent's fields alone."""
        if isinstance(document, dict) and ("kind" in document or "apiVersion" in document):
            return [tuple(each.split(".")) for each in self.paths]
        flat = [each.removeprefix("spec.") for each in self.paths if each.startswith("spec.")]
        flat += [each for each in (self.key,) if self.paths[0].startswith("metadata.")]
        return [tuple(each.split(".")) for each in dict.fromkeys(flat)]

    def place(self, document: Any) -> tuple[str, ...]:
        """Where it stands; where it would, if it is not there."""
        places = self.places(document)
        there = [each for each in places if value_at(document, each) is not None]
        return (there or places)[0]


FIELDS = (
    FormField("name", "Name *", ("metadata.name",)),
    FormField(
        "description",
        "Description",
        ("metadata.description", "spec.description", "metadata.annotations.description"),
    ),
    FormField("model", "Model *", ("spec.model",), hint="provider:model"),
    FormField(
        "fallback", "Fallback models", ("spec.fallback",), "names", "one a line, asked in order"
    ),
    FormField(
        "instructions",
        "Instructions",
        ("spec.instructions", "spec.system_prompt", "spec.system"),
        "lines",
        "what the agent is told before the conversation",
    ),
    FormField("tools", "Tools", ("spec.tools",), "names", "one a line, such as shell or kubectl"),
    FormField(
        "mcp_servers", "MCP servers", ("spec.mcp_servers",), "names", "one a line, by their names"
    ),
    FormField("read", "Policy: read", ("spec.policy.read",), "choice", "allow"),
    FormField("write", "Policy: write", ("spec.policy.write",), "choice", "ask"),
    FormField("destructive", "Policy: destructive", ("spec.policy.destructive",), "choice", "ask"),
    FormField("memory", "Memory", ("spec.memory",), hint="none; or disk, file:PATH, redis://…"),
    FormField(
        "max_turns",
        "Turns at most",
        ("spec.limits.max_turns", "spec.max_iterations", "spec.max_turns"),
        "number",
        "25",
    ),
    FormField(
        "max_seconds",
        "Time at most",
        ("spec.limits.max_seconds", "spec.resources.timeout"),
        "number",
        "no limit; such as 90s or 5m",
    ),
    FormField("max_cost", "Dollars at most", ("spec.limits.max_cost",), "number", "no limit"),
    FormField(
        "temperature",
        "Temperature",
        ("spec.temperature", "spec.parameters.temperature", "spec.model_config.temperature"),
        "number",
        "the model's own",
    ),
)
"""The fields, from top to bottom."""


class AgentForm:
    """The form of one agent.

    Args:
        changed: What is told when a person has changed a field: its key, and what it says.
    """

    def __init__(self, changed: Callable[[str, str], None]) -> None:
        import ipywidgets

        self._fields = {each.key: _Input(each, changed) for each in FIELDS}
        self._said: Any = ipywidgets.HTML()
        boxes = [each.widget for each in self._fields.values()]
        self.widget: Any = ipywidgets.VBox([ipywidgets.HTML("<h4>Form</h4>"), self._said, *boxes])

    def show(self, document: Any, *, editable: bool) -> None:
        """Fills the form; one that cannot be filled waits.

        Args:
            document: The agent, as `document_at` finds it.
            editable: Whether it may be changed.
        """
        readable = isinstance(document, dict)
        waits = "" if readable else "The form goes on when the YAML can be read."
        if self._said.value != waits:
            self._said.value = waits
        for each in self._fields.values():
            if readable:
                each.show(document)
            each.enable(editable and readable)

    def complain(self, problems: Iterable[Problem], document: Any) -> None:
        """Shows what is wrong beside the fields it is wrong with."""
        listed = list(problems) if isinstance(document, dict) else []
        for each in self._fields.values():
            each.complain(listed, document)

    def offer(self, models: Sequence[str]) -> None:
        """Offers models to choose from."""
        box = self._fields["model"].input
        if list(box.options) != list(models):
            box.options = list(models)


def document_at(text: str, place: int) -> Any:
    """A document of a text; None if it cannot be read.

    Args:
        text: The YAML.
        place: Which, from 0; empty ones do not count.
    """
    try:
        documents = [each for each in values_of(text) if each is not None]
    except ResourceError:
        return None
    return documents[place] if place < len(documents) else None


def with_field(text: str, place: int, key: str, typed: str) -> str:
    r"""The YAML after a field of the form was filled in.

    Args:
        text: The YAML.
        place: Which of its documents, from 0; empty ones do not count.
        key: The field.
        typed: What was typed.

    Raises:
        ConfigurationError: If the YAML is written in a way that the form cannot change.
        ResourceError: If it cannot be read.

    Example:
        >>> with_field("name: a\nmodel: openai:gpt-5 # ours\n", 0, "model", "ollama:qwen3")
        'name: a\nmodel: ollama:qwen3 # ours\n'
    """
    field = next(each for each in FIELDS if each.key == key)
    document = document_at(text, place)
    path = field.place(document)
    old = value_at(document, path)
    if _said(field, old) == typed:
        return text
    return with_value(text, place, path, _meant(field, typed, old))


def _said(field: FormField, value: Any) -> str | None:
    """What a field says of a value; None if the value is more than it can say."""
    if value is None:
        return ""
    if field.kind == "names":
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            return None
        return "\n".join(each for each in value if isinstance(each, str))
    if isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if field.kind == "lines":
        return text.rstrip("\n")
    return None if "\n" in text.strip("\n") else text.rstrip("\n")


def _meant(field: FormField, typed: str, old: Any) -> Any:
    if field.kind == "names":
        names = [each.strip() for each in typed.splitlines() if each.strip()]
        return names or ([] if isinstance(old, list) else None)
    if field.kind == "lines":
        text = typed.rstrip("\n")
        ended = "\n" in text or (isinstance(old, str) and old.endswith("\n"))
        return f"{text}\n" if text and ended else text or None
    text = typed.strip()
    if not text:
        return "" if field.key in _REQUIRED else None
    return _number(text) if field.kind == "number" else text


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text) if text.isascii() and "_" not in text else text
        except ValueError:
            continue
    return text


class _Input:
    """A field's input, and what is wrong with it."""

    def __init__(self, field: FormField, changed: Callable[[str, str], None]) -> None:
        import ipywidgets

        self._field, self._shown = field, ""
        self._fits = True
        options: dict[str, Any] = {"layout": {"width": INPUT_WIDTH}, "tooltip": field.label}
        if field.kind == "choice":
            labels = [(f"{field.hint}, if nothing is said", ""), *((a, a) for a in _ACTIONS)]
            self.input: Any = ipywidgets.Dropdown(options=labels, **options)
        elif field.key == "model":
            self.input = ipywidgets.Combobox(placeholder=field.hint, **options)
        elif field.kind in {"lines", "names"}:
            rows = {"instructions": 9, "tools": 4}.get(field.key, 2)
            self.input = ipywidgets.Textarea(placeholder=field.hint, rows=rows, **options)
        else:
            self.input = ipywidgets.Text(placeholder=field.hint, **options)
        self.input.continuous_update = True
        self.input.description = field.label
        self.input.style.description_width = "120px"
        beside = {"display": "none", "margin": "0 0 2px 128px", "width": "calc(100% - 132px)"}
        self._note: Any = ipywidgets.HTML(layout=beside)
        self._about: Any = ipywidgets.HTML(layout=beside)
        for each in (self._note, self._about):
            each.add_class("aof-wrap")
        self.widget: Any = ipywidgets.VBox([self.input, self._about, self._note])
        self.widget.layout.overflow = "hidden"

        def told(change: Mapping[str, Any]) -> None:
            # What the page itself has put in comes back here, on whatever thread that is.
            if change["new"] != self._shown:
                self._shown = change["new"]
                changed(field.key, change["new"])

        self.input.observe(told, "value")

    def show(self, document: Any) -> None:
        """Fills it in."""
        path = self._field.place(document)
        value = value_at(document, path)
        said = _said(self._field, value)
        if self._field.kind == "choice" and said not in {"", *_ACTIONS}:
            said = None
        self._fits = said is not None
        about = "" if self._fits else f"Written in the YAML as {field_path(path)}."
        if self._field.kind == "names" and isinstance(value, list):
            about = _others(value)
        self._say(self._about, f"<small>{_text(about)}</small>" if about else "")
        if _typed(self._field, self.input.value) != _typed(self._field, said or ""):
            self._shown = said or ""
            self.input.value = said or ""

    def enable(self, editable: bool) -> None:
        """Lets it be changed, or not."""
        disabled = not (editable and self._fits)
        if self.input.disabled != disabled:
            self.input.disabled = disabled

    def complain(self, problems: Iterable[Problem], document: Any) -> None:
        """Shows the first problem that is one of this field's."""
        places = [field_path(each) for each in self._field.places(document)]
        found = next(
            (
                each
                for each in problems
                if any(
                    each.field == place or each.field.startswith((f"{place}.", f"{place}["))
                    for place in places
                )
            ),
            None,
        )
        if found is None:
            self._say(self._note, "")
            return
        mark, kind = ("!", "aof-warning") if found.severity == "warning" else ("⚠", "aof-bad")
        remedy = f" → {found.remedy}" if found.remedy else ""
        said = _text(f"{found.message}{remedy}")
        self._say(self._note, f'<div class="{kind}">{mark} {said}</div>')

    def _say(self, where: Any, html: str) -> None:
        if where.value != html:
            where.value = html
            where.layout.display = None if html else "none"


def _typed(field: FormField, text: str) -> Any:
    """What a text says; one that says the same is not put in the place of what is half typed."""
    match field.kind:
        case "names":
            return [each.strip() for each in text.splitlines() if each.strip()]
        case "lines":
            return text.rstrip("\n")
        case "number":
            return _number(text.strip())
    return text.strip()


def _others(value: Sequence[Any]) -> str:
    """The items that are more than a name."""
    named = [
        str(each.get("name") or each.get("type") or "?") if isinstance(each, dict) else str(each)
        for each in value
        if not isinstance(each, str)
    ]
    return f"Besides, set up in the YAML: {', '.join(named)}." if named else ""


def _text(text: str) -> str:
    return escape(revealed(visible(text)))
