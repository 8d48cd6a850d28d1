"""An investigation saved as a runbook: it runs without the model, and finds what has changed."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest

import aof_nb
from aof_nb import Agent, Effect, McpServer, Policy, RunStatus, tool
from aof_nb.errors import ConfigurationError
from aof_nb.journal.runs import read_run
from aof_nb.messages import ToolCall
from aof_nb.policy import Action, Rule
from aof_nb.ports import ToolContext, ToolOutput, ToolSpec
from aof_nb.resources import agent_from_yaml
from aof_nb.runbooks import NotebookStatus, StepFailed, Steps, run_notebook
from aof_nb.runbooks.declaring import declared_yaml
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
    assert "assert step_3.data['state'] == \"healthy\"" in cells["check-step-3"].source
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


async def test_a_step_that_waits_says_how_to_go_on() -> None:
    steps = Steps(tools=[restart])
    with pytest.raises(StepFailed, match="waits for a person") as failed:
        await steps.call("restart", service="web")
    assert failed.value.result.status is RunStatus.WAITING
    assert f"aofctl approve {failed.value.result.run_id}" in failed.value.remedy


async def test_a_step_has_all_that_its_tool_returned() -> None:
    @tool(effect=Effect.READ)
    def log() -> str:
        """A log."""
        return "line\n" * 20_000

    result = await Steps(tools=[log]).call("log")
    assert len(result.text) == 100_000
    assert len(result._repr_mimebundle_()[0]["text/plain"]) < 30_000


async def test_a_tool_that_fails_and_a_run_that_does_are_a_step_that_failed() -> None:
    @tool(effect=Effect.READ)
    def broken() -> str:
        """Fails."""
        raise RuntimeError("no such host")

    with pytest.raises(StepFailed, match="no such host"):
        await Steps(tools=[broken]).call("broken")
    with pytest.raises(StepFailed, match="nothing_like_it"):
        await Steps(tools=["nothing_like_it"]).call("shell")


def plain(service: str, steps: int = 1) -> str:
    """A function that nobody has decorated."""
    return json.dumps({"service": service, "steps": steps, "mode": MODE})


MODE = "test"


@aof_nb.tool(effect="read", name="look-at")
def look(class_: str) -> str:
    """Looks at something."""
    return class_


@tool(effect=Effect.READ)
def unused() -> str:
    """Is never called."""
    return ""


def anything(**arguments: Any) -> Any:
    """A tool of any arguments, as MCP servers have."""

    class Anything:
        spec = ToolSpec(
            name="any", description="", input_schema={"type": "object"}, effect=Effect.READ
        )

        async def call(self, given: dict[str, Any], context: ToolContext) -> ToolOutput:
            return ToolOutput("done", arguments.get("data"))

    return Anything()


async def notebook_of(
    path: Path, agent: Agent, *calls: ToolCall, answer: str = "done", prompt: str = "go"
) -> tuple[Any, dict[str, str]]:
    agent.model = Turns(*[(call,) for call in calls], (answer,))
    result = await agent.run(prompt, approve="all")
    assert result.text == answer
    runbook = save_runbook(path, read_run(result.run_id), agent, overwrite=True)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source.replace("await ", ""))
    return runbook, {cell.id: cell.source for cell in notebook.cells}


async def executed(cells: dict[str, str]) -> dict[str, Any]:
    """What the code cells of a notebook come to, in this process."""
    scope: dict[str, Any] = {}
    for name, source in cells.items():
        if name.startswith(("parameters", "tool-", "setup", "step-", "check-")):
            code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            pending = eval(code, scope)
            if pending is not None:
                await pending
    return scope


async def test_functions_are_tools_again_however_they_were_made(tmp_path: Path) -> None:
    agent = Agent(model="script:none", tools=[plain, look, unused])
    runbook, cells = await notebook_of(
        tmp_path / "out.ipynb",
        agent,
        ToolCall("a", "plain", {"service": "web", "steps": 3}),
        ToolCall("b", "look-at", {"class_": "web"}),
    )
    assert runbook.notes == ("the tool plain uses MODE, which the runbook does not define",)
    assert "plain = tool(plain)" in cells["tool-1"]
    assert "functions=[plain, look]" in cells["setup"]
    assert "unused" not in cells["setup"]
    cells["parameters"] += "\nMODE = 'again'"
    os.environ["AOF_APPROVE"] = "all"
    try:
        scope = await executed(cells)
    finally:
        del os.environ["AOF_APPROVE"]
    assert '"mode": "again"' in scope["step_1"].text
    assert scope["step_2"].text == "web"


async def test_functions_that_need_what_is_around_them_are_named(tmp_path: Path) -> None:
    secret = 42

    @tool(effect=Effect.READ)
    def closes() -> str:
        """Closes over something."""
        return f"{secret}"

    made = tool(lambda: "x", name="made", effect="read")
    agent = Agent(model="script:none", tools=[closes, made])
    runbook, cells = await notebook_of(
        tmp_path / "out.ipynb", agent, ToolCall("a", "closes", {}), ToolCall("b", "made", {})
    )
    assert runbook.notes == (
        "the tool closes uses secret, which the runbook does not define",
        "the source of the tool made was not found: define it before the steps",
    )
    assert "functions=[closes, made]" in cells["setup"]


ODD_NAMES = ["steps", "step_1", "Steps", "tool", "class", "filter", "id", "json", "plain", "MODE"]


async def test_no_parameter_takes_a_name_that_the_notebook_needs(tmp_path: Path) -> None:
    arguments = {name: f"value-{n}" for n, name in enumerate(ODD_NAMES)}
    agent = Agent(model="script:none", tools=[anything(), plain])
    _, cells = await notebook_of(
        tmp_path / "out.ipynb",
        agent,
        ToolCall("a", "any", arguments),
        ToolCall("b", "any", arguments),
        ToolCall("c", "plain", {"service": "web"}),
    )
    called: list[dict[str, Any]] = []

    class Recorded:
        async def call(self, tool: str, /, **given: Any) -> None:
            called.append(given)

    code = "\n".join(
        each for name, each in cells.items() if name == "parameters" or name.startswith("tool-")
    )
    scope: dict[str, Any] = {}
    exec(code, scope)
    scope["steps"] = Recorded()
    for number in (1, 2):
        source = cells[f"step-{number}"]
        pending = eval(compile(source, "", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), scope)
        await pending
    assert called == [arguments, arguments]


async def test_a_run_that_waited_first_is_saved_with_its_answer(shop: Path, tmp_path: Path) -> None:
    model = Turns((ToolCall("a", "restart", {"service": "web"}),), (ANSWER,))
    agent = Agent(model=model, tools=[restart])
    waiting = await agent.run("mend it")
    assert waiting.status is RunStatus.WAITING
    await agent.resume(waiting.run_id, approve="all")
    save_runbook(tmp_path / "out.ipynb", read_run(waiting.run_id), agent)
    assert ANSWER in (tmp_path / "out.ipynb").read_text()


async def test_what_is_expected_is_what_holds_for_other_parameters(tmp_path: Path) -> None:
    data = {
        "pod": "checkout-7f9c",
        "state": "healthy",
        "seen": "2026-11-26T03:15:00Z",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "note": "x" * 5000,
    }
    answer = " ".join(data.values())
    call = ToolCall("a", "any", {"service": "checkout-7f9c"})
    agent = Agent(model="script:none", tools=[anything(data=data)])
    _, cells = await notebook_of(
        tmp_path / "out.ipynb", agent, call, answer=answer, prompt="why is checkout-7f9c slow?"
    )
    assert cells["check-step-1"] == "assert step_1.data['state'] == \"healthy\""
    nested = ToolCall("a", "any", {"argv": ["get", "--name", "checkout-7f9c"]})
    _, cells = await notebook_of(
        tmp_path / "out.ipynb", agent, nested, answer=answer, prompt="why is checkout-7f9c slow?"
    )
    assert "assert step_1.data['pod'] == name" in cells["check-step-1"]


async def test_a_policy_s_backslashes_and_quotes_come_back(tmp_path: Path) -> None:
    pattern = "grep \\bfoo\\n \"x\" 'y' ''' *"
    rule = Rule(action=Action.DENY, tool="shell", arguments={"argv": pattern})
    agent = Agent(model="script:none", tools=[look], policy=Policy(rules=(rule,)))
    _, cells = await notebook_of(
        tmp_path / "out.ipynb", agent, ToolCall("a", "look-at", {"class_": "web"})
    )
    scope = await executed(cells)
    assert scope["steps"]._agent.policy == agent.policy


async def test_secrets_are_read_from_the_environment_wherever_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cr3t-value-1234")
    monkeypatch.setenv("FLAG", "1")
    monkeypatch.setenv("WHERE", "test")
    server = McpServer(
        name="shop",
        command="shop-mcp",
        args=("--token=s3cr3t-value-1234", "--mode", "test"),
        env={"MODE": "test", "LEVEL": "1", "apiKey": "another-secret"},
    )
    shell = {"name": "shell", "config": {"env": {"TOKEN": "s3cr3t-value-1234"}}}
    agent = Agent(model="script:none", tools=[look, shell], mcp_servers=[server])
    text, notes = declared_yaml(agent, {"look-at"})
    assert notes == []
    assert "s3cr3t" not in text
    assert "another-secret" not in text
    assert "--token=${SHOP_TOKEN}" in text
    assert "MODE: test" in text
    assert "LEVEL: '1'" in text
    written = agent_from_yaml(
        "model: script:x\n"
        "mcp_servers:\n- name: shop\n  command: shop-mcp\n  args: ['${SHOP_TOKEN}']\n",
        name="sre",
    )
    assert "${SHOP_TOKEN}" in declared_yaml(written, set())[0]


def test_numbers_that_mean_several_things_are_no_parameter() -> None:
    calls = [{"timeout": 30, "lines": 50}, {"lines": 30, "port": 8080}, {"port": 8080}]
    assert lifted(calls, "") == [Parameter("port", 8080)]


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
