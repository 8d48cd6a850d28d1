"""What the commands about recorded runs share: finding the run, and its agent's file."""

from __future__ import annotations

from pathlib import Path

from aof_nb.cli.ending import usage_error
from aof_nb.errors import ConfigurationError
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.recording import Recording, read_recording
from aof_nb.journal.runs import find_run


def named_directory(named: str) -> Path:
    """The directory of the run that the user names; ends the command if there is none."""
    try:
        return find_run(named)
    except ConfigurationError as error:
        usage_error(error.message, error.remedy)


def named_run(named: str) -> Recording:
    """Reads the run that the user names; ends the command if there is none.

    Raises:
        JournalError: If its journal cannot be read.
    """
    return read_recording(named_directory(named) / FILE_NAME)


def agent_file(recording: Recording, given: Path | None, command: str) -> Path:
    """The file that declares a run's agent; ends the command if it is not known.

    Args:
        recording: The run.
        given: What the user says.
        command: ``resume`` or ``fork``.
    """
    source = given or Path(recording.begun.source)
    if given is None and not source.is_file():
        usage_error(*_unknown(recording, command))
    return source


def _unknown(recording: Recording, command: str) -> tuple[str, str]:
    """Why a run's agent is not known, and what to do."""
    begun, run_id = recording.begun, recording.run_id
    whose = f"the run {run_id} of agent {begun.agent!r}"
    name_it = f"name the agent's file: aofctl {command} {run_id} --agent FILE"
    if begun.source:
        return f"{whose} was begun from {begun.source}, which is gone", name_it
    python = f'agent.fork("{run_id}", from_turn=...)'
    notebook = python
    if command == "resume":
        python, notebook = f'await agent.resume("{run_id}")', f"%aof resume {run_id}"
    if begun.notebook_run and command == "resume":
        there = f"aofctl resume {begun.notebook_run}"
        return f"{whose} belongs to the run of a notebook", f"go on with that: {there}"
    if begun.cell:
        return f"{whose} was begun in a notebook", f"go on there: {notebook}; or {name_it}"
    there = f"{python}, in a notebook {notebook}" if python != notebook else python
    return f"{whose} was begun from Python", f"go on there: {there}; or {name_it}"
