"""The lab's life: begun afresh each time, once in a directory, whatever happened before."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from aof_nb.lab import Lab, LabError, Probe
from tests.lab.test_processes import eventually


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[[], Lab]]:
    place = tmp_path / "lab"
    yield lambda: Lab.up(place)
    for process in supervisors(place):
        process.terminate()
        process.wait(20)


def supervisors(place: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "aof_nb.lab.supervisor" in command and str(place) in command:
            found.append(process)
    return found


@pytest.mark.parametrize("fault", ["disk-full", "bad-config"])
def test_a_lab_that_went_down_broken_comes_up_whole(up: Callable[[], Lab], fault: str) -> None:
    lab = up()
    begun_with = [each["note"] for each in lab.deploy_history()]
    lab.inject(fault)
    lab.down()
    assert not (lab.directory / "supervisor.json").exists()

    again = up()
    assert again.wait_until_healthy().healthy
    assert again.status().fault is None
    assert [each["note"] for each in again.deploy_history()] == begun_with
    assert again.disk_usage()[0]["used_percent"] < 50
    assert again.read_config("checkout")["version"] == 2


def test_a_killed_supervisor_whose_pid_is_another_process_now(up: Callable[[], Lab]) -> None:
    lab = up()
    [supervisor] = supervisors(lab.directory)
    control = json.loads((lab.directory / "supervisor.json").read_text())
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait(20)
    control["pid"] = os.getpid()
    (lab.directory / "supervisor.json").write_text(json.dumps(control))

    with pytest.raises(LabError) as caught:
        Lab.attach(lab.directory)
    assert "no lab runs" in caught.value.message
    lab.down()
    assert up().wait_until_healthy().healthy


def test_only_one_supervisor_of_two_started_at_once(up: Callable[[], Lab]) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: up(), range(2))
    assert eventually(lambda: len(supervisors(one.directory)) == 1)
    assert one.list_services()[0]["pid"] == other.list_services()[0]["pid"]


def test_a_proxy_in_the_environment_is_not_asked(
    up: Callable[[], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    lab = up()
    lab.inject("db-lock")
    lab.restart_service("reports")
    assert lab.wait_until_healthy().healthy
    assert lab.query_metrics("checkout")


def test_a_lab_that_does_not_come_up_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "wait_until_healthy", lambda *_: Probe(10, 10, 0.0))
    with pytest.raises(LabError, match="did not come up"):
        Lab.up(tmp_path)
    assert supervisors(tmp_path) == []
