"""Where things are in a lab's directory, and the volume with a quota that its logs are on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOG_QUOTA = 8 * 2**20
_ROTATE_AT = 2**20


class Layout:
    """The files of a lab.

    Args:
        directory: The lab's directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lease = directory / "supervisor.lock"
        self.supervisor = directory / "supervisor.json"
        self.database = directory / "shop.db"
        self.logs = directory / "volumes" / "logs"
        self.audit = self.logs / "audit.log"
        self.archive = directory / "archive"
        self.configs = directory / "configs"
        self.deploys = directory / "deploys.jsonl"
        self.actions = directory / "actions.jsonl"
        self.console = directory / "console.log"

    def config(self, service: str, version: int) -> Path:
        """The file of one version of a service's configuration."""
        return self.configs / service / f"v{version}.json"

    def log(self, service: str) -> Path:
        """A service's live log."""
        return self.logs / f"{service}.log"

    def archived_audit(self) -> Path:
        """Where the audit log goes when it is large: off the volume, for nobody may delete it."""
        return self.archive / f"audit-{timestamp().replace(':', '')}.log"


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Adds a JSON line to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The entries of a file of JSON lines; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def timestamp(seconds: float | None = None) -> str:
    """A time as logs show it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def version_before(layout: Layout, service: str, version: int) -> int | None:
    """The version a service ran before it was first given this one; None if there was none."""
    deployed = [
        each["version"] for each in read_lines(layout.deploys) if each["service"] == service
    ]
    if version not in deployed:
        return None
    place: int = deployed.index(version)
    return int(deployed[place - 1]) if place else None


class LogVolume:
    """A directory that holds so many bytes and no more.

    Args:
        directory: Where.
        quota: Bytes.
    """

    def __init__(self, directory: Path, quota: int = LOG_QUOTA) -> None:
        self.directory = directory
        self.quota = quota

    def used(self) -> int:
        """Bytes in all files."""
        return sum(self.files().values())

    def files(self) -> dict[str, int]:
        """The bytes in each file, by name."""
        sizes = {}
        with os.scandir(self.directory) as entries:
            for entry in entries:
                # Rotation may take a file away meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    sizes[entry.name] = entry.stat().st_size
        return sizes

    def append(self, path: Path, line: str, *, archive: Path | None = None) -> None:
        """Adds a line to a file on the volume, which is put aside when it has grown large.

        Args:
            path: The file.
            line: What to add.
            archive: Where it is put aside; beside itself, as rotated logs are, if not given.

        Raises:
            OSError: With ENOSPC, if the volume is full.
        """
        data = (line + "\n").encode()
        if self.used() + len(data) > self.quota:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with path.open("ab") as file:
            file.write(data)
            size = file.tell()
        if size > _ROTATE_AT:
            # Several threads write: another may have put it aside meanwhile.
            with contextlib.suppress(FileNotFoundError):
                path.replace(archive or path.with_name(path.name + ".1"))

    def rotated(self) -> list[Path]:
        """Rotated log files: what may be deleted."""
        return sorted(path for path in self.directory.glob("*.log.*") if path.suffix[1:].isdigit())
