"""The form and the YAML of the agents that AOF publishes, there and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aof_nb.errors import ResourceError
from aof_nb.notebook.console.agent_form import FIELDS, AgentForm, document_at, with_field
from aof_nb.notebook.console.yaml_edit import value_at
from aof_nb.notebook.console.yaml_values import values_of

EXAMPLES = Path(__file__).parents[4] / "shared" / "aof-examples"
published = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="AOF's published examples are not beside the repository"
)
NEW = {
    "name": "another",
    "description": "What: it # does",
    "model": "ollama:qwen3",
    "instructions": "First.\n\n  - then: this\n# and that",
    "tools": "shell\nkubectl",
    "fallback": "ollama:qwen3\nopenai:gpt-5",
    "write": "deny",
    "max_turns": "7",
    "max_seconds": "90s",
    "max_cost": "0.5",
    "temperature": "1",
    "memory": "disk",
}


def agents() -> Iterator[tuple[Path, str, int]]:
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        text = path.read_text()
        try:
            documents = [each for each in values_of(text) if each is not None]
        except ResourceError:
            continue
        for place, each in enumerate(documents):
            if each.get("kind") == "Agent":
                yield path, text, place


@pytest.fixture(scope="module")
def form() -> AgentForm:
    return AgentForm(lambda key, typed: None)


def filled(form: AgentForm, text: str, place: int) -> dict[str, Any]:
    form.show(document_at(text, place), editable=True)
    return {key: each.input for key, each in form._fields.items()}


@published
def test_what_the_form_shows_written_back_changes_nothing(form: AgentForm) -> None:
    seen = 0
    for path, text, place in agents():
        for number, (key, each) in enumerate(filled(form, text, place).items()):
            # Each agent with a few fields, each field with many agents.
            if not each.disabled and (number + seen) % 4 == 0:
                assert with_field(text, place, key, each.value) == text, (path, key)
            seen += 1
    assert seen > 500


@published
def test_a_field_changes_its_own_lines_and_comes_back(form: AgentForm) -> None:
    seen = set()
    for number, (path, text, place) in enumerate(agents()):
        for key in list(NEW)[number % 6 :: 6]:
            if not filled(form, text, place)[key].disabled:
                changed = with_field(text, place, key, NEW[key])
                assert filled(form, changed, place)[key].value == NEW[key], path
                assert_only_its_lines_have_changed(text, changed, place, key)
                seen.add(key)
    assert seen == set(NEW)


def assert_only_its_lines_have_changed(text: str, changed: str, place: int, key: str) -> None:
    before, after = text.split("\n"), changed.split("\n")
    document = document_at(text, place)
    field = next(each for each in FIELDS if each.key == key)
    if value_at(document, field.place(document)) is None:
        assert [line for line in after if line in before] == before
    elif key not in {"instructions", "tools", "fallback"}:
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    comments = [line for line in before if line.startswith("#")]
    assert [line for line in after if line.startswith("#")] == comments


def test_a_value_that_is_more_than_a_field_is_left_to_the_yaml(form: AgentForm) -> None:
    text = "model: a:b\nmemory: {type: disk, path: x}\ntools: [shell, {name: http}]\n"
    shown = filled(form, text, 0)
    assert shown["memory"].disabled
    assert shown["tools"].value == "shell"
    changed = with_field(text, 0, "tools", "git")
    assert changed == "model: a:b\nmemory: {type: disk, path: x}\ntools: [git, {name: http}]\n"


def test_another_spelling_is_kept() -> None:
    text = "model: a:b\nsystem_prompt: hi\nmax_iterations: 3\n"
    changed = with_field(with_field(text, 0, "instructions", "ho"), 0, "max_turns", "4")
    assert changed == "model: a:b\nsystem_prompt: ho\nmax_iterations: 4\n"


def test_what_is_no_number_is_written_as_it_is() -> None:
    assert with_field("model: a:b\n", 0, "max_turns", "many").endswith("max_turns: many\n")
