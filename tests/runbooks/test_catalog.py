"""A directory's notebooks as tools: their names, their schemas, and which are left out."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import jsonschema_rs
import nbformat
import pytest

from aof_nb.runbooks.catalog import Catalog, input_schema
from aof_nb.runbooks.parameters import declared_parameters
from tests.notebooks import write_notebook

CELL = """\
service = None  # which
replicas: Annotated[int, Ge(1)] = 3  # how many
fault: Literal["disk", "lock"] = "disk"
hosts = ["a"]
cap: float | None = None
since = datetime.date.today()
dry_run = True
"""


def schema(source: str = CELL) -> dict[str, Any]:
    cell = {"source": source, "metadata": {"tags": ["parameters"]}}
    return input_schema(declared_parameters([cell]) or ())


def test_the_schema_says_types_defaults_demands_and_what_has_to_be_given() -> None:
    jsonschema_rs.meta.validate(schema())
    assert schema() == {
        "type": "object",
        "properties": {
            "service": {"description": "which"},
            "replicas": {"type": "integer", "minimum": 1, "description": "how many", "default": 3},
            "fault": {"type": "string", "enum": ["disk", "lock"], "default": "disk"},
            "hosts": {"type": "array", "default": ["a"]},
            "cap": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
            "since": {},
            "dry_run": {"type": "boolean", "default": True},
        },
        "required": ["service"],
        "additionalProperties": False,
    }


def test_names_come_from_files_and_words_from_notebooks(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "runs").mkdir()
    write_notebook(tmp_path / "db" / "fail over.ipynb", "md:# Fail over\n\nTo the replica.", aof={})
    write_notebook(tmp_path / "runs" / "old.ipynb", "1", aof={})
    write_notebook(
        tmp_path / "plain.ipynb",
        "1",
        parameters="x = 1",
        aof={"effect": "read", "owner": "ann", "severity": 1, "time_limit": "1m"},
    )
    found = Catalog(tmp_path).runbooks()
    assert list(found) == ["plain", "db__fail_over"]
    tool = found["db__fail_over"].tool
    assert (tool.title, tool.description, tool.annotations) == (
        "Fail over",
        "To the replica.",
        None,
    )
    plain = found["plain"].tool
    assert plain.description == "Runs the notebook plain.ipynb."
    assert plain.annotations is not None
    assert (plain.annotations.read_only_hint, plain.annotations.destructive_hint) == (True, False)
    assert plain.meta == {"aof.dev/owner": "ann", "aof.dev/severity": "1", "aof.dev/limit": 60.0}
    [alone] = Catalog(tmp_path / "db" / "fail over.ipynb").runbooks()
    assert alone == "fail_over"


def test_what_cannot_be_a_tool_is_left_out_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_notebook(tmp_path / "good.ipynb", "1", aof={})
    write_notebook(tmp_path / "a b.ipynb", "1", aof={})
    write_notebook(tmp_path / "a_b.ipynb", "1", aof={})
    write_notebook(tmp_path / "no_runbook.ipynb", "1")
    write_notebook(tmp_path / "wrong.ipynb", "1", aof={"time_limit": "soon"})
    write_notebook(tmp_path / "syntax.ipynb", "1", parameters="= 1")
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "dangling.ipynb").symlink_to(tmp_path / "gone.ipynb")
    other = write_notebook(tmp_path / "r.ipynb", "1", aof={})
    content = nbformat.read(other, as_version=4)
    content.metadata.kernelspec["language"] = "R"
    nbformat.write(content, other)
    catalog = Catalog(tmp_path)
    with caplog.at_level(logging.INFO):
        assert list(catalog.runbooks()) == ["a_b", "good"]
        said = caplog.text
        assert list(catalog.runbooks()) == ["a_b", "good"]
        assert caplog.text == said
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warned) == 5
    assert any("metadata.aof.time_limit: not a duration" in each for each in warned)
    assert any("a_b.ipynb is left out: it has the name of" in each for each in warned)


def test_files_are_read_as_they_are_now(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    assert catalog.runbooks() == {}
    path = write_notebook(tmp_path / "a.ipynb", "1", aof={"title": "One"})
    assert catalog.runbooks()["a"].tool.title == "One"
    write_notebook(path, "1", aof={"title": "Two"})
    os.utime(path, (1, 1))
    assert catalog.runbooks()["a"].tool.title == "Two"
    path.write_text("{")
    assert catalog.runbooks() == {}
    path.unlink()
    assert catalog.runbooks() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"kernelspec": []}},
        {"metadata": {"aof": {}, "kernelspec": {"language": 3}}},
        {"cells": [{"cell_type": "code"}]},
        {"cells": [{"cell_type": "code", "source": "", "metadata": {"tags": 3}, "outputs": []}]},
        {"cells": [3]},
        {"nbformat": "four"},
        {"metadata": None},
    ],
)
def test_an_odd_notebook_does_not_hide_the_others(tmp_path: Path, change: dict[str, Any]) -> None:
    good = write_notebook(tmp_path / "good.ipynb", "1", aof={"description": "long " * 1000})
    odd = json.loads(good.read_text()) | change
    (tmp_path / "a_odd.ipynb").write_text(json.dumps(odd))
    found = Catalog(tmp_path).runbooks()
    assert list(found) == ["good"]
    assert len(found["good"].tool.description or "") <= 1000
