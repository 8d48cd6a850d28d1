"""What every test begins with: a state directory of its own, models that have not failed yet."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import offline

_WITH_THE_LAB = ("lab/", "e2e/", "test_notebooks.py", "runbooks/test_mcp_")

_LONG = (
    "benchmarks/test_page.py",
    "cli/test_run_notebook.py",
    "journal/test_crashes.py",
    "memory/test_processes.py",
    "notebook/test_headless.py",
    "runbooks/test_crashes.py",
    "test_batch_map.py",
)
_LONG_COUNTS_AS = 20

# No test is to fail because the machine is busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_configure() -> None:
    """Restores the signals that a shell has its background jobs ignore.

    Programs that the tests start would inherit it, and could not be interrupted.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler or signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps a file's tests in one process, and in one those that start the lab's services.

    With several processes, the groups of most tests come first, so that none is left with much to
    do when the others have ended. A few tests that take long count as more of them.
    """
    root = Path(__file__).parent
    groups = {}
    for item in items:
        place = item.path.relative_to(root).as_posix() if root in item.path.parents else ""
        groups[item] = "lab" if place.startswith(_WITH_THE_LAB) else place
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    if "PYTEST_XDIST_WORKER" in os.environ:
        sizes = Counter(groups.values())
        for group in _LONG:
            sizes[group] = max(sizes[group], _LONG_COUNTS_AS)
        items.sort(key=lambda item: -sizes[groups[item]])


def pytest_sessionfinish() -> None:
    """Keeps what a process has measured of its coverage, however it is ended after this."""
    coverage = sys.modules.get("coverage")
    if coverage is not None and (running := coverage.Coverage.current()) is not None:
        running.save()


def pytest_report_header() -> str:
    """Says how those tests are kept from the network that must do without."""
    return f"offline: {offline.how()}"


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is written into the state directory of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AOF_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def closed_breakers() -> Iterator[None]:
    """Breakers and limiters are the process's: no test is to feel another's failures."""
    yield
    for name in ("aof_nb.models.resilience", "aof_nb.models.limiter"):
        if (module := sys.modules.get(name)) is not None:
            module.reset()
