"""Entries for cron, systemd and Kubernetes that run a runbook; to copy, none is installed."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console.cron import Times
from aof_nb.runbooks.parameters import Parameter, ParameterError, fitted

_CRON_CHARS = 990
"""The longest command that every cron takes is 999 characters."""
_GRACE_SECONDS = 120
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHORTEST_NAME, _LONGEST_NAME = "runbook", 40


@dataclass(frozen=True)
class Job:
    """What is run.

    Args:
        notebook: The runbook's file.
        directory: Where it is run from; executed notebooks go to ``runs`` below it.
        parameters: What the runbook declares.
        values: Values for its parameters.
        secrets: The names of environment variables that hold values, by parameter.
        approve: What happens where its agents' policies ask.
        time_limit: Seconds for a whole run; None for as long as it takes.
    """

    notebook: Path
    directory: Path
    parameters: Sequence[Parameter] = ()
    values: Mapping[str, Any] | None = None
    secrets: Mapping[str, str] | None = None
    approve: str = "ask"
    time_limit: float | None = None

    @property
    def name(self) -> str:
        """What it is called where only small letters, digits and - are taken."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.notebook.stem.lower())[:_LONGEST_NAME].strip("-")
        return f"aof-{plain or _SHORTEST_NAME}"

    def arguments(self, secret: str, escape: Any = str) -> list[str]:
        """The command's arguments.

        Args:
            secret: How the value of an environment variable is written, with ``{}`` for its name.
            escape: What is done to each other text.
        """
        notebook = self.notebook.resolve()
        inside = notebook.is_relative_to(self.directory.resolve())
        place = notebook.relative_to(self.directory.resolve()) if inside else notebook
        # A name that begins with a dash would be taken for an option.
        said = f"./{place}" if str(place).startswith("-") else str(place)
        given = [escape(f"{name}={each}") for name, each in self._texts().items()]
        hidden = [
            f"{escape(name)}={secret.format(variable)}"
            for name, variable in (self.secrets or {}).items()
        ]
        words = ["run", said, "--approve", self.approve]
        return [*map(escape, words), *(word for each in (*given, *hidden) for word in ("-p", each))]

    def _texts(self) -> dict[str, str]:
        known = {each.name: each for each in self.parameters}
        values = (self.values or {}).items()
        return {name: as_text(known[name], value) for name, value in values if name in known}


def looks_like_variable(text: str) -> bool:
    """Whether a text can be the name of an environment variable."""
    return _VARIABLE.fullmatch(text) is not None


def as_text(parameter: Parameter, value: Any) -> str:
    """A value as ``-p`` takes it, so that it is read as the same value again.

    Raises:
        ConfigurationError: If it cannot be written so.

    Example:
        >>> as_text(Parameter("hosts", list, "list", "[]"), ["a", "b"])
        '["a", "b"]'
    """
    meant = fitted([parameter], {parameter.name: value})
    candidates = [value] if isinstance(value, str) else []
    for text in (*candidates, json.dumps(value, ensure_ascii=False), repr(value)):
        try:
            if fitted([parameter], {parameter.name: text}) == meant and "\0" not in text:
                return text
        except ParameterError:
            continue
    raise ConfigurationError(
        f"the value of {parameter.name} cannot be given on a command line",
        remedy="make it the notebook's default",
    )


def cron_entry(job: Job, times: Times) -> str:
    """A line for ``crontab -e``.

    Raises:
        ConfigurationError: If a value cannot stand in such a line.
    """
    words = [
        shlex.quote(_program()),
        # What the variable holds may have spaces: it is quoted where the shell puts it in.
        *(_shell_word(each) for each in job.arguments("\0{}\0")),
    ]
    command = f"cd {shlex.quote(str(job.directory.resolve()))} && {_environment()}{' '.join(words)}"
    if re.search(r"[\r\n]", command) or re.search(r"\\[\\%]", command):
        raise ConfigurationError(
            "a value has line ends or backslashes that a line of cron cannot hold",
            remedy="take the systemd timer or the Kubernetes CronJob",
        )
    if len(command) > _CRON_CHARS:
        raise ConfigurationError(
            f"the command is {len(command)} characters long, and cron takes {_CRON_CHARS}",
            remedy="take the systemd timer or the Kubernetes CronJob",
        )
    # cron takes a bare % for a line end.
    return f"{times.text} {command.replace('%', chr(92) + '%')}\n"


def _shell_word(text: str) -> str:
    if "\0" not in text:
        return shlex.quote(text)
    before, variable, _ = text.split("\0")
    return f'{shlex.quote(before)}"${{{variable}}}"'


