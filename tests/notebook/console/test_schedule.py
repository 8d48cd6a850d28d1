"""Entries of schedulers: what they run is what was filled in, whatever that is."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console import schedule
from aof_nb.notebook.console.cron import parse_times
from aof_nb.notebook.console.schedule import Job, as_text, cron_entry, cron_job, systemd_units
from aof_nb.runbooks.parameters import Parameter, declared_parameters, fitted

NIGHTLY = parse_times("30 3 * * 1-5")
ODD = 'it\'s $HOME `id` "100%" \\x ; & | (a) ${B} $(touch bad) *'
PARAMETERS = (
    declared_parameters(
        [
            {
                "source": "text = ''\nhosts = []\nn: int | str = 1\nrun_key = ''",
                "metadata": {"tags": ["parameters"]},
            }
        ]
    )
    or []
)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.delenv("AOF_STATE_DIR", raising=False)
    directory = tmp_path / "it's 100% $mine"
    directory.mkdir()
    return Job(
        notebook=directory / "-clean up.ipynb",
        directory=directory,
        parameters=PARAMETERS,
        values={"text": ODD, "hosts": ["a b", 'c"d'], "n": "5"},
        secrets={"run_key": "RUN_KEY"},
        time_limit=600.0,
    )


def given(arguments: list[str]) -> dict[str, str]:
    pairs = [each for before, each in itertools.pairwise(arguments) if before == "-p"]
    return dict(each.split("=", 1) for each in pairs)


def test_what_a_cron_line_runs_is_what_was_filled_in(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, kept = tmp_path / "aofctl", tmp_path / "kept"
    recorder.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"open({str(kept)!r}, 'w').write('\\0'.join([os.getcwd(), *sys.argv[1:]]))\n"
    )
    recorder.chmod(0o755)
    monkeypatch.setattr(schedule, "_program", lambda: str(recorder))
    line = cron_entry(job, NIGHTLY)
    assert line.count("\n") == 1
    times, command = re.fullmatch(r"((?:\S+ ){5})(.*)\n", line).groups()  # type: ignore[union-attr]
    assert times == "30 3 * * 1-5 "
    assert not re.search(r"(?<!\\)%", command), "cron takes a bare % for a line end"
    environment = {"RUN_KEY": "se cret'", "HOME": "/elsewhere", "PATH": "/usr/bin:/bin"}
    subprocess.run(["/bin/sh", "-c", command.replace("\\%", "%")], check=True, env=environment)
    where, *arguments = kept.read_text().split("\0")
    assert where == str(job.directory)
    assert arguments[:4] == ["run", "./-clean up.ipynb", "--approve", "ask"]
    values = given(arguments)
    assert values.pop("run_key") == "se cret'"
    assert fitted(PARAMETERS, values) == job.values
    assert not list(job.directory.glob("bad"))


@pytest.mark.parametrize("value", ["two\nlines", "back\\\\slashes", "\\%", "long" * 300])
def test_what_a_cron_line_cannot_hold_is_said(job: Job, value: str) -> None:
    odd = Job(job.notebook, job.directory, PARAMETERS, {"text": value})
    with pytest.raises(ConfigurationError) as raised:
        cron_entry(odd, NIGHTLY)
    assert "systemd" in raised.value.remedy
    assert systemd_units(odd, NIGHTLY)


def test_systemd_takes_the_units_as_they_are_meant(job: Job, tmp_path: Path) -> None:
    units = systemd_units(job, NIGHTLY)
    execute = next(line for line in units.splitlines() if line.startswith("ExecStart="))
    assert '"-p" "run_key=${RUN_KEY}"' in execute
    assert "$$HOME" in execute
    assert '\\"100%%\\" \\\\x' in execute
    assert "$${B} $$(touch bad)" in execute
    assert "TimeoutStartSec=720" in units
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    service, timer = units.split(f"# ~/.config/systemd/user/{job.name}.timer\n")
    (tmp_path / f"{job.name}.service").write_text(service)
    (tmp_path / f"{job.name}.timer").write_text(timer)
    command = [program, "verify", "--man=no", str(tmp_path / f"{job.name}.timer")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert job.name not in said.stderr, said.stderr


def test_a_value_cannot_leave_its_line_in_a_unit(job: Job) -> None:
    odd = Job(job.notebook, job.directory, PARAMETERS, {"text": "a\nExecStartPre=/bin/touch bad"})
    assert not re.search(r"^ExecStartPre", systemd_units(odd, NIGHTLY), re.MULTILINE)


def test_a_cron_job_is_yaml_that_runs_the_same(job: Job) -> None:
    made: Any = YAML(typ="safe").load(cron_job(job, NIGHTLY))
    assert made["spec"]["schedule"] == "30 3 * * 1-5"
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", made["metadata"]["name"])
    work = made["spec"]["jobTemplate"]["spec"]
    assert work["activeDeadlineSeconds"] == 720
    [container] = work["template"]["spec"]["containers"]
    values = given(container["args"])
    assert values.pop("run_key") == "$(RUN_KEY)"
    # What Kubernetes makes of it: $$( stands for $(.
    plain = {name: each.replace("$$(", "$(") for name, each in values.items()}
    assert fitted(PARAMETERS, plain) == job.values
    assert values["text"].count("$$(") == 1
    [_, variable] = container["env"]
    assert variable["valueFrom"]["secretKeyRef"]["key"] == "RUN_KEY"


@pytest.mark.parametrize(
    ("kind", "value"),
    [(str, "null"), (str, "a=b"), (int, 3), (bool, False), (dict, {"a": None}), (Any, "1.10")],
)
def test_a_value_is_read_as_itself_again(kind: Any, value: Any) -> None:
    parameter = Parameter("p", kind, "", "0")
    text = as_text(parameter, value)
    assert fitted([parameter], {"p": text}) == fitted([parameter], {"p": value})


@pytest.mark.parametrize(
    ("text", "calendar"),
    [
        ("@daily", ["*-*-* 00:00:00"]),
        ("*/20 8-18/5 * jan,JUN *", ["*-01,06-* 08,13,18:00,20,40:00"]),
        ("0 0 1 * 7", ["*-*-01 00:00:00", "Sun *-*-* 00:00:00"]),
        ("0 0 */10 * fri", ["Fri *-*-01,11,21,31 00:00:00"]),
        ("5/30 * * * *", ["*-*-* *:05,35:00"]),
    ],
)
def test_times_mean_the_same_to_systemd(text: str, calendar: list[str]) -> None:
    assert parse_times(text).on_calendar() == calendar
    if program := shutil.which("systemd-analyze"):
        subprocess.run([program, "calendar", *calendar], check=True, capture_output=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "* * * * * root",
        "@reboot",
        "* * * * 8",
        "1,,2 * * * *",
        "* * * * *\n* * * * * evil",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_times(text)
