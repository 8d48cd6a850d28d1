"""Parameters: what a cell declares, and which values fit."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.runbooks.parameters import ParameterError, declared_parameters, fitted

CELL = """\
# what to look at
replicas = 3  # how many
ratio: float = 0.5
service = "web=1"  # which; one "=" more
dry_run = True
hosts = ["a", "b"]
limits: dict[str, int] = {"cpu": 1}
fault: Literal["disk", "lock"] = "disk"
cap: int | None = None
note: "typing.Optional[str]" = None
when: datetime.date = None
home = os.environ["HOME"]
%matplotlib inline
a = b = 1
replicas += 1
"""


def declared(source: str = CELL) -> Any:
    return declared_parameters(
        [
            {"source": "x = 1", "metadata": {}},
            {"source": source, "metadata": {"tags": ["hide", "parameters"]}},
        ]
    )


def test_the_cell_says_names_types_defaults_and_help() -> None:
    found = {each.name: each for each in declared()}
    assert list(found) == [
        *("replicas", "ratio", "service", "dry_run", "hosts", "limits", "fault"),
        *("cap", "note", "when", "home"),
    ]
    assert (found["replicas"].type_name, found["replicas"].default) == ("int", "3")
    assert (found["replicas"].help, found["service"].help) == ("how many", 'which; one "=" more')
    assert found["service"].default == "'web=1'"
    assert found["limits"].type_name == "dict[str, int]"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("replicas", "5", 5),
        ("ratio", "1", 1.0),
        ("service", "5", "5"),
        ("service", "", ""),
        ("dry_run", "false", False),
        ("dry_run", "True", True),
        ("hosts", '["x"]', ["x"]),
        ("hosts", "['x', 'y']", ["x", "y"]),
        ("limits", '{"cpu": 2}', {"cpu": 2}),
        ("fault", "lock", "lock"),
        ("cap", "7", 7),
        ("cap", "None", None),
        ("cap", "null", None),
        ("note", "None of it", "None of it"),
        ("when", "2026-01-02", "2026-01-02"),
        ("home", "7", 7),
        ("home", "/root", "/root"),
        ("home", "true", True),
    ],
)
def test_text_becomes_the_parameter_s_type(name: str, text: str, value: Any) -> None:
    [fit] = fitted(declared(), {name: text}).values()
    assert fit == value
    assert type(fit) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replicas", "three"),
        ("replicas", "3.5"),
        ("replicas", 3.5),
        ("replicas", True),
        ("dry_run", "maybe"),
        ("hosts", "a,b"),
        ("limits", '{"cpu": "much"}'),
        ("fault", "flood"),
        ("cap", "x"),
        ("service", 3),
    ],
)
def test_what_does_not_fit_is_named_with_its_type(name: str, value: Any) -> None:
    kind = next(each.type_name for each in declared() if each.name == name)
    with pytest.raises(ParameterError) as caught:
        fitted(declared(), {name: value})
    assert name in caught.value.message
    assert kind in caught.value.message
    assert repr(value) in caught.value.message


def test_an_unknown_name_is_told_its_neighbour() -> None:
    with pytest.raises(ParameterError, match="'replica'") as caught:
        fitted(declared(), {"replica": "1"})
    assert "did you mean 'replicas'?" in caught.value.remedy


def test_a_notebook_without_the_cell_takes_none() -> None:
    assert declared_parameters([{"source": "x = 1", "metadata": {}}]) is None
    assert fitted(None, {}) == {}
    with pytest.raises(ParameterError, match="takes no parameters"):
        fitted(None, {"x": "1"})


def test_a_cell_that_is_no_python_says_where() -> None:
    with pytest.raises(ParameterError, match="line 2"):
        declared("a = 1\nb = = 2\n")


DEMANDS = """\
replicas: Annotated[int, Field(ge=1, description="how many")] = 3
name: Annotated[str, Meta(pattern="^[a-z]+$")] = "web"
cap: typing.Annotated[int | None, Ge(2)] = None
hosts: list[Annotated[int, Lt(9)]] = []
odd: Annotated[int, Field(pattern="x")] = 1
much: Annotated[float, Le(limit)] = 1.0
"""


@pytest.mark.parametrize(
    ("name", "value", "demand"),
    [
        ("replicas", "0", "expected int >= 1"),
        ("replicas", "x", "expected int"),
        ("name", "Web", "matching regex"),
        ("cap", 1, "expected int >= 2"),
        ("hosts", [9], "expected int <= 8"),
    ],
)
def test_an_annotation_s_demands_are_kept(name: str, value: Any, demand: str) -> None:
    with pytest.raises(ParameterError, match=f"parameter '{name}' takes a") as caught:
        fitted(declared(DEMANDS), {name: value})
    assert demand in caught.value.remedy


def test_demands_that_cannot_be_kept_do_not_matter() -> None:
    found = {each.name: each for each in declared(DEMANDS)}
    fits = {"replicas": 1, "name": "db", "cap": None, "hosts": [8], "odd": 7, "much": 1e9}
    assert fitted(list(found.values()), fits) == fits
    assert (found["replicas"].type_name, found["cap"].type_name) == ("int", "int | None")


def test_what_has_to_be_given_is_what_is_none_without_a_type() -> None:
    found = declared("a = None\nb: str = None\nc: int | None = None\nd = 0\ne: date = None\n")
    assert [each.name for each in found if each.required] == ["a"]


plain = st.one_of(st.integers(), st.booleans(), st.lists(st.integers()), st.text(max_size=20))


@given(plain)
def test_a_value_written_as_text_comes_back(value: Any) -> None:
    parameters = declared(f"p = {value!r}")
    written = value if isinstance(value, str) else json.dumps(value)
    assert fitted(parameters, {"p": written}) == {"p": value}
    assert fitted(parameters, {"p": value}) == {"p": value}


@given(st.text())
def test_no_cell_breaks_it(source: str) -> None:
    with contextlib.suppress(ParameterError):
        declared(source)
