"""Every fault really breaks the shop, shows where an SRE looks, and yields to one repair only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aof_nb.lab import FAULTS, Lab, LabError

REPAIRS: dict[str, Callable[[Lab], object]] = {
    "bad-config": lambda lab: lab.roll_back("checkout"),
    "memory-leak": lambda lab: lab.restart_service("worker"),
    "db-lock": lambda lab: lab.restart_service("reports"),
    "disk-full": lambda lab: lab.free_space("logs"),
    "slow-dependency": lambda lab: lab.restart_service("payments"),
}


def evidence_of_bad_config(lab: Lab) -> None:
    assert lab.deploy_history("checkout")[-1]["author"] == "release-bot"
    assert '+    "timeout_ms": 8' in lab.diff_config("checkout")["diff"]
    assert "within 8 ms" in lab.search_logs("ERROR", "checkout")[-1]["line"]


def evidence_of_memory_leak(lab: Lab) -> None:
    [used] = lab.query_metrics("worker", "worker_memory_bytes")
    [limit] = lab.query_metrics("worker", "worker_memory_limit_bytes")
    assert used["value"] > 0.85 * limit["value"]
    memory = {each["name"]: each["memory_bytes"] for each in lab.list_services()}
    assert memory["worker"] > 0.85 * limit["value"]
    assert lab.search_logs("cannot render a receipt", "worker")


def evidence_of_db_lock(lab: Lab) -> None:
    assert lab.search_logs("database is locked", "checkout")
    [age] = lab.query_metrics("reports", "*write_transaction_seconds")
    assert age["value"] > 0


def evidence_of_disk_full(lab: Lab) -> None:
    [volume] = lab.disk_usage()
    assert volume["used_percent"] > 99
    assert any(".log." in name for name in volume["largest_files"])


def evidence_of_slow_dependency(lab: Lab) -> None:
    [in_use] = lab.query_metrics("payments", "*connections_in_use")
    assert in_use["value"] == 8
    assert lab.search_logs("bank connection hangs", "payments")


def test_there_is_a_repair_for_each() -> None:
    assert set(REPAIRS) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_breaks_the_shop_until_the_right_repair(lab: Lab, fault: str) -> None:
    assert lab.wait_until_healthy().healthy
    lab.inject(fault)
    assert not lab.probe().healthy
    assert lab.status().fault == fault
    globals()[f"evidence_of_{fault.replace('-', '_')}"](lab)

    for service in ("checkout", "loadgen"):
        lab.restart_service(service)
    if fault != "bad-config":
        lab.roll_back("checkout", lab.read_config("checkout")["version"])
    for other in ("memory-leak", "db-lock", "disk-full", "slow-dependency"):
        if other != fault:
            REPAIRS[other](lab)
    assert not lab.wait_until_healthy(3).healthy

    REPAIRS[fault](lab)
    assert lab.wait_until_healthy(30).healthy
    assert lab.actions()[-1]["action"] in {"roll_back", "restart_service", "free_space"}


def test_a_second_bad_rollout_rolls_back_to_what_ran_before(lab: Lab) -> None:
    good = lab.read_config("checkout")
    for _ in range(2):
        lab.inject("bad-config")
        assert lab.diff_config("checkout")["from_version"] == good["version"]
        assert lab.roll_back("checkout")["to_version"] == good["version"]
        assert lab.wait_until_healthy().healthy
    assert lab.read_config("checkout") == good


def test_a_rotated_log_reads_on(lab: Lab) -> None:
    volume = lab.directory / "volumes" / "logs"
    one, two, three = (f"2026-11-23T10:00:0{n}Z INFO  line {n}" for n in (1, 2, 3))
    (volume / "loadgen.log.1").write_text(f"{one}\n{two}\n")
    (volume / "loadgen.log").write_text(f"{three}\n")
    assert lab.read_log("loadgen", 2) == [two, three]
    assert lab.read_log("loadgen", 1) == [three]
    assert lab.read_log("loadgen", 0) == []
    found = lab.search_logs("line [23]", "loadgen")
    assert [each["line"] for each in found] == [two, three]
    for name in ("loadgen.log", "loadgen.log.1"):
        (volume / name).unlink()


def test_freeing_space_keeps_live_logs_and_the_audit_log(lab: Lab) -> None:
    lab.free_space("logs")
    names = {path.name for path in (lab.directory / "volumes" / "logs").iterdir()}
    assert {"audit.log", "checkout.log"} <= names


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda lab: lab.inject("db-lok"), "db-lock"),
        (lambda lab: lab.read_log("chekout"), "payments, checkout, worker"),
        (lambda lab: lab.restart_service("nginx"), "there is no service 'nginx'"),
        (lambda lab: lab.roll_back("reports"), "no version before"),
        (lambda lab: lab.roll_back("checkout", 77), "never had a version 77"),
        (lambda lab: lab.free_space("data"), "there is: logs"),
        (lambda lab: lab.search_logs("("), "regular expression"),
        (lambda lab: lab.diff_config("payments"), "configured by file"),
    ],
)
def test_what_cannot_be_done_is_said(lab: Lab, ask: Callable[[Lab], object], said: str) -> None:
    with pytest.raises(LabError) as caught:
        ask(lab)
    assert said in f"{caught.value.message} {caught.value.remedy}"


def test_the_control_needs_its_token(lab: Lab) -> None:
    import httpx2

    control = json.loads((lab.directory / "supervisor.json").read_text())
    assert (lab.directory / "supervisor.json").stat().st_mode & 0o077 == 0
    url = f"http://127.0.0.1:{control['port']}/inject"
    assert httpx2.post(url, json={"fault": "db-lock"}).status_code == 401
    headers = {"Authorization": "Bearer wrong"}
    assert httpx2.post(url, json={"fault": "db-lock"}, headers=headers).status_code == 401
    ports = json.loads(json.dumps({s.name: s.port for s in lab.status().services}))
    fault = f"http://127.0.0.1:{ports['worker']}/-/fault"
    assert httpx2.post(fault).status_code == 404


def test_no_lab_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        Lab.attach(tmp_path)
    assert "aofctl lab up" in caught.value.remedy
