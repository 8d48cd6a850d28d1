"""What can break, and how it is broken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from aof_nb.lab.children import Children
from aof_nb.lab.layout import Layout, LogVolume, append_line, timestamp
from aof_nb.lab.loopback import client

FAULTS = ("bad-config", "memory-leak", "db-lock", "disk-full", "slow-dependency")

_WITHIN = {"memory-leak": "worker", "db-lock": "reports", "slow-dependency": "payments"}
_HEALTHY = {
    "payments": {"timeout_ms": 800, "retries": 2},
    "database": {"busy_timeout_ms": 800},
    "queue": {"max_depth": 12},
    "receipts": {"currency": "EUR", "rounding": "up"},
}
_DAY = 86_400


def lay_out(layout: Layout) -> None:
    """Makes the shop as it was before anything broke: an earlier lab's files there are deleted."""
    _clear(layout)
    for directory in (layout.logs, layout.archive, layout.configs / "checkout"):
        directory.mkdir(parents=True, exist_ok=True)
    healthy = json.loads(json.dumps(_HEALTHY))
    _write(layout, 2, healthy)
    healthy["receipts"]["rounding"] = "half-even"
    _write(layout, 1, healthy)
    for age, service, version, author, note in (
        (6 * _DAY, "checkout", 1, "mira", "first release of the new checkout"),
        (5 * _DAY, "worker", 1, "jonas", "render receipts as PDF"),
        (4 * _DAY, "payments", 1, "ade", "pool of eight bank connections"),
        (3 * _DAY, "reports", 1, "jonas", "rebuild table daily in one transaction"),
        (2 * _DAY, "checkout", 2, "mira", "round receipts up"),
    ):
        deployed(layout, service, version, author=author, note=note, age=age)


def _clear(layout: Layout) -> None:
    """Deletes what a lab writes, by its names: the directory may be one of the user's."""
    old = [layout.deploys, layout.actions, *layout.directory.glob("shop.db*")]
    old += [*layout.logs.glob("*.log"), *LogVolume(layout.logs).rotated()]
    old += layout.archive.glob("audit-*.log")
    old += (layout.configs / "checkout").glob("v*.json")
    for path in old:
        path.unlink(missing_ok=True)


def deployed(
    layout: Layout, service: str, version: int, *, author: str, note: str, age: float = 0
) -> None:
    """Records a deploy."""
    when = timestamp(time.time() - age)
    entry = {
        "time": when,
        "service": service,
        "version": version,
        "author": author,
        "note": note,
    }
    append_line(layout.deploys, entry)


class Breaker:
    """Breaks the shop.

    Args:
        layout: The lab's files.
        children: Its processes.
        token: What the services want to see.
    """

    def __init__(self, layout: Layout, children: Children, token: str) -> None:
        self._layout = layout
        self._children = children
        self._token = token

    def inject(self, fault: str) -> None:
        """Brings a fault about; it takes some seconds to show."""
        ways: dict[str, Callable[[], None]] = {
            "bad-config": self._roll_out_bad_config,
            "disk-full": self._fill_log_volume,
        }
        if fault in ways:
            ways[fault]()
        else:
            self._break_from_within(_WITHIN[fault])

    def _roll_out_bad_config(self) -> None:
        versions = (self._layout.configs / "checkout").glob("v*.json")
        version = 1 + max(int(path.stem[1:]) for path in versions)
        running = self._layout.config("checkout", self._children["checkout"].config)
        bad = json.loads(running.read_text())
        bad["payments"]["timeout_ms"] = 8
        _write(self._layout, version, bad)
        deployed(
            self._layout,
            "checkout",
            version,
            author="release-bot",
            note="fail fast: lower the payments timeout",
        )
        self._children["checkout"].config = version
        self._children.restart("checkout")

    def _fill_log_volume(self) -> None:
        volume = LogVolume(self._layout.logs)
        chunk = (f"{timestamp()} DEBUG trace of a request that is long over\n" * 4096).encode()
        number = 1
        while (free := volume.quota - volume.used()) > 0:
            path = self._layout.logs / f"checkout.log.{number}"
            with path.open("ab") as file:
                file.write(chunk[: min(free, len(chunk))])
            number += path.stat().st_size > 2**20

    def _break_from_within(self, service: str) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with client(self._children.ports[service], timeout=15) as operator:
            operator.post("/-/fault", headers=headers).raise_for_status()


def _write(layout: Layout, version: int, config: object) -> None:
    layout.config("checkout", version).write_text(json.dumps(config, indent=2) + "\n")
