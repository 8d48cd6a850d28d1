"""The scripted model: playbooks that branch on real results, and say what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aof_nb.errors import ConfigurationError, ResourceError
from aof_nb.events import ModelResponse, TextDelta
from aof_nb.messages import Message, Outcome, StopReason, ToolResult, Usage
from aof_nb.models import resolve_model
from aof_nb.models.playbook import parse_playbook
from aof_nb.models.script import ScriptModel
from aof_nb.ports import ModelRequest, ToolSpec

PLAYBOOK = """\
kind: Playbook
name: triage
steps:
  - say: "You asked: {{ prompt }}"
  - id: services
    say: First the services.
    call: {tool: list_services}
    let:
      down: results.services.data.services[?up==`false`].name | [0]
  - choose:
      - when: down
        steps:
          - calls:
              log: {tool: read_log, arguments: {service: "{{ down }}", lines: "{{ 10 * 2 }}"}}
              disk: {tool: disk}
          - when: "'locked' in results.log.content"
            id: repair
            call: {tool: restart, arguments: {service: "{{ down }}", why: "log of {{ down }}"}}
          - id: poll
            when: results.repair is defined and results.repair.ok
            call: {tool: list_services}
            repeat: {until: results.poll.ok, max: 3}
          - when: results.repair is defined and results.repair.denied
            answer: "The repair was refused; {{ down }} is still failing."
          - answer: "{{ down }} is up again ({{ results.disk.data | jmespath('free') }} free)."
      - steps:
          - answer: All is well.