def _environment() -> str:
    state = os.environ.get("AOF_STATE_DIR")
    return f"AOF_STATE_DIR={shlex.quote(_absolute(state))} " if state else ""


def systemd_units(job: Job, times: Times) -> str:
    """A service and its timer, for ``~/.config/systemd/user``."""
    words = [_systemd_word(_program()), *job.arguments("${{{}}}", _systemd_text)]
    # An argument is quoted as a whole: a variable within quotes stays one word.
    command = " ".join([words[0], *(f'"{each}"' for each in words[1:])])
    state = os.environ.get("AOF_STATE_DIR")
    lines = [
        f"# ~/.config/systemd/user/{job.name}.service",
        "[Unit]",
        f"Description={_one_line(job.notebook.name)}",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={_systemd_path(job.directory.resolve())}",
    ]
    if state:
        lines.append(
            f"Environment={_systemd_word(f'AOF_STATE_DIR={_absolute(state)}', plain=True)}"
        )
    if job.secrets:
        names = ", ".join(job.secrets.values())
        lines += [
            f"# a file of mode 600 that sets {names}",
            f"EnvironmentFile=%h/.config/{job.name}.env",
        ]
    lines.append(f"ExecStart={command}")
    # A run that waits for an approval has not failed.
    lines.append("SuccessExitStatus=3")
    if job.time_limit is not None:
        lines.append(f"TimeoutStartSec={round(job.time_limit) + _GRACE_SECONDS}")
    lines += [
        "",
        f"# ~/.config/systemd/user/{job.name}.timer",
        "[Timer]",
        *(f"OnCalendar={each}" for each in times.on_calendar()),
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
        "",
        f"# then: systemctl --user daemon-reload && systemctl --user enable --now {job.name}.timer",
    ]
    return "\n".join(lines) + "\n"


def _systemd_text(text: str) -> str:
    """Text within double quotes of ``ExecStart``."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    )
    escaped = _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", escaped)
    return escaped.replace("%", "%%").replace("$", "$$")


def _systemd_word(text: str, *, plain: bool = False) -> str:
    said = _systemd_text(text)
    # Only commands put variables in.
    return f'"{said.replace("$$", "$") if plain else said}"'


def _systemd_path(path: Path) -> str:
    return str(path).replace("%", "%%")


def cron_job(job: Job, times: Times) -> str:
    """A CronJob of Kubernetes.

    The image and the claim are for who knows the cluster to fill in.
    """
    arguments = [each.replace("\0", "") for each in job.arguments("\0$({})\0", _kubernetes_text)]
    lines = [
        "# the image has aof-nb[runbooks], and the runbooks below /runbooks",
        "apiVersion: batch/v1",
        "kind: CronJob",
        "metadata:",
        f"  name: {job.name}",
        "spec:",
        f"  schedule: {json.dumps(times.text)}",
        "  concurrencyPolicy: Forbid",
        "  jobTemplate:",
        "    spec:",
        "      backoffLimit: 0",
        *_deadline(job),
        "      template:",
        "        spec:",
        "          restartPolicy: Never",
        "          containers:",
        "            - name: runbook",
        "              image: IMAGE",
        "              workingDir: /runbooks",
        '              command: ["aofctl"]',
        "              args:",
        *(f"                - {json.dumps(each, ensure_ascii=True)}" for each in arguments),
        "              env:",
        "                - name: AOF_STATE_DIR",
        "                  value: /state",
    ]
    for variable in dict.fromkeys((job.secrets or {}).values()):
        lines += [
            f"                - name: {variable}",
            "                  valueFrom:",
            "                    secretKeyRef:",
            f"                      name: {job.name}",
            f"                      key: {variable}",
        ]
    lines += [
        "              volumeMounts:",
        "                - {name: state, mountPath: /state}",
        "          volumes:",
        "            - name: state",
        "              persistentVolumeClaim:",
        "                claimName: aof-state",
    ]
    return "\n".join(lines) + "\n"


def _deadline(job: Job) -> list[str]:
    if job.time_limit is None:
        return []
    return [f"      activeDeadlineSeconds: {round(job.time_limit) + _GRACE_SECONDS}"]


def _kubernetes_text(text: str) -> str:
    # Only $( begins a reference; $$( stands for the characters themselves.
    return text.replace("$(", "$$(")


def _program() -> str:
    """The command of this Python: what runs a schedule has another search path."""
    beside = Path(sys.executable).with_name("aofctl")
    return str(beside) if beside.exists() else "aofctl"


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _one_line(text: str) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", text).split()).replace("%", "%%")
