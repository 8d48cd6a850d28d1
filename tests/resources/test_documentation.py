"""docs/configuration.md names every field, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from aof_nb.resources import load_all
from aof_nb.resources.problems import spellings_of
from aof_nb.resources.schema import (
    NOT_CARRIED_OUT,
    AgentSpec,
    ContextSpec,
    LimitsSpec,
    MemorySpec,
    Metadata,
    PolicySpec,
    RetrySpec,
    RuleSpec,
    SamplingSpec,
    ServerSpec,
)
from aof_nb.resources.tool_schema import FilesConfig, HttpConfig, ShellConfig, ToolEntry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
NO_EFFECT = "What has no effect yet"
SECTIONS: dict[type[BaseModel], str] = {
    Metadata: "Shapes",
    AgentSpec: "An agent",
    SamplingSpec: "An agent",
    ToolEntry: "Tools",
    ShellConfig: "`shell` and single programs",
    HttpConfig: "`http`",
    FilesConfig: "`files`, and its tools one by one",
    ServerSpec: "An MCP server",
    MemorySpec: "Memory",
    PolicySpec: "Policy",
    RuleSpec: "Policy",
    LimitsSpec: "Limits",
    RetrySpec: "Retries and fallback",
    ContextSpec: "Context",
}
VARIABLE = re.compile(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"|_variable=\"([A-Z_]+)\"")
INTERNAL = {"AOF_LAB_TOKEN"}


def section(title: str) -> str:
    found = re.search(
        rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found is not None, title
    return found[1]


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_every_field_is_described_in_its_section(model: type[BaseModel]) -> None:
    text = section(SECTIONS[model]) + section(NO_EFFECT)
    names = [each for field in model.model_fields for each in spellings_of(model, field)]
    assert [each for each in names if f"`{each}`" not in text] == []


def test_no_field_is_described_that_is_not_there() -> None:
    tables = [("An agent", AgentSpec), ("An MCP server", ServerSpec), ("Limits", LimitsSpec)]
    for title, model in tables:
        rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
        described = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
        known = [each for field in model.model_fields for each in spellings_of(model, field)]
        assert set(described) <= set(known)


def test_what_has_no_effect_is_said_to_have_none() -> None:
    text = section(NO_EFFECT)
    assert [each for each in NOT_CARRIED_OUT if f"`{each}`" not in text] == []


def test_every_variable_the_code_reads_is_described() -> None:
    sources = [path.read_text() for path in (ROOT / "aof_nb").rglob("*.py")]
    read = {name for text in sources for found in VARIABLE.findall(text) for name in found if name}
    assert {"AOF_STATE_DIR", "OPENAI_BASE_URL"} <= read
    text = section("Environment variables")
    assert [each for each in sorted(read - INTERNAL) if f"`{each}`" not in text] == []


@pytest.mark.parametrize("number", range(PAGE.count("```yaml\n")))
def test_the_examples_load_without_a_warning(number: int, caplog: pytest.LogCaptureFixture) -> None:
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[number]
    assert load_all(example)
    assert not caplog.records
