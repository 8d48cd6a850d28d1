"""Tests a notebook: executes it on its cassette, and compares outputs with the saved ones.

What is executed anew are the plain cells; what agents' runs are made of (responses, tools'
outcomes, approvals) comes from the cassette beside the notebook. A cell that looks at the world
is tagged ``live``: a replay does not execute it and keeps what is saved of it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.errors import ConfigurationError
from aof_nb.journal.cassette import cassette_beside
from aof_nb.journal.recording import State, read_recordings
from aof_nb.journal.replay import OTHERWISE_VARIABLE, PACE_VARIABLE, RECORD_VARIABLE, VARIABLE
from aof_nb.runbooks.cell_checks import CellChecks, CellProblem
from aof_nb.runbooks.metadata import cell_metadata
from aof_nb.runbooks.prepared import read_notebook
from aof_nb.runbooks.progress import titles
from aof_nb.runbooks.run import inspect_notebook
from aof_nb.runbooks.sanitizers import Sanitizers, sanitizers

if TYPE_CHECKING:
    from aof_nb.policy import ApproveMode, Approver, Policy

SKIPPED = "nbval-skip"
"""nbval's tag of a cell that no test executes."""
NOT_COMPARED = "nbval-ignore-output"
"""nbval's tag of a cell that is executed, and whose outputs are not compared."""

_OURS = (
    VARIABLE,
    OTHERWISE_VARIABLE,
    PACE_VARIABLE,
    RECORD_VARIABLE,
    "AOF_APPROVER",
    "AOF_FRONTEND",
    "AOF_HEADLESS",
)
_ASKS = re.compile(r"\A\s*%%aof\s|^(?!\s*#).*%aof\s+ask\b", re.MULTILINE)
_PROMPT_CHARS = 60
_TAG_IT = "if it looks at the world, such as what a tool has changed, tag it 'live'"


@dataclass(frozen=True)
class NotebookTestResult:
    """What came of testing a notebook.

    Args:
        path: The notebook.
        problems: What is wrong, by cell; none if it has passed.
        notes: What else there is to know.
        cells: How many cells were executed.
        runs: How many agents' runs came from the cassette, or went into it.
        updated: Whether the cassette and the saved outputs were written anew.
        duration: Seconds.
        notebook: The notebook as executed, as nbformat's node; None if it was not.
    """

    path: Path
    problems: tuple[CellProblem, ...] = ()
    notes: tuple[str, ...] = ()
    cells: int = 0
    runs: int = 0
    updated: bool = False
    duration: float = 0.0
    notebook: Any = None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


async def test_notebook(
    path: str | Path,
    *,
    update: bool = False,
    live: bool = False,
    sanitize_with: str | Path | None = None,
    approve: ApproveMode | None = None,
    approver: Approver | None = None,
    timeout: float | None = None,  # noqa: ASYNC109  the cell that took too long is to be named
) -> NotebookTestResult:
    """Executes a notebook in a kernel of this Python, and compares its outputs with the saved ones.

    Agents' runs are replayed from the cassette beside the notebook (``NAME.journal.jsonl``):
    without a network, without a key, without side effects.

    Args:
        path: The notebook.
        update: Executes it for real instead, with its models and tools, and writes the cassette
            and the saved outputs anew. Then it is replayed, to see that it repeats.
        live: Executes it for real, and writes nothing. What agents answer and what `live` cells
            show is not compared.
        sanitize_with: A sanitize file in nbval's form.
        approve: With `update` and `live`, the default of its agents' approvals; ``AOF_APPROVE``
            if None, as in any headless execution.
        approver: With `update` and `live`, who is asked for approvals; nobody if None.
        timeout: Seconds for an execution; the notebook's ``time_limit`` if not given.

    Raises:
        ConfigurationError: If it is no notebook that can be executed, or a sanitizer is wrong.
        JournalError: If the cassette cannot be read or written.

    Example:
        >>> async def check():
        ...     result = await test_notebook("notebooks/getting_started.ipynb")
        ...     for problem in result.problems:
        ...         print(problem)
        ...     return result.passed
    """
    began = time.monotonic()
    test = _Test(Path(path), sanitize_with, timeout)
    if update or live:
        async with _for_real(approve, approver, test.bound) as environment:
            result = await (test.update(environment) if update else test.live(environment))
    else:
        result = await test.replay()
    return replace(result, duration=time.monotonic() - began)


