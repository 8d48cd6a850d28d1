"""Tools by their names, their configuration, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aof_nb import tool
from aof_nb.errors import ConfigurationError
from aof_nb.ports import Effect
from aof_nb.tools import builtin_names, resolve_tools
from aof_nb.tools.shell import ShellTool
from tests.tools.calls import call


def names(*declared: Any) -> list[str]:
    return [each.spec.name for each in resolve_tools(declared)]


@pytest.mark.parametrize("name", builtin_names())
def test_each_name_that_is_offered_is_there(name: str) -> None:
    found = names(name)
    files = ["read_file", "list_directory", "search_files", "write_file"]
    assert found == (files if name == "files" else [name])


def test_tools_and_functions_are_taken_as_they_are() -> None:
    def restart(service: str) -> str:
        """Restarts."""
        return service

    decorated, shell = tool(effect="read")(restart), ShellTool()
    found = resolve_tools([restart, decorated, shell, {"name": "http"}])
    assert found[1:3] == [decorated, shell]
    assert [each.spec.name for each in found] == ["restart", "restart", "shell", "http"]
    assert found[0].spec.effect is Effect.WRITE


async def test_a_configuration_is_used(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    shell, read = resolve_tools(
        [
            {"name": "shell", "config": {"cwd": str(tmp_path), "allow": ["ls"]}},
            {"type": "read_file", "config": {"root": str(tmp_path)}},
        ]
    )
    assert (await call(shell, argv=["ls"])).content == "a\n"
    assert (await call(read, path="a")).content == "(empty)"


@pytest.mark.parametrize(
    ("declared", "said", "remedy"),
    [
        ("shel", "no built-in tool 'shel'", "did you mean 'shell'?"),
        ("readfile", "no built-in tool 'readfile'", "did you mean 'read_file'?"),
        ("kubctl", "no built-in tool 'kubctl'", "did you mean 'kubectl'?"),
        ("zzz", "no built-in tool 'zzz'", "the built-in ones are argocd, aws, "),
        ({"nam": "shell"}, "no built-in tool ''", "the built-in ones are"),
        ({"name": "shell", "config": {"alow": []}}, "tool 'shell': its config", "arguments"),
        ({"name": "kubectl", "config": {"program": "rm"}}, "tool 'kubectl': its config", ""),
        (7, "7 is not a tool", "@tool"),
    ],
)
def test_what_is_wrong_is_named(declared: Any, said: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_tools([declared])
    assert said in caught.value.message
    assert remedy in caught.value.remedy
