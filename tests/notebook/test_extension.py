"""Loading, unloading, and what loading costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import aof_nb
from aof_nb.notebook.completion import Completion
from aof_nb.notebook.transform import await_magics
from aof_nb.policy import ambient_approver, set_ambient_approver

HEAVY = ["anthropic", "openai", "mcp", "papermill", "ipywidgets", "markdown_it", "httpx2", "rich"]
LOADED = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
before = time.perf_counter()
shell.run_line_magic("load_ext", "aof_nb")
seconds = time.perf_counter() - before
print(json.dumps([seconds, sorted(name for name in sys.modules if "." not in name)]))
"""


@pytest.fixture
def shell() -> Iterator[Any]:
    made = InteractiveShell()
    yield made
    set_ambient_approver(None)


def state(shell: Any) -> tuple[Any, ...]:
    magics = shell.magics_manager.magics
    return (
        {kind: frozenset(magics[kind]) for kind in magics},
        list(shell.input_transformers_post),
        frozenset(shell.magics_manager.registry),
        list(shell.Completer.custom_matchers),
        ambient_approver(),
    )


def test_unload_takes_all_back(shell: Any) -> None:
    def other(lines: list[str]) -> list[str]:
        return lines

    shell.input_transformers_post.append(other)
    before = state(shell)
    aof_nb.load_ipython_extension(shell)
    loaded = shell.magics_manager.magics
    assert {"aof", "aof_agent", "aof_mcp"} <= set(loaded["cell"])
    assert "aof" in loaded["line"]
    aof_nb.unload_ipython_extension(shell)
    assert state(shell) == before
    aof_nb.unload_ipython_extension(shell)
    assert state(shell) == before


def test_loading_twice_is_loading_once(shell: Any) -> None:
    aof_nb.load_ipython_extension(shell)
    aof_nb.load_ipython_extension(shell)
    assert shell.input_transformers_post.count(await_magics) == 1
    shell.run_line_magic("reload_ext", "aof_nb")
    assert len(shell.input_transformers_post) == 1
    assert len(shell.Completer.custom_matchers) == 1


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("%%aof s", ["sre"]),
        ("%aof ask ", ["dba", "sre"]),
        ("r = %aof too", ["tools"]),
        ("%aof tools d", ["dba"]),
        ("%%aof sre --ap", ["--approve"]),
        ("%%aof sre --approve n", ["never"]),
        ("%%aof sre --approve ", ["ask", "never", "all"]),
    ],
)
def test_what_is_typed_is_completed(shell: Any, typed: str, completed: list[str]) -> None:
    aof_nb.load_ipython_extension(shell)
    shell.user_ns["sre"] = shell.user_ns["dba"] = aof_nb.Agent(model="script:x.yaml")
    with provisionalcompleter():
        found = list(shell.Completer.completions(typed, len(typed)))
    assert [each.text for each in found] == completed
    assert {typed[: each.start] + each.text for each in found} == {
        typed[: typed.rindex(" ") + 1] + each for each in completed
    }


def test_other_text_is_not_completed(shell: Any) -> None:
    completion = Completion(shell)
    for line in ("%%time a", "print(%aof", "aof ask ", "%%aof_agent s", "%%aof sre x"):
        assert not completion.candidates(line)


def test_loading_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", LOADED]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, modules = json.loads(out.splitlines()[-1])
    print(f"%load_ext aof_nb: {seconds * 1000:.0f} ms")
    assert not set(HEAVY) & set(modules)
    assert seconds < 2
