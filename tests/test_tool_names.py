"""Names that every provider takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError
from aof_nb.ports import ToolSpec
from aof_nb.tool_names import check_unique, safe_name


@given(st.text(max_size=150))
def test_any_name_becomes_one_that_is_allowed(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", safe)
    assert safe_name(name) == safe
    assert safe_name(safe) == safe
    if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        assert safe == name


def test_long_names_stay_apart() -> None:
    names = [f"{'server' * 12}__{tool}" for tool in ("read", "write", "read ")]
    safe = {safe_name(each) for each in names}
    assert len(safe) == 3
    assert all(each.startswith("serverserver") for each in safe)


def spec(name: str, source: str) -> ToolSpec:
    return ToolSpec(name=name, description="", input_schema={}, source=source)


def test_a_collision_names_both() -> None:
    check_unique([spec("a", "mcp:one"), spec("b", "mcp:one")])
    with pytest.raises(ConfigurationError) as caught:
        check_unique([spec("a", "mcp:one"), spec("b", ""), spec("a", "")])
    assert caught.value.message == (
        "two tools are called 'a': one from mcp:one, one from a source without a name"
    )
    assert caught.value.remedy


def test_the_same_tool_twice_is_a_collision_too() -> None:
    one = spec("a", "mcp:one")
    with pytest.raises(ConfigurationError, match="two tools are called 'a'"):
        check_unique([one, one])
