"""A pytest plugin: ``pytest --aof-notebooks`` tests notebooks on their cassettes.

pytest loads it in every session of an environment that has aof_nb; it does nothing, and imports
nothing, until notebooks are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aof_nb.runbooks import NotebookTestResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares ``--aof-notebooks``, its companions, and the same in the configuration file."""
    group = parser.getgroup("aof", "notebooks with agents (aof_nb)")
    group.addoption(
        "--aof-notebooks",
        action="store_true",
        help="Test notebooks: execute them on their cassettes, and compare their outputs.",
    )
    group.addoption(
        "--aof-update",
        action="store_true",
        help="Run the notebooks for real, and write cassettes and saved outputs anew.",
    )
    group.addoption(
        "--aof-sanitize-with",
        metavar="FILE",
        help="What else to take out of outputs before they are compared, in nbval's form.",
    )
    parser.addini("aof_notebooks", "Test notebooks, as --aof-notebooks.", type="bool")
    parser.addini("aof_sanitize_with", "A sanitize file, as --aof-sanitize-with.", type="string")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collects notebooks, if they are asked for."""
    config = parent.config
    wanted = (
        config.getoption("aof_notebooks")
        or config.getoption("aof_update")
        or config.getini("aof_notebooks")
    )
    if not wanted or file_path.suffix != ".ipynb":
        return None
    collector: pytest.Collector = NotebookFile.from_parent(parent, path=file_path)
    return collector


class NotebookFile(pytest.File):
    """A notebook: one test."""

    def collect(self) -> Iterator[pytest.Item]:
        """The notebook's only test."""
        yield NotebookItem.from_parent(self, name="cassette")


class NotebookFailed(Exception):
    """A notebook has not passed.

    Args:
        result: What came of it.
    """

    def __init__(self, result: NotebookTestResult) -> None:
        super().__init__(f"{len(result.problems)} problems in {result.path}")
        self.result = result


class NotebookItem(pytest.Item):
    """The test of one notebook."""

    def runtest(self) -> None:
        """Executes the notebook.

        Raises:
            NotebookFailed: If something is wrong with it.
        """
        import asyncio

        from aof_nb.runbooks import test_notebook

        result = asyncio.run(
            test_notebook(
                self.path,
                update=self.config.getoption("aof_update"),
                sanitize_with=self._sanitize_file(),
            )
        )
        if result.notes:
            self.add_report_section("call", "notes", "\n".join(result.notes))
        self.user_properties.append(("agent_runs", result.runs))
        if not result.passed:
            raise NotebookFailed(result)

    def _sanitize_file(self) -> Path | None:
        given = self.config.getoption("aof_sanitize_with")
        if given:
            return self.config.invocation_params.dir / str(given)
        if configured := self.config.getini("aof_sanitize_with"):
            return (self.config.inipath or self.config.rootpath / "_").parent / str(configured)
        return None

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What pytest shows of a failure: the cells, and what has changed."""
        from aof_nb.errors import AofError

        error = excinfo.value
        if isinstance(error, NotebookFailed):
            told = []
            for problem in error.result.problems:
                told.append(str(problem))
                if problem.traceback:
                    told.append(problem.traceback)
            return "\n\n".join(told)
        if isinstance(error, AofError):
            return "\n".join([error.message, *([f"→ {error.remedy}"] if error.remedy else [])])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test is."""
        return self.path, None, f"{self.path.name}"
