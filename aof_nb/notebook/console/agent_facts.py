"""What an agent is, in words: its model, its tools and what they do, what it may do, how far."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from aof_nb.agent import Agent
from aof_nb.errors import AofError
from aof_nb.markdown import revealed
from aof_nb.models.registry import shown_name
from aof_nb.ports import Tool
from aof_nb.readable import seconds, visible
from aof_nb.tools.registry import resolve_tools
from aof_nb.truncation import truncate

_INSTRUCTIONS_CHARS = 20_000


def facts_of(agent: Agent, source: str) -> str:
    """What an agent is, as HTML.

    Args:
        agent: The agent.
        source: Where it comes from.
    """
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{said}</dd>" for name, said in _rows(agent, source))
    told = _text(truncate(agent.instructions.strip(), _INSTRUCTIONS_CHARS))
    return f"<dl>{rows}</dl><h4>Instructions</h4>" + (
        f"<pre>{told}</pre>" if told else "It has none."
    )


def _rows(agent: Agent, source: str) -> Iterator[tuple[str, str]]:
    if agent.description:
        yield "What for", _text(agent.description)
    fallback = [shown_name(each) for each in agent.fallback]
    yield "Model", _text(" → ".join([agent.model_name, *fallback]))
    yield "Tools", _tools(agent)
    if agent.mcp_servers:
        yield "MCP servers", _lines(_server(each) for each in agent.mcp_servers)
    yield "Policy", _lines(_policy(agent))
    memory = agent.memory if isinstance(agent.memory, str) else type(agent.memory).__name__
    yield "Memory", _text(memory) if agent.memory is not None else "none"
    yield "Limits", _text(" · ".join(_limits(agent)))
    if agent.labels:
        yield "Labels", _text(", ".join(f"{key}={each}" for key, each in agent.labels.items()))
    if not agent.journal:
        yield "Journal", "none: its runs cannot be resumed or audited"
    yield "From", _text(source)


def _tools(agent: Agent) -> str:
    said = []
    for each in agent.tools:
        try:
            said += [_tool(tool) for tool in resolve_tools([each])]
        except AofError as error:
            said.append(f'<span class="aof-warning">! {_text(error.message)}</span>')
    return "".join(f"<div>{each}</div>" for each in said) or "none"


def _tool(tool: Tool) -> str:
    spec = tool.spec
    about = spec.description.strip().partition("\n")[0]
    said = f"{spec.effect.value}{f' · {about}' if about else ''}"
    return f'<code>{_text(spec.name)}</code> <span class="aof-told">{_text(said)}</span>'


def _server(server: object) -> str:
    name, url = getattr(server, "name", ""), getattr(server, "url", None)
    command = " ".join([getattr(server, "command", None) or "", *getattr(server, "args", ())])
    return f"{name}: {url or command}"


def _policy(agent: Agent) -> Iterator[str]:
    policy = agent.policy
    yield (
        f"calls that read: {policy.read.value} · that write: {policy.write.value} · "
        f"that destroy: {policy.destructive.value}"
    )
    for rule in policy.rules:
        where = [f"tool {rule.tool}" if rule.tool != "*" else "any tool"]
        where += [f"effect {rule.effect.value}"] if rule.effect else []
        where += [f"{name} like {each}" for name, each in rule.arguments.items()]
        yield f"{rule.action.value}: {', '.join(where)}"


def _limits(agent: Agent) -> Iterator[str]:
    limits = agent.limits
    yield f"{limits.max_turns} turns"
    if limits.max_tool_calls is not None:
        yield f"{limits.max_tool_calls} tool calls"
    if limits.max_tokens is not None:
        yield f"{limits.max_tokens:,} tokens"
    if limits.max_seconds is not None:
        yield seconds(limits.max_seconds)
    if limits.max_cost is not None:
        yield f"${limits.max_cost:g}"


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"<div>{_text(each)}</div>" for each in lines)


def _text(text: str) -> str:
    return escape(revealed(visible(text)))
