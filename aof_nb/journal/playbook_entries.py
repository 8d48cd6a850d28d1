"""What the journal of a notebook's run holds: which cells were begun, and what came of them.

What the agents of its cells did is in journals of their own, which `aof_nb.journal.cell_runs`
knows by cell.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec


class PlaybookBegun(
    msgspec.Struct, frozen=True, tag="playbook_begun", kw_only=True, omit_defaults=True
):
    """The first entry of a notebook's run.

    Args:
        run_id: The run's id.
        notebook: The notebook's file, as an absolute path.
        time: When it began, in seconds of the Unix epoch.
        output: The executed notebook's file, as an absolute path.
        report: The report's file, as an absolute path.
        format: The version of the journal's format.
        title: What the notebook is called.
        digest: A hash of the notebook's file.
        parameters: The values that were given, without those that look secret.
        secrets: The names of the parameters whose values are not kept.
        approve: What happens where its agents' policies ask.
        timeout: Seconds for the whole run; None for as long as it takes.
        user: Who began it.
        host: On which machine.
        versions: Of aof_nb and Python.
    """

    run_id: str
    notebook: str
    time: float
    output: str
    report: str
    format: int = 0
    title: str = ""
    digest: str = ""
    parameters: dict[str, Any] = {}
    secrets: tuple[str, ...] = ()
    approve: str = "ask"
    timeout: float | None = None
    user: str = ""
    host: str = ""
    versions: dict[str, str] = {}


class PlaybookResumed(
    msgspec.Struct, frozen=True, tag="playbook_resumed", kw_only=True, omit_defaults=True
):
    """The run goes on in another kernel, at `time` (seconds of the Unix epoch).

    Args:
        time: When.
        user: Who said so.
        host: On which machine.
        notebook: Another file that the cells are taken from from here on.
        digest: A hash of that file.
        repeat: The ids of cells that are executed again by the user's word.
        skip: The ids of cells that are left out by the user's word.
        approve: What happens where its agents' policies ask.
        versions: Of aof_nb and Python.
    """

    time: float
    user: str = ""
    host: str = ""
    notebook: str = ""
    digest: str = ""
    repeat: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    approve: str = "ask"
    versions: dict[str, str] = {}


class KernelStarted(msgspec.Struct, frozen=True, tag="kernel_started"):
    """A kernel has started: its process, and the file by which that is known again."""

    pid: int
    connection: str


class CellBegun(msgspec.Struct, frozen=True, tag="cell_begun", kw_only=True, omit_defaults=True):
    """A code cell is about to be executed.

    Args:
        cell: The cell's id.
        place: Its place among the code cells, counted from 1.
        source: A hash of its source.
        time: When, in seconds of the Unix epoch.
        title: Its title.
        once: Whether it is not to be executed a second time without a word from the user.
    """

    cell: str
    place: int
    source: str
    time: float
    title: str = ""
    once: bool = False


class CellEnded(msgspec.Struct, frozen=True, tag="cell_ended", kw_only=True, omit_defaults=True):
    """A code cell has ended.

    Args:
        cell: The cell's id.
        status: ``completed``, ``failed``, ``interrupted``, ``waiting`` for an approval, or ``left``
            where it ended the notebook on purpose.
        duration: Seconds.
        error: What it failed with.
        outputs: What it has shown, of a cell that is not executed a second time.
        execution_count: The number that the kernel gave it.
    """

    cell: str
    status: str
    duration: float = 0.0
    error: str = ""
    outputs: list[dict[str, Any]] | None = None
    execution_count: int | None = None


class CellPassed(msgspec.Struct, frozen=True, tag="cell_passed", kw_only=True, omit_defaults=True):
    """A code cell is not executed.

    Args:
        cell: The cell's id.
        place: Its place among the code cells, counted from 1.
        time: When, in seconds of the Unix epoch.
        status: ``kept`` if it was executed before, and once is enough; ``skipped`` by the user's
            word.
        title: Its title.
    """

    cell: str
    place: int
    time: float
    status: str
    title: str = ""


class PlaybookEnded(
    msgspec.Struct, frozen=True, tag="playbook_ended", kw_only=True, omit_defaults=True
):
    """The run has ended, for now if it did not complete; `duration` in seconds, pauses left out."""

    status: str
    duration: float
    error: str = ""


PlaybookEntry: TypeAlias = (
    PlaybookBegun
    | PlaybookResumed
    | KernelStarted
    | CellBegun
    | CellEnded
    | CellPassed
    | PlaybookEnded
)


class PlaybookLine(NamedTuple):
    """An entry and when it was written, in seconds since the run began, pauses left out."""

    at: float
    entry: PlaybookEntry


class _Line(msgspec.Struct, frozen=True):
    at: float = 0.0
    type: str = ""


_decode = msgspec.json.Decoder(PlaybookEntry).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_KINDS = frozenset(each.__struct_config__.tag for each in PlaybookEntry.__args__)


def decode_playbook_line(data: bytes) -> PlaybookLine | None:
    r"""The entry of a line; None if it is of a kind that this version does not know.

    Raises:
        msgspec.DecodeError: If it is no entry.

    Example:
        >>> decode_playbook_line(b'{"at":2.5,"type":"kernel_started","pid":7,"connection":"k"}')
        PlaybookLine(at=2.5, entry=KernelStarted(pid=7, connection='k'))
    """
    try:
        line = _decode_line(data)
        return PlaybookLine(line.at, _decode(data)) if line.type in _KINDS else None
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