"""
TOOLS = tuple(
    ToolSpec(name=name, description="", input_schema={"type": "object"})
    for name in ("list_services", "read_log", "disk", "restart", "look")
)
DOWN = '{"services": [{"name": "web", "up": true}, {"name": "db", "up": false}]}'


@pytest.fixture
def model(tmp_path: Path) -> ScriptModel:
    path = tmp_path / "triage.yaml"
    path.write_text(PLAYBOOK)
    return ScriptModel(path)


class Conversation:
    def __init__(self, model: ScriptModel, prompt: str = "why?") -> None:
        self.model = model
        self.messages = [Message.user(prompt)]
        self.withheld = False

    async def turn(self) -> ModelResponse:
        request = ModelRequest(
            messages=tuple(self.messages),
            tools=TOOLS,
            tool_choice="none" if self.withheld else "auto",
        )
        *deltas, response = [event async for event in self.model.stream(request)]
        assert isinstance(response, ModelResponse)
        shown = "".join(e.text for e in deltas if isinstance(e, TextDelta))
        assert shown == response.message.text
        self.messages.append(response.message)
        return response

    def results(self, *results: str | tuple[Outcome, str]) -> None:
        calls = self.messages[-1].tool_calls
        parts = []
        for call, each in zip(calls, results, strict=True):
            outcome, content = each if isinstance(each, tuple) else (Outcome.OK, each)
            parts.append(ToolResult(call.id, call.name, content, outcome))
        self.messages.append(Message("tool", tuple(parts)))


async def to_the_repair(model: ScriptModel) -> Conversation:
    talk = Conversation(model)
    first = await talk.turn()
    assert first.message.text == "You asked: why?\n\nFirst the services."
    assert first.stop_reason is StopReason.TOOL_USE
    talk.results(DOWN)
    second = await talk.turn()
    log, disk = second.message.tool_calls
    assert (log.name, log.arguments) == ("read_log", {"service": "db", "lines": 20})
    assert disk.arguments == {}
    talk.results("database is locked", '{"free": 7}')
    third = await talk.turn()
    [repair] = third.message.tool_calls
    assert repair.arguments == {"service": "db", "why": "log of db"}
    return talk


async def test_it_branches_on_what_it_finds(model: ScriptModel) -> None:
    talk = await to_the_repair(model)
    talk.results("restarted")
    assert (await talk.turn()).message.tool_calls[0].name == "list_services"
    talk.results((Outcome.ERROR, "not yet"))
    assert (await talk.turn()).message.tool_calls[0].name == "list_services"
    talk.results(DOWN)
    last = await talk.turn()
    assert last.message.text == "db is up again (7 free)."
    assert last.stop_reason is StopReason.END_TURN
    assert last.usage == Usage()


async def test_a_refused_repair_is_said(model: ScriptModel) -> None:
    talk = await to_the_repair(model)
    talk.results((Outcome.DENIED, "Denied"))
    assert (await talk.turn()).message.text == "The repair was refused; db is still failing."


async def test_the_other_branch_and_the_next_prompt(model: ScriptModel) -> None:
    talk = Conversation(model)
    await talk.turn()
    talk.results('{"services": []}')
    assert (await talk.turn()).message.text == "All is well."
    talk.messages.append(Message.user("and now?"))
    again = await talk.turn()
    assert again.message.text.startswith("You asked: and now?")
    assert again.message.tool_calls


async def test_the_same_conversation_gives_the_same_turn(model: ScriptModel) -> None:
    talk = await to_the_repair(model)
    talk.messages.pop()
    one, other = await talk.turn(), Conversation(model)
    other.messages = talk.messages[:-1]
    assert await other.turn() == one


async def test_withheld_tools_end_it(model: ScriptModel) -> None:
    talk = await to_the_repair(model)
    talk.results("restarted")
    talk.messages.append(Message.user("[limit]"))
    talk.withheld = True
    response = await talk.turn()
    assert not response.message.tool_calls
    assert "stopped by a limit" in response.message.text


async def test_it_says_that_it_is_scripted(model: ScriptModel) -> None:
    assert model.name == "script:triage.yaml (scripted)"
    assert (await Conversation(model).turn()).model == model.name


async def test_a_tool_the_agent_lacks(model: ScriptModel) -> None:
    request = ModelRequest(messages=(Message.user("?"),), tools=TOOLS[1:])
    with pytest.raises(ConfigurationError, match=r"triage\.yaml:5: .*no tool 'list_services'"):
        _ = [event async for event in model.stream(request)]


async def test_an_undefined_name_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("steps:\n  - say: hello\n  - answer: '{{ results.nope.data }}'\n")
    with pytest.raises(ResourceError, match=r"p\.yaml:3: .*nope"):
        await Conversation(ScriptModel(path)).turn()


async def test_a_missing_file(tmp_path: Path) -> None:
    model = resolve_model(f"script:{tmp_path}/none.yaml")
    with pytest.raises(ResourceError, match=r"none\.yaml"):
        _ = [e async for e in model.stream(ModelRequest(messages=(Message.user("?"),)))]


@pytest.mark.parametrize(
    ("text", "line", "field", "remedy"),
    [
        ("steps:\n  - anser: x\n", 2, "steps[0].anser", "did you mean 'answer'?"),
        ("steps: {}\n", 1, "steps", "steps:"),
        ("steps:\n- answer: '{{ x'\n", 2, "steps[0].answer", "braces"),
        ("steps:\n- call: {}\n", 2, "steps[0].call", "tool: NAME"),
        ("steps:\n- say: a\n- answer: x\n  call: {tool: t}\n", 3, "steps[1]", "two steps"),
        ("steps:\n- call: {tool: t}\n  let: {a: 'x[?'}\n", 3, "steps[0].let.a", "jmespath"),
        (
            "steps:\n- id: a\n  call: {tool: t}\n- id: a\n  call: {tool: t}\n",
            4,
            "steps[1]",
            "unique",
        ),
        ("steps:\n- answer: x\n  wait: 3\n", 3, "steps[0].wait", "call"),
        ("steps:\n- call: {tool: t}\n  wait: soon\n", 3, "steps[0].wait", "such as 2"),
        ("steps:\n- call: {tool: t}\n  wait: -1\n", 3, "steps[0].wait", "such as 2"),
        ("steps:\n- call: {tool: t}\n  wait: .inf\n", 3, "steps[0].wait", "such as 2"),
        ("steps:\n- call: {tool: t}\n  repeat: {max: 0}\n", 3, "steps[0].repeat.max", "from 1"),
        ("steps:\n- call: {tool: t}\n  repeat: {max: a}\n", 3, "steps[0].repeat.max", "from 1"),
        ("steps: " + "[{choose: [{steps: " * 150 + "[]" + "}]}]" * 150, None, "", "nest less"),
        ("steps:\n- answer: x\n  answer: y\n", 3, "", "remove one"),
        ("steps:\n\t- answer: x\n", 2, "", "tabs"),
        ("- a\n", 1, "", "playbooks"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    text: str, line: int | None, field: str, remedy: str
) -> None:
    with pytest.raises(ResourceError) as caught:
        parse_playbook(text, file="p.yaml")
    assert (caught.value.line, caught.value.field) == (line, field), str(caught.value)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ prompt.__init__.__globals__ }}",
        "{{ results.update({'x': 1}) }}",
    ],
)
async def test_templates_cannot_leave_the_sandbox(tmp_path: Path, attack: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f'steps:\n- answer: "x {attack}"\n')
    with pytest.raises(ResourceError):
        await Conversation(ScriptModel(path)).turn()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{{ results.a.data.items }}", "'look' cannot be sent: builtin_function_or_method"),
        ("{{ [results.a.data.nope] }}", "'look' cannot be sent"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ results.a.data.name + 1 }}", "can only concatenate"),
        ("{{ range(10 ** 9) }}", "Range too big"),
        ("{{ results.a.data | jmespath('[') }}", "Incomplete expression"),
    ],
)
async def test_arguments_that_cannot_be_made_are_told_with_their_line(
    tmp_path: Path, written: str, said: str
) -> None:
    path = tmp_path / "p.yaml"
    argument = json.dumps(written)
    path.write_text(
        "steps:\n- {id: a, call: {tool: disk}}\n"
        f"- {{id: b, call: {{tool: look, arguments: {{x: {argument}}}}}}}\n"
    )
    talk = Conversation(ScriptModel(path))
    await talk.turn()
    talk.results('{"items": [1], "name": "db"}')
    with pytest.raises(ResourceError) as caught:
        await talk.turn()
    assert "p.yaml:3" in str(caught.value)
    assert said in str(caught.value)


async def test_arguments_are_what_json_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "steps:\n- call: {tool: look, arguments: {when: 2026-01-01, "
        "a: \"{{ [1, 2] | map('string') }}\", b: '{{ (1, 2) }}', c: '{{ range(2) }}'}}\n"
    )
    [call] = (await Conversation(ScriptModel(path)).turn()).message.tool_calls
    assert call.arguments == {"when": "2026-01-01", "a": ["1", "2"], "b": [1, 2], "c": [0, 1]}


async def test_an_expression_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("steps:\n- say: hello\n- say: there\n  let: {n: abs(prompt)}\n")
    with pytest.raises(ResourceError, match=r"p\.yaml:3: let\.n: .*abs\(\)"):
        await Conversation(ScriptModel(path)).turn()


def test_branches_may_share_ids_and_others_may_not() -> None:
    once = "steps:\n  - choose:\n"
    branch = "      - when: 1 == 1\n        steps: [{id: repair, call: {tool: t}}]\n"
    parse_playbook(once + branch * 2, file="p.yaml")
    with pytest.raises(ResourceError, match="'repair' is used twice"):
        parse_playbook(once + branch + "  - {id: repair, call: {tool: t}}\n", file="p.yaml")
