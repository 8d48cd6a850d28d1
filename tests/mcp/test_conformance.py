"""The client scenarios of the official conformance suite, through our pool."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mcp.conftest import Npm

CLIENT = Path(__file__).with_name("conformance_client.py")
SCENARIOS = {
    "initialize": {"mcp-client-initialization"},
    "tools_call": {"tool-add-numbers"},
    "sse-retry": {
        "client-sse-graceful-reconnect",
        "client-sse-retry-timing",
        "client-sse-last-event-id",
    },
    "elicitation-sep1034-client-defaults": {
        f"client-elicitation-sep1034-{kind}-default"
        for kind in ("string", "integer", "number", "enum", "boolean")
    },
}
# One of its checks wants a reconnection within 200 ms of its time, which a loaded machine may miss.
ATTEMPTS = {"sse-retry": 4}


@pytest.mark.npm
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_pool_conforms(scenario: str, npm: Npm, tmp_path: Path) -> None:
    for attempt in range(1, 1 + ATTEMPTS.get(scenario, 1)):
        directory = tmp_path / str(attempt)
        ended = subprocess.run(
            [
                npm("conformance"),
                *("client", "--command", shlex.join([sys.executable, str(CLIENT)])),
                *("--scenario", scenario, "--output-dir", str(directory)),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=os.environ | {"PYTHONPATH": str(CLIENT.parents[2])},
        )
        [results] = directory.rglob("checks.json")
        checks = {each["id"]: each["status"] for each in json.loads(results.read_text())}
        failed = {name for name, status in checks.items() if status not in {"SUCCESS", "INFO"}}
        if failed != {"client-sse-retry-timing"}:
            break
    assert ended.returncode == 0, ended.stderr
    passed = {name for name, status in checks.items() if status == "SUCCESS"}
    assert passed == SCENARIOS[scenario], ended.stderr