test_notebook.__test__ = False  # type: ignore[attr-defined]  # it is no test of pytest's


class _Test:
    """One notebook, read and about to be tested."""

    def __init__(self, path: Path, sanitize_with: str | Path | None, timeout: float | None) -> None:
        info = inspect_notebook(path)
        if info.language.lower() not in {"python", "ipython"}:
            raise ConfigurationError(
                f"{path} is a notebook in {info.language}",
                remedy="only Python notebooks can be tested",
            )
        said = info.metadata
        self._path = path
        self._bytes = path.read_bytes()
        self._notebook = read_notebook(path)
        self._cassette = cassette_beside(path.resolve())
        self._timeout = said.time_limit if timeout is None else timeout
        self._sanitizers: Sanitizers = sanitizers(
            [each.made() for each in said.sanitize],
            file=None if sanitize_with is None else Path(sanitize_with),
        )
        self.bound = None if said.policy is None else said.policy.made()

    async def replay(self) -> NotebookTestResult:
        """Executes the plain cells, and takes agents' runs from the cassette."""
        update = f"aofctl test --update {self._path}"
        recorded = self._cassette.exists()
        if not recorded and (asking := self._places(_asks_agent)):
            return NotebookTestResult(self._path, problems=(self._no_cassette(asking[0], update),))
        damage = [
            f"{self._cassette.name}: {each}"
            for recording in (read_recordings(self._cassette) if recorded else ())
            for each in recording.damage
        ]
        checks = self._checks(
            skipped=self._places(_is_live, _is_skipped),
            expected=self._saved(),
            cassette=self._cassette,
            remedy=f"undo the change, or record it: {update}",
        )
        await checks.run(self._directory, _replayed(self._cassette), self._timeout)
        return self._result(checks, [*damage, *self._of_replay(checks)])

    async def live(self, environment: Mapping[str, str]) -> NotebookTestResult:
        """Executes all cells for real, and compares what does not depend on the world."""
        expected = self._saved()
        for index in self._places(_asks_agent, _is_live):
            expected.pop(index, None)
        checks = self._checks(
            skipped=self._places(_is_skipped),
            expected=expected,
            remedy=f"undo the change, or record it: aofctl test --update {self._path}",
        )
        await checks.run(self._directory, environment, self._timeout)
        return self._result(checks, ())

    async def update(self, environment: Mapping[str, str]) -> NotebookTestResult:
        """Executes all cells for real, keeps what came of it, and looks whether it repeats."""
        skipped = self._places(_is_skipped)
        with tempfile.TemporaryDirectory(prefix="aof-test-") as directory:
            cassette = Path(directory) / self._cassette.name
            recorded = self._checks(skipped=skipped, expected={})
            await recorded.run(
                self._directory, {**environment, RECORD_VARIABLE: str(cassette)}, self._timeout
            )
            if recorded.problems:
                return self._result(recorded, ["nothing was written"])
            made = recorded.notebook
            outputs = {index: made.cells[index].outputs for index in recorded.executed}
            for index in self._places(_is_live, _not_compared):
                outputs.pop(index, None)
            repeated = self._checks(
                skipped={*skipped, *self._places(_is_live)},
                expected=outputs,
                notebook=made,
                cassette=cassette,
                before="recorded",
                remedy=f"{_TAG_IT}; if only a detail changes, add a sanitizer",
                failed_remedy=_TAG_IT,
            )
            await repeated.run(self._directory, _replayed(cassette), self._timeout)
            for index in set(repeated.executed) - set(repeated.problems):
                made.cells[index].outputs = repeated.notebook.cells[index].outputs
            self._write(cassette, made)
            notes = _waiting(cassette) if cassette.exists() else []
            return self._result(replace(repeated, notebook=made), notes, updated=True)

    @property
    def _directory(self) -> Path:
        return self._path.resolve().parent

    def _checks(self, *, notebook: Any = None, **options: Any) -> CellChecks:
        notebook = copy.deepcopy(self._notebook if notebook is None else notebook)
        return CellChecks(notebook, sanitizers=self._sanitizers, **options)

    def _places(self, *have: Callable[[Mapping[str, Any]], bool]) -> list[int]:
        """The places of the code cells that have one of some properties."""
        return [
            index
            for index, cell in enumerate(self._notebook.cells)
            if cell.cell_type == "code" and any(each(cell) for each in have)
        ]

    def _saved(self) -> dict[int, Sequence[Mapping[str, Any]]]:
        """The outputs that are saved; none of cells that were never executed."""
        return {
            index: cell.outputs
            for index, cell in enumerate(self._notebook.cells)
            if cell.cell_type == "code"
            and (cell.outputs or cell.execution_count is not None)
            and not _not_compared(cell)
        }

    def _no_cassette(self, index: int, update: str) -> CellProblem:
        named = titles(self._notebook.cells)
        place = list(named).index(index) + 1
        message = f"it asks an agent, and there is no cassette {self._cassette.name}"
        return CellProblem(place, named[index], message, remedy=f"record one: {update}")

    def _of_replay(self, checks: CellChecks) -> list[str]:
        notes = []
        if checks.executed and not set(checks.expected) & set(checks.executed):
            notes.append("no outputs are saved, so that none were compared")
        unused = checks.taken.unused
        live = set(self._places(_is_live)) & set(self._places(_asks_agent))
        if unused and not checks.problems and not live:
            agent, prompt = unused[0]
            prompt = prompt if len(prompt) <= _PROMPT_CHARS else f"{prompt[: _PROMPT_CHARS - 1]}…"
            runs = "a run" if len(unused) == 1 else f"{len(unused)} runs"
            notes.append(
                f"{self._cassette.name} holds {runs} that no cell asks for: "
                f"{agent}, {prompt!r}; --update drops what is not needed"
            )
        return notes

    def _result(
        self, checks: CellChecks, notes: Sequence[str], *, updated: bool = False
    ) -> NotebookTestResult:
        return NotebookTestResult(
            path=self._path,
            problems=tuple(checks.problems[index] for index in sorted(checks.problems)),
            notes=tuple(notes),
            cells=len(checks.executed),
            runs=checks.taken.runs,
            updated=updated,
            notebook=checks.notebook,
        )

    def _write(self, cassette: Path, notebook: Any) -> None:
        """Puts cassette and notebook in their places, each as a whole."""
        import nbformat

        if self._path.read_bytes() != self._bytes:
            raise ConfigurationError(
                f"{self._path} was changed while it was recorded; nothing was written",
                remedy="save it, leave it alone, and record again",
            )
        text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
        try:
            if cassette.exists():
                _put(cassette.read_bytes(), self._cassette)
            else:
                self._cassette.unlink(missing_ok=True)
            _put(f"{text}\n".encode(), self._path.resolve())
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename} cannot be written: {error.strerror}",
                remedy="make room or mend its permissions, and record again",
            ) from error


