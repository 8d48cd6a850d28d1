"""Journals as lines, and followed: over torn lines, resumptions, to the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aof_nb import RunStatus
from aof_nb.errors import JournalError
from aof_nb.events import Notice
from aof_nb.journal.entries import Line, OtherLine, RunResumed, encode_line
from aof_nb.journal.journal import Journal
from aof_nb.journal.log_lines import LogLines, followed
from aof_nb.journal.recording import follow
from aof_nb.journal.runs import find_run, read_run
from tests.journal.scenes import ATTACK, incident
from tests.journal.test_summary import begun, ended, put


async def test_every_entry_that_says_something_is_a_line(state: Path) -> None:
    result = await incident("why?")
    lines = LogLines()
    shown = [lines.line(each) for each in read_run(result.run_id).lines]
    told = [each.partition(" ")[2].partition(" ")[2] for each in shown if each]
    assert told[0] == f"run {result.run_id} of sre, session inc-42: why?"
    assert "begun run_command: run_command: psql -c 'select pg_terminate_backend(4711)'" in told
    assert "approved restart by ines via notebook" in told
    assert "denied restart_2 by ines via notebook: payments <b>is fine</b>" in told
    assert any(each.startswith("error logs_2: logs, ") for each in told)
    assert told[-1].startswith("completed, 3 turns, 6 tool calls, ")
    assert all(len(each) <= 330 for each in shown)
    whole = LogLines(width=None)
    long = [whole.line(each) for each in read_run(result.run_id).lines]
    assert max(map(len, long)) > 10_000
    assert all("\n" not in each for each in long)


def test_lines_steer_no_terminal() -> None:
    line = LogLines().line(Line(0.0, Notice(f"a\x1b[2J\u202e\x07{ATTACK}")))
    assert line.isprintable()
    other = OtherLine(0.0, "x\x1b", {"a": "\x1b[2J", "b": [1, "\x07"]})
    assert LogLines().line(other).isprintable()


def test_the_time_of_a_line_is_the_wall_s() -> None:
    lines = LogLines()
    lines.line(Line(0.0, RunResumed(time=time.mktime((2026, 11, 26, 3, 14, 7, 0, 0, -1)))))
    assert lines.line(Line(1.25, Notice("x"))) == "2026-11-26 03:14:08.250 warning: x"


async def test_a_line_can_be_had_as_it_was_written(state: Path) -> None:
    result = await incident()
    lines = LogLines()
    path = find_run(result.run_id) / "journal.jsonl"
    raw = [lines.raw(each) for each in followed(path, follow=False) if not isinstance(each, str)]
    assert raw == path.read_text().splitlines()
    other = OtherLine(1.0, "new", {"a": 1})
    assert json.loads(lines.raw(other)) == {"at": 1.0, "type": "new", "a": 1}


class Follower:
    """Follows a journal in a thread, as another process would."""

    def __init__(self, path: Path) -> None:
        self.seen: list[Line | OtherLine | str] = []
        self._thread = threading.Thread(target=self._follow, args=(path,), daemon=True)
        self._thread.start()

    def _follow(self, path: Path) -> None:
        for each in followed(path, follow=True):
            self.seen.append(each)

    @property
    def kinds(self) -> list[str]:
        return [each if isinstance(each, str) else _kind(each) for each in self.seen]

    def until(self, condition: Callable[[], bool]) -> None:
        given_up = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < given_up, self.kinds
            time.sleep(0.01)

    def ended(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def _kind(line: Line | OtherLine) -> str:
    return line.type if isinstance(line, OtherLine) else str(line.entry.__struct_config__.tag)


def test_a_run_is_followed_over_its_resumption_to_its_end(state: Path) -> None:
    path = put(state, "r", begun("r"))
    journal = Journal(path.parent)
    follower = Follower(path)
    follower.until(lambda: follower.kinds == ["run_begun"])
    journal.write(Notice("one"))
    follower.until(lambda: len(follower.seen) == 2)
    with path.open("ab") as file:
        file.write(b'{"at":1,"type":"notice","text":"torn, and longer than what comes after it')
    time.sleep(0.3)
    assert follower.kinds == ["run_begun", "notice"]
    journal.close()
    follower.until(lambda: len(follower.seen) == 3)
    assert follower.kinds[2].startswith("the run was interrupted, and can be gone on with: aofctl")
    again = Journal(path.parent)
    again.write(RunResumed(time=5.0))
    follower.until(lambda: len(follower.seen) == 4)
    with path.open("ab") as file:
        file.write(ended(RunStatus.WAITING))
    again.close()
    follower.until(lambda: len(follower.seen) == 6)
    assert follower.kinds[3:5] == ["run_resumed", "run_ended"]
    assert follower.kinds[5].startswith("the run waits: aofctl approve r")
    last = Journal(path.parent)
    last.write(RunResumed(time=9.0))
    with path.open("ab") as file:
        file.write(ended())
    last.close()
    follower.ended()
    assert follower.kinds[6:] == ["run_resumed", "run_ended"]


def test_a_notebook_s_run_is_followed_to_its_end(state: Path) -> None:
    cell = b'{"at":2.0,"type":"cell_ended","cell":"a","status":"completed"}\n'
    first = b'{"at":0.0,"type":"playbook_begun","run_id":"n","time":1800000000.0}\n'
    path = put(state, "n", first, cell)
    journal = Journal(path.parent)
    follower = Follower(path)
    follower.until(lambda: follower.kinds == ["playbook_begun", "cell_ended"])
    with path.open("ab") as file:
        file.write(b'{"at":3.0,"type":"playbook_ended","status":"completed"}\n')
    journal.close()
    follower.ended()
    lines = LogLines()
    shown = [lines.line(each) for each in follower.seen if not isinstance(each, str)]
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1800000002.0))
    assert shown[1] == f"{began}.000 cell ended cell=a status=completed"


def test_without_follow_it_ends_where_the_journal_does(state: Path) -> None:
    path = put(state, "r", begun("r"), b"nonsense\n", encode_line(1.0, Notice("x")), b'{"at"')
    begins, damage, notice = followed(path, follow=False)
    assert isinstance(begins, Line)
    assert notice == Line(1.0, Notice("x"))
    assert isinstance(damage, OtherLine)
    assert (damage.type, damage.fields["line"]) == ("damage", 2)


def test_a_journal_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be read"):
        next(follow(tmp_path / "gone.jsonl"))
