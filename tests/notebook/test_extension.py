"""Loading, unloading, and what loading costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import aof_nb
from aof_nb.notebook.settings import AOF, settings_of
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
        list(shell.configurables),
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


def test_an_old_ipykernel_is_named_at_load(
    shell: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ipykernel._version.version_info", (6, 31, 0))
    aof_nb.load_ipython_extension(shell)
    assert capsys.readouterr().err == ""
    shell.kernel = object()
    aof_nb.load_ipython_extension(shell)
    said = capsys.readouterr().err
    assert "ipykernel 6.31 takes no clicks" in said
    assert 'pip install "ipykernel>=7.1"' in said
    monkeypatch.undo()
    aof_nb.load_ipython_extension(shell)
    assert capsys.readouterr().err == ""


def test_the_settings_are_checked_and_outlive_a_reload(
    shell: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    aof_nb.load_ipython_extension(shell)
    shell.run_line_magic("config", "AOF")
    shown = capsys.readouterr().out
    for name in ("model", "approve", "session", "max_turns", "rate", "autosave", "theme"):
        assert f"AOF.{name}=" in shown
    for wrong, said in (
        ('AOF.model = "opnai:gpt-5"', "did you mean openai:gpt-5"),
        ('AOF.approve = "yes"', "any of ['ask', 'never', 'all', 'dry-run']"),
        ("AOF.rate = 1000", "60"),
        ("AOF.max_turns = 0", "1"),
    ):
        shell.run_line_magic("config", wrong)
        assert said in caplog.text.splitlines()[-1]
    held, untouched = settings_of(shell), AOF()
    for name in AOF.class_trait_names(config=True):
        assert getattr(held, name) == getattr(untouched, name)
    shell.run_line_magic("config", "AOF.rte = 5")
    assert "Did you mean `rate`" in str(recwarn.pop(UserWarning).message)
    shell.run_line_magic("config", "AOF.rate = 5")
    shell.run_line_magic("reload_ext", "aof_nb")
    assert settings_of(shell).interval == 0.2
    aof_nb.unload_ipython_extension(shell)
    assert settings_of(shell).rate == 20


def test_settings_of_the_users_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    for model, expected in (("openai:gpt-5", "openai:gpt-5"), ("nothing", None)):
        made: Any = InteractiveShell(config=Config({"AOF": {"model": model}}))
        aof_nb.load_ipython_extension(made)
        assert settings_of(made).model == expected
    assert "IPython's configuration is left aside: AOF.model: " in capsys.readouterr().err
    set_ambient_approver(None)


def test_loading_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", LOADED]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, modules = json.loads(out.splitlines()[-1])
    print(f"%load_ext aof_nb: {seconds * 1000:.0f} ms")
    assert not set(HEAVY) & set(modules)
    assert seconds < 2
