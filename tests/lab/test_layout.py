"""The log volume: its quota holds, and a log that grows is put aside."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aof_nb.lab.layout import LogVolume


def test_a_full_volume_takes_no_line(tmp_path: Path) -> None:
    volume = LogVolume(tmp_path, quota=10)
    volume.append(tmp_path / "a.log", "1234567")
    with pytest.raises(OSError, match="No space left") as caught:
        volume.append(tmp_path / "b.log", "12")
    assert caught.value.errno == errno.ENOSPC
    volume.append(tmp_path / "b.log", "1")
    assert volume.used() == 10
    assert volume.files() == {"a.log": 8, "b.log": 2}


def test_a_large_log_is_rotated_and_the_audit_log_leaves_the_volume(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    volume = LogVolume(logs, quota=8 * 2**20)
    audited = tmp_path / "audited.log"
    line = "x" * (2**20 - 1)
    for name, archive in (("audit.log", audited), ("checkout.log", None)):
        volume.append(logs / name, line, archive=archive)
        volume.append(logs / name, "last", archive=archive)
    assert audited.read_text() == f"{line}\nlast\n"
    assert [path.name for path in volume.rotated()] == ["checkout.log.1"]
    assert list(volume.files()) == ["checkout.log.1"]


def test_threads_that_rotate_at_once_fail_no_line(tmp_path: Path) -> None:
    volume = LogVolume(tmp_path, quota=2**30)
    path = tmp_path / "audit.log"
    with ThreadPoolExecutor(8) as pool:
        for written in [
            pool.submit(volume.append, path, "x" * 2**18, archive=tmp_path / f"{n}.old")
            for n in range(64)
        ]:
            written.result()
    assert volume.used() == 64 * (2**18 + 1)
