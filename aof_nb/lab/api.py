"""The lab as Python sees it."""

from __future__ import annotations

import difflib
import fnmatch
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aof_nb.errors import AofError, MissingExtra
from aof_nb.lab.faults import FAULTS
from aof_nb.lab.layout import Layout, LogVolume, read_lines, version_before
from aof_nb.lab.lease import is_taken
from aof_nb.lab.loopback import client
from aof_nb.lab.probe import Probe, probe
from aof_nb.paths import state_dir

__all__ = ["FAULTS", "Lab", "LabError", "LabStatus", "Probe", "ServiceStatus"]

_START_SECONDS = 60.0
_BREAK_SECONDS = 30.0
_STOP_SECONDS = 15.0


class LabError(AofError):
    """The lab is not there, or cannot do what is asked."""


@dataclass(frozen=True)
class ServiceStatus:
    """One service: uptime in seconds, memory in bytes."""

    name: str
    state: str
    pid: int | None
    port: int | None
    uptime: float
    restarts: int
    memory: int
    config_version: int


@dataclass(frozen=True)
class LabStatus:
    """The services, and the fault that was brought about last."""

    services: tuple[ServiceStatus, ...]
    fault: str | None


class Lab:
    """A running lab. Make one with `Lab.up` or `Lab.attach`.

    Example:
        >>> def practise() -> None:
        ...     lab = Lab.up()
        ...     lab.inject("db-lock")
        ...     print(lab.probe())
        ...     lab.restart_service("reports")
        ...     print(lab.probe())
        ...     lab.down()
    """

    def __init__(self, directory: Path, control: dict[str, Any]) -> None:
        self.directory = directory
        self._layout = Layout(directory)
        self._control = control
        self._ports: dict[str, int] = self._ask("status")["ports"]

    @classmethod
    def up(cls, directory: Path | str | None = None) -> Lab:
        """Starts the lab, unless it runs there already, and waits until the shop takes orders.

        Args:
            directory: Where it lives; ``AOF_LAB_DIR`` or the state directory if not given.

        Raises:
            LabError: If it does not come up.
            MissingExtra: If the packages it needs are not installed.
        """
        place = _place(directory)
        if _running(place) is None:
            _check_extra()
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            with Layout(place).console.open("ab") as console:
                supervisor = subprocess.Popen(
                    [sys.executable, "-m", "aof_nb.lab.supervisor", str(place)],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                )
            deadline = time.monotonic() + _START_SECONDS
            while _running(place) is None:
                # A supervisor ends at once if another process has just started one here.
                ended = supervisor.poll() is not None and not is_taken(Layout(place).lease)
                if ended or time.monotonic() > deadline:
                    supervisor.terminate()
                    supervisor.wait(_STOP_SECONDS)
                    raise _did_not_start(place)
                time.sleep(0.05)
        lab = cls.attach(place)
        if lab.fault is None and not lab.wait_until_healthy(_START_SECONDS).healthy:
            lab.down()
            raise _did_not_start(place)
        return lab

    @classmethod
    def attach(cls, directory: Path | str | None = None) -> Lab:
        """The lab that runs in a directory.

        Raises:
            LabError: If none does.
        """
        place = _place(directory)
        control = _running(place)
        if control is None:
            raise LabError(f"no lab runs in {place}", remedy="start one: aofctl lab up")
        return cls(place, control)

    def down(self) -> None:
        """Stops the lab, and waits until its processes have ended."""
        import psutil

        if _running(self.directory) != self._control:
            return
        try:
            supervisor = psutil.Process(self._control["pid"])
            children = supervisor.children(recursive=True)
            supervisor.terminate()
        except psutil.NoSuchProcess:
            return
        _, left = psutil.wait_procs([supervisor, *children], timeout=_STOP_SECONDS)
        for process in left:
            process.kill()

    @property
    def fault(self) -> str | None:
        """The fault that was brought about last; None if none was."""
        fault: str | None = self._ask("status")["fault"]
        return fault

    def inject(self, fault: str) -> None:
        """Breaks the shop, and waits until customers notice.

        Args:
            fault: One of `FAULTS`.

        Raises:
            LabError: If there is no such fault, or it does not show.
        """
        if fault not in FAULTS:
            near = difflib.get_close_matches(fault, FAULTS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise LabError(
                f"there is no fault {fault!r}", remedy=f"{hint}there are: {', '.join(FAULTS)}"
            )
        self._ask("inject", fault=fault)
        if self._probe_until(healthy=False, seconds=_BREAK_SECONDS).healthy:
            raise LabError(f"{fault} does not show", remedy=f"see {self._layout.console}")

    def probe(self, seconds: float = 1.5) -> Probe:
        """Sends real orders to checkout.

        Args:
            seconds: For how long.
        """
        return probe(self._ports["checkout"], seconds)

    def wait_until_healthy(self, seconds: float = 20.0) -> Probe:
        """Probes until the shop is healthy or the time is up; returns the last probe."""
        return self._probe_until(healthy=True, seconds=seconds)

    def status(self) -> LabStatus:
        """The services, and the last fault."""
        status = self._ask("status")
        services = tuple(
            ServiceStatus(
                name=each["name"],
                state=each["state"],
                pid=each["pid"],
                port=each["port"],
                uptime=each["uptime_seconds"],
                restarts=each["restarts"],
                memory=each["memory_bytes"],
                config_version=each["config_version"],
            )
            for each in status["services"]
        )
        return LabStatus(services, status["fault"])

    def list_services(self) -> list[dict[str, Any]]:
        """Every service with its state, uptime, restarts, memory and configuration's version."""
        services: list[dict[str, Any]] = self._ask("status")["services"]
        return services

    def read_log(self, service: str, lines: int = 50) -> list[str]:
        """The last lines of a service's log, oldest first; as if it had not been rotated."""
        live = self._layout.log(self._known(service))
        read: list[str] = []
        for path in (live, live.with_name(live.name + ".1")):
            if len(read) < lines:
                read = _lines_of(path) + read
        return read[len(read) - min(len(read), max(0, lines)) :]

    def search_logs(
        self, pattern: str, service: str | None = None, limit: int = 50
    ) -> list[dict[str, str]]:
        """Log lines that match a regular expression, each with its service, newest last."""
        try:
            matches = re.compile(pattern).search
        except re.error as error:
            raise LabError(
                f"not a regular expression: {error}", remedy="escape ( [ and other signs"
            ) from error
        names = [self._known(service)] if service else self._names()
        found = [
            {"service": name, "line": line}
            for name in names
            for line in self.read_log(name, 100_000)
            if matches(line)
        ]
        return sorted(found, key=lambda each: each["line"][:20])[-max(1, limit) :]

    def query_metrics(self, service: str, name: str | None = None) -> list[dict[str, Any]]:
        """A service's Prometheus samples.

        Args:
            service: Which.
            name: A shell-style pattern over the sample's name; all but histogram buckets and
                creation times if not given.
        """
        from httpx2 import HTTPError
        from prometheus_client.parser import text_string_to_metric_families

        port = self._ports.get(self._known(service))
        if port is None:
            raise LabError(f"{service} has no metrics", remedy="ask checkout for its side")
        try:
            with client(port, timeout=5) as scraper:
                text = scraper.get("/metrics").text
        except HTTPError as error:
            raise LabError(
                f"{service} does not answer: {error}", remedy="see list_services"
            ) from error
        samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]
        return [
            {"name": sample.name, "labels": sample.labels, "value": sample.value}
            for sample in samples
            if (
                fnmatch.fnmatchcase(sample.name, name)
                if name
                else not sample.name.endswith(("_bucket", "_created"))
            )
        ]

    def read_config(self, service: str) -> dict[str, Any]:
        """The configuration a service runs with, and its version."""
        version = next(
            each["config_version"]
            for each in self.list_services()
            if each["name"] == self._known(service)
        )
        return {"service": service, "version": version, "config": self._config(service, version)}

    def diff_config(
        self, service: str, from_version: int | None = None, to_version: int | None = None
    ) -> dict[str, Any]:
        """What differs between two versions; by default, what the running one changed."""
        new = to_version or self.read_config(service)["version"]
        old = from_version or version_before(self._layout, service, new) or new
        before, after = (
            json.dumps(self._config(service, version), indent=2).splitlines()
            for version in (old, new)
        )
        names = f"{service} v{old}", f"{service} v{new}"
        diff = difflib.unified_diff(before, after, *names, lineterm="", n=1)
        return {"from_version": old, "to_version": new, "diff": "\n".join(diff)}

    def deploy_history(self, service: str | None = None) -> list[dict[str, Any]]:
        """Deploys with time, version, author and note, newest last."""
        name = self._known(service) if service else None
        deploys = read_lines(self._layout.deploys)
        return [each for each in deploys if name in {None, each["service"]}]

    def disk_usage(self) -> list[dict[str, Any]]:
        """Each volume with its quota, what is used and its largest files, in bytes."""
        volume = LogVolume(self._layout.logs)
        files = volume.files()
        largest = sorted(files.items(), key=lambda each: -each[1])[:8]
        used = sum(files.values())
        return [
            {
                "name": "logs",
                "quota_bytes": volume.quota,
                "used_bytes": used,
                "used_percent": round(100 * used / volume.quota, 1),
                "largest_files": dict(largest),
            }
        ]

    def restart_service(self, service: str) -> dict[str, Any]:
        """Restarts a service."""
        outcome: dict[str, Any] = self._ask("restart_service", service=service)
        return outcome

    def roll_back(self, service: str, version: int | None = None) -> dict[str, Any]:
        """Puts back an earlier configuration, by default the last before, and restarts."""
        outcome: dict[str, Any] = self._ask("roll_back", service=service, version=version)
        return outcome

    def free_space(self, volume: str) -> dict[str, Any]:
        """Deletes rotated log files from a volume."""
        outcome: dict[str, Any] = self._ask("free_space", volume=volume)
        return outcome

    def actions(self) -> list[dict[str, Any]]:
        """Every repair that was made, with its time."""
        return read_lines(self._layout.actions)

    def _probe_until(self, *, healthy: bool, seconds: float) -> Probe:
        deadline = time.monotonic() + seconds
        while (seen := self.probe(1.0)).healthy is not healthy and time.monotonic() < deadline:
            time.sleep(0.1)
        return seen

    def _ask(self, operation: str, **arguments: Any) -> Any:
        from httpx2 import HTTPError

        headers = {"Authorization": f"Bearer {self._control['token']}"}
        try:
            with client(self._control["port"], timeout=30) as supervisor:
                response = supervisor.post(f"/{operation}", json=arguments, headers=headers)
        except HTTPError as error:
            raise LabError(
                f"the lab's supervisor does not answer: {error}", remedy="aofctl lab up"
            ) from error
        if response.status_code == 500:
            raise LabError(f"{operation} failed", remedy=f"see {self._layout.console}")
        if response.status_code != 200:
            raise LabError(str(response.json()["error"]), remedy="see list_services")
        return response.json()

    def _config(self, service: str, version: int) -> Any:
        path = self._layout.config(service, version)
        if not path.exists():
            raise LabError(
                f"{service} has no configuration of version {version}",
                remedy="see deploy_history; only checkout is configured by file",
            )
        return json.loads(path.read_text(encoding="utf-8"))

    def _names(self) -> list[str]:
        return [each["name"] for each in self.list_services()]

    def _known(self, service: str) -> str:
        names = self._names()
        if service not in names:
            raise LabError(
                f"there is no service {service!r}", remedy=f"there are: {', '.join(names)}"
            )
        return service


def _place(directory: Path | str | None) -> Path:
    named = directory or os.environ.get("AOF_LAB_DIR")
    return Path(named).expanduser().resolve() if named else state_dir() / "lab"


def _running(place: Path) -> dict[str, Any] | None:
    """How to reach the supervisor of a lab; None if there is none."""
    layout = Layout(place)
    if not is_taken(layout.lease):
        return None
    try:
        control: dict[str, Any] = json.loads(layout.supervisor.read_text())
    except (OSError, ValueError):
        return None
    return control


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _check_extra() -> None:
    for package in ("prometheus_client", "psutil", "starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("the lab", extra="lab")


def _did_not_start(place: Path) -> LabError:
    return LabError(f"the lab in {place} did not come up", remedy=f"see {Layout(place).console}")