def _put(content: bytes, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        if path.exists():
            shutil.copymode(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _has_tag(cell: Mapping[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", ())


def _is_live(cell: Mapping[str, Any]) -> bool:
    return cell_metadata(cell).live


def _is_skipped(cell: Mapping[str, Any]) -> bool:
    """Whether no test executes it; a live cell has nbval's tag because nbval knows no other."""
    return _has_tag(cell, SKIPPED) and not _is_live(cell)


def _not_compared(cell: Mapping[str, Any]) -> bool:
    return _has_tag(cell, NOT_COMPARED)


def _asks_agent(cell: Mapping[str, Any]) -> bool:
    return _ASKS.search(cell["source"]) is not None


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OURS}


def _replayed(cassette: Path) -> dict[str, str]:
    """The environment of a replay: without keys, as what notebooks make of them is recorded."""
    kept = {
        name: value
        for name, value in _environment().items()
        if not name.endswith("_API_KEY") and name != "AOF_APPROVE"
    }
    return {**kept, VARIABLE: str(cassette)}


@contextlib.asynccontextmanager
async def _for_real(
    approve: ApproveMode | None, approver: Approver | None, bound: Policy | None
) -> AsyncGenerator[dict[str, str], None]:
    """The environment of an execution with real models and tools."""
    from aof_nb import approval_channel
    from aof_nb.policy import bounded

    environment = bounded(_environment(), bound)
    if approve is not None:
        environment["AOF_APPROVE"] = approve
    if approver is None or approve in {"never", "all"}:
        yield environment
        return
    async with approval_channel.serve(approver) as address:
        yield {**environment, approval_channel.VARIABLE: address}


def _waiting(cassette: Path) -> list[str]:
    return [
        f"the run of {each.begun.agent} waits for an approval, and so will every replay: "
        "record it on a terminal, or with --approve never|all"
        for each in read_recordings(cassette)
        if each.state is State.WAITING
    ]
