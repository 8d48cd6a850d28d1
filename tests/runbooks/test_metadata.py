"""What notebooks say of themselves as runbooks, and how it is named when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ResourceError
from aof_nb.policy import Action, Policy
from aof_nb.ports import Effect, ToolSpec
from aof_nb.runbooks import check_runbook, inspect_notebook
from aof_nb.runbooks.metadata import cell_metadata, is_runbook, runbook_metadata
from tests.notebooks import write_notebook

FULL = {
    "title": "Disk full",
    "description": "Frees space.",
    "owner": "storage team",
    "severity": 2,
    "time_limit": "90s",
    "effect": "destructive",
    "policy": {"write": "ask", "rules": [{"action": "deny", "tool": "shell"}]},
}


def notebook(aof: Any = None, *cells: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {} if aof is None else {"aof": aof},
        "cells": [{"cell_type": "code", "source": "", "metadata": each} for each in cells],
    }


def test_all_that_may_be_said() -> None:
    said = runbook_metadata(notebook(FULL), "n.ipynb")
    assert (said.title, said.owner, said.severity) == ("Disk full", "storage team", "2")
    assert (said.time_limit, said.effect) == (90.0, Effect.DESTRUCTIVE)
    assert said.policy is not None
    bound = said.policy.made()
    assert bound.write is Action.ASK


def test_what_a_policy_does_not_name_it_does_not_tighten() -> None:
    said = runbook_metadata(notebook({"policy": {"destructive": "deny"}}), "n.ipynb")
    assert said.policy is not None
    bound = said.policy.made()
    assert bound == Policy(write=Action.ALLOW, destructive=Action.DENY)
    spec = ToolSpec(name="t", description="", input_schema={}, effect=Effect.WRITE)
    assert bound.decide(spec, {}) is Action.ALLOW


def test_what_is_taken_out_of_outputs_before_they_are_compared() -> None:
    written = {"sanitize": [{"regex": "ticket (\\d)\\d+", "replace": "ticket \\1N"}]}
    (own,) = runbook_metadata(notebook(written), "n.ipynb").sanitize
    assert own.made().pattern.sub(own.made().replacement, "ticket 47") == "ticket 4N"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([{"regex": "a"}], r"aof.sanitize\[0\].replace: replace is missing"),
        ([{"regex": "(", "replace": ""}], r"aof.sanitize\[0\]: '\(' cannot be replaced"),
        ([{"regex": "a", "replace": "\\1"}], "invalid group reference"),
        ([{"regex": "a", "replace": "b", "replce": ""}], "replce: unknown field 'replce'"),
        ({"a": "b"}, "aof.sanitize"),
    ],
)
def test_a_sanitizer_that_is_wrong(written: object, said: str) -> None:
    with pytest.raises(ResourceError, match=said) as caught:
        runbook_metadata(notebook({"sanitize": written}), "n.ipynb")
    assert caught.value.file == "n.ipynb"


def test_a_notebook_that_says_nothing_is_no_runbook() -> None:
    assert runbook_metadata(notebook(), "n.ipynb").time_limit is None
    assert not is_runbook(notebook())
    assert is_runbook(notebook({}))
    assert is_runbook(notebook(None, {"tags": ["parameters"]}))


@pytest.mark.parametrize("metadata", [{"tags": ["x", "once"]}, {"aof": {"once": True}}])
def test_cells_are_marked_by_tag_or_by_field(metadata: dict[str, Any]) -> None:
    marks = cell_metadata({"metadata": metadata})
    assert (marks.once, marks.safe_to_repeat, marks.result) == (True, False, False)


@pytest.mark.parametrize(
    ("aof", "field", "remedy"),
    [
        ({"titel": "x"}, "metadata.aof.titel", "did you mean 'title'?"),
        ({"time_limit": "soon"}, "metadata.aof.time_limit", "write 30s, 2m or 1h"),
        ({"time_limit": 0}, "metadata.aof.time_limit", ""),
        ({"effect": "big"}, "metadata.aof.effect", ""),
        ({"owner": ["a"]}, "metadata.aof.owner", "quotes"),
        ({"policy": {"writes": "ask"}}, "metadata.aof.policy.writes", "did you mean 'write'?"),
        ({"policy": {"rules": [{"tool": "x"}]}}, "metadata.aof.policy.rules[0].action", "action"),
        ("title", "metadata.aof", "as key: value"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(
    aof: Any, field: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError) as caught:
        runbook_metadata(notebook(aof), "n.ipynb")
    assert (caught.value.file, caught.value.field) == ("n.ipynb", field)
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps(notebook(aof)))
    [problem] = check_runbook(path)
    assert (problem.file, problem.field) == (str(path), field)
    assert remedy in problem.remedy


def test_what_is_wrong_with_a_cell_names_the_cell(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "n.ipynb",
        "1",
        "2",
        tags={0: ["once"], 1: ["once", "safe_to_repeat"]},
        parameters="a = = 1",
    )
    content = json.loads(path.read_text())
    content["cells"][1]["metadata"]["aof"] = {"onec": True}
    path.write_text(json.dumps(content))
    assert [(each.file, each.field) for each in check_runbook(path)] == [
        (f"{path}#cell-2", "metadata.aof.onec"),
        (f"{path}#cell-3", "metadata"),
        (str(path), ""),
    ]
    with pytest.raises(ResourceError, match=r"n\.ipynb#cell-2: metadata\.aof\.onec"):
        inspect_notebook(path)


def test_a_notebook_tells_what_it_says_before_what_it_shows(tmp_path: Path) -> None:
    cells = ("md:# Heading\n\nFirst *words*,\nand more.\n\nSecond.", "1")
    plain = inspect_notebook(write_notebook(tmp_path / "a.ipynb", *cells))
    assert (plain.title, plain.description) == ("Heading", "First *words*, and more.")
    assert not plain.is_runbook
    said = inspect_notebook(write_notebook(tmp_path / "b.ipynb", *cells, aof=FULL))
    assert (said.title, said.description) == ("Disk full", "Frees space.")
    assert said.is_runbook


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["aof", "tags", "metadata", "cells", "source", "once", "policy"]),
            inner,
            max_size=4,
        )
    ),
)


@given(content=json_values)
def test_no_file_breaks_the_check(content: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.ipynb"
    path.write_text(json.dumps(content))
    check_runbook(path)
    path.write_text(json.dumps({"cells": [content], "metadata": content}))
    check_runbook(path)
