"""An investigation saved as a runbook: it runs without the model, and finds what has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

from aof_nb import Agent, Effect, McpServer, Policy, tool
from aof_nb.errors import ConfigurationError
from aof_nb.journal.runs import read_run
from aof_nb.messages import ToolCall
from aof_nb.resources import agent_from_yaml
from aof_nb.runbooks import NotebookStatus, StepFailed, Steps, run_notebook
from aof_nb.runbooks.lifting import Parameter, as_code, lifted
from aof_nb.runbooks.save_as import save_runbook
from tests.journal.test_replay import Turns


@tool(effect=Effect.READ)
def status(service: str) -> dict[str, Any]:
    """How a service is."""
    state = Path(os.environ["SHOP_STATE"]).read_text()
    return {
        "service": service,
        "state": state,
        "pid": 4711,
        "checks": [{"name": "db", "ok": state == "healthy"}],
    }


@tool(effect=Effect.WRITE)
def restart(service: str, reason: str = "") -> str:
    """Restarts a service."""
    Path(os.environ["SHOP_STATE"]).write_text("healthy")
    return f"restarted {service}"


ANSWER = "checkout-7f9c was unhealthy. It is healthy since the restart."


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = tmp_path / "shop"
    state.write_text("unhealthy")
    monkeypatch.setenv("SHOP_STATE", str(state))
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    return state


async def investigated(agent_options: dict[str, Any] | None = None) -> tuple[Agent, str]:
    service = {"service": "checkout-7f9c"}
    repair = ToolCall("c", "restart", service | {"reason": "it hangs"})
    model = Turns(
        ("I look first.", ToolCall("a", "status", service), ToolCall("b", "stats", service)),
        ("It is unhealthy: I restart it.", repair),
        ("Did it help?", ToolCall("d", "status", service)),
        (ANSWER,),
    )
    agent = Agent(name="sre", model=model, tools=[status, restart], **(agent_options or {}))
    result = await agent.run("Why is checkout-7f9c slow?", approve="all")
    assert result.text == ANSWER
    return agent, result.run_id


async def saved(path: Path) -> tuple[Any, Any]:
    agent, run_id = await investigated()
    runbook = save_runbook(path, read_run(run_id), agent)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return runbook, notebook


async def test_it_has_parameters_steps_checks_and_conclusions(shop: Path, tmp_path: Path) -> None:
    runbook, notebook = await saved(tmp_path / "out.ipynb")
    assert runbook.steps == 3
    assert runbook.parameters == (Parameter("service", "checkout-7f9c"),)
    assert runbook.notes == ()
    cells = {cell.id: cell for cell in notebook.cells}
    assert cells["parameters"].source == "service = 'checkout-7f9c'"
    assert cells["parameters"].metadata.tags == ["parameters"]
    assert cells["step-1"].source.startswith('step_1 = await steps.call("status", service=service)')
    assert 'reason="it hangs"' in cells["step-2"].source
    assert cells["step-2"].metadata.tags == ["once"]
    assert "I look first." in cells["about-step-1"].source
    assert "check-step-1" not in cells
    assert "assert step_3.data['state'] == 'healthy'" in cells["check-step-3"].source
    assert "assert step_3.data['checks'][0]['ok']" in cells["check-step-3"].source
    assert "pid" not in cells["check-step-3"].source
    conclusions = cells["conclusions"].source
    assert ANSWER in conclusions
    assert "[Step 1: status](#Step-1:-status) shows `checkout-7f9c`" in conclusions
    assert not any("stats" in cell.source for cell in notebook.cells)


async def test_it_runs_without_the_model_and_repairs(shop: Path, tmp_path: Path) -> None:
    await saved(tmp_path / "out.ipynb")
    shop.write_text("unhealthy")
    result = await run_notebook(
        tmp_path / "out.ipynb", output=tmp_path / "done.ipynb", approve="all"
    )
    assert result.status is NotebookStatus.COMPLETED, result.error
    assert shop.read_text() == "healthy"
    executed = nbformat.read(result.output_path, as_version=4)
    [shown] = [
        output
        for cell in executed.cells
        if cell.id == "step-3"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert '"state": "healthy"' in shown.data["text/markdown"]


async def test_it_keeps_the_policy_and_fails_where_a_check_fails(
    shop: Path, tmp_path: Path
) -> None:
    await saved(tmp_path / "out.ipynb")
    shop.write_text("unhealthy")
    result = await run_notebook(
        tmp_path / "out.ipynb", output=tmp_path / "done.ipynb", approve="never"
    )
    assert result.status is NotebookStatus.FAILED
    assert result.error is not None
    assert "StepFailed" in result.error.error
    assert shop.read_text() == "unhealthy"


async def test_a_parameter_is_taken_elsewhere(shop: Path, tmp_path: Path) -> None:
    await saved(tmp_path / "out.ipynb")
    result = await run_notebook(
        tmp_path / "out.ipynb",
        output=tmp_path / "done.ipynb",
        parameters={"service": "cart-1"},
        approve="all",
    )
    assert result.status is NotebookStatus.COMPLETED, result.error
    assert '"service": "cart-1"' in (tmp_path / "done.ipynb").read_text().replace('\\"', '"')


async def test_nothing_is_overwritten_and_nothing_is_made_of_nothing(
    shop: Path, tmp_path: Path
) -> None:
    agent, run_id = await investigated()
    (tmp_path / "mine.ipynb").write_text("{}")
    with pytest.raises(ConfigurationError, match="there already"):
        save_runbook(tmp_path / "mine.ipynb", read_run(run_id), agent)
    with pytest.raises(ConfigurationError, match="no notebook's name"):
        save_runbook(tmp_path / "mine.py", read_run(run_id), agent)
    idle = Agent(model=Turns(("nothing to do",)))
    result = await idle.run("hello")
    with pytest.raises(ConfigurationError, match="no successful tool call"):
        save_runbook(tmp_path / "idle.ipynb", read_run(result.run_id), idle)
    assert not (tmp_path / "idle.ipynb").exists()


async def test_what_is_declared_is_declared_again_without_secrets(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cr3t-value-1234")
    server = McpServer(
        name="shop",
        command="shop-mcp",
        args=("--fast",),
        env={"TOKEN": "s3cr3t-value-1234", "MODE": "test"},
    )
    agent = agent_from_yaml(
        "model: script:x\n"
        "tools:\n- status\n- restart\n- name: kubectl\n  config: {allow: ['kubectl get *']}\n"
        "policy:\n  rules:\n  - {action: deny, tool: kubectl, effect: write}\n",
        name="sre",
        functions={"status": status, "restart": restart},
    )
    agent.mcp_servers = [server]
    _, run_id = await investigated()
    runbook = save_runbook(tmp_path / "out.ipynb", read_run(run_id), agent)
    assert runbook.notes == ()
    text = (tmp_path / "out.ipynb").read_text()
    assert "s3cr3t" not in text
    assert "TOKEN: ${SHOP_TOKEN}" in text
    setup = next(
        c.source for c in nbformat.read(tmp_path / "out.ipynb", 4).cells if c.id == "setup"
    )
    assert "functions=[status, restart]" in setup
    namespace = {"status": status, "restart": restart}
    exec(setup, namespace)
    steps: Any = namespace["steps"]
    assert steps._agent.mcp_servers == [server]
    assert steps._agent.policy == agent.policy
    assert [getattr(each, "spec", each) for each in steps._agent.tools][:2] == [
        status.spec,
        restart.spec,
    ]


async def test_a_step_that_is_denied_says_so() -> None:
    steps = Steps(tools=[restart], policy=Policy(), approve="never")
    with pytest.raises(StepFailed, match="needs a person's approval"):
        await steps.call("restart", service="web")
    with pytest.raises(StepFailed, match="no tool 'restrt'"):
        await steps.call("restrt", service="web")


CALLS = [
    {"argv": ["kubectl", "get", "pods", "-n", "shop"]},
    {"argv": ["kubectl", "logs", "web-1", "--namespace=shop"], "timeout": 30},
    {"command": "curl -s http://web-1/healthz", "timeout": 30},
]


def test_what_recurs_is_lifted_and_named_for_what_it_is() -> None:
    found = lifted(CALLS, "web is slow")
    assert found == [Parameter("namespace", "shop"), Parameter("timeout", 30)]
    code = as_code(CALLS[1], found)
    assert code == (
        '{"argv": ["kubectl", "logs", "web-1", f"--namespace={namespace}"], "timeout": timeout}'
    )
    assert eval(code, {"namespace": "shop", "timeout": 30}) == CALLS[1]


@pytest.mark.parametrize(
    "value", ['say "hi"', "it's {braces} and 'quotes'", "back\\slash", 'shop\'s {shop} "x"', "é\n"]
)
def test_literals_come_back_as_they_were(value: str) -> None:
    parameters = [Parameter("namespace", "shop")]
    assert eval(as_code(value, parameters), {"namespace": "shop"}) == value


def test_names_are_python_names() -> None:
    calls = [{"class": "web", "2nd": "db", "x-y": "q1"}] * 2
    assert [each.name for each in lifted(calls, "")] == ["class_", "_2nd", "x_y"]
