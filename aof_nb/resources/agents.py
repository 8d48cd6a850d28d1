"""Agents from their specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError
from aof_nb.limits import Limits
from aof_nb.mcp.spec import McpServer
from aof_nb.models.compaction import ContextPolicy
from aof_nb.models.registry import FILES, parse_name, providers
from aof_nb.models.resilience import RetryPolicy
from aof_nb.models.timeouts import Timeouts
from aof_nb.ports import Sampling
from aof_nb.redact import RedactionPolicy
from aof_nb.resources.documents import Document
from aof_nb.resources.interpolation import Unset, interpolate
from aof_nb.resources.memory import memory_of
from aof_nb.resources.problems import near, spellings_of
from aof_nb.resources.schema import NOT_CARRIED_OUT, AgentSpec
from aof_nb.resources.servers import make_server, named_server
from aof_nb.resources.tools import make_tools
from aof_nb.structured_output import expected


def make_agent(
    document: Document,
    *,
    name: str | None,
    servers: Mapping[str, McpServer],
    functions: Mapping[str, Any],
    folder: FilePath,
) -> Agent | None:
    """An agent from its document; None if it has problems, which are noted.

    Args:
        document: As it was written.
        name: Overrides the document's name.
        servers: MCP servers that may be named.
        functions: Tools that may be named besides the built-in ones.
        folder: Where its file is: scripts are looked for there first.
    """
    findings, prefix = document.findings, document.prefix
    if _said_twice(document):
        return None
    spec = findings.validated(AgentSpec, document.spec, prefix)
    if spec is None:
        _look_on(document, servers, functions)
        return None
    for field in NOT_CARRIED_OUT:
        if field in document.spec:
            findings.warn((*prefix, field), f"{field} has no effect yet")
    for field in ("frequency_penalty", "presence_penalty"):
        if field in spec.parameters.model_fields_set:
            where = next(each for each in ("parameters", "model_config") if each in document.spec)
            findings.warn((*prefix, where, field), f"{field} has no effect yet")
    env = _environment(spec, document)
    attached = _servers(spec.mcp_servers, document, servers, env)
    tools = make_tools(spec.tools, findings, prefix, env, functions)
    attached = tools.mcp.applied(attached, findings, env, declared=_names(spec.mcp_servers))
    model = _model(spec, document, folder)
    memory, max_messages = memory_of(spec.memory, document.findings, (*document.prefix, "memory"))
    output_schema = _output_schema(spec, document)
    redaction = _redaction(spec, document)
    if findings.errors:
        return None
    return Agent(
        name=name or document.name or spec.name or "agent",
        model=model,
        instructions=spec.instructions,
        description=spec.description or document.description,
        tools=tools.declared,
        mcp_servers=attached,
        memory=memory,
        policy=spec.policy.made(tools.rules),
        limits=_limits(spec),
        sampling=_sampling(spec),
        max_context_messages=spec.max_context_messages or max_messages,
        labels={**document.labels, **spec.labels},
        fallback=[
            _found_model(each, document, ("fallback", place), folder)
            for place, each in enumerate(spec.fallback)
        ],
        retry=RetryPolicy(**spec.retry.model_dump(exclude_none=True)),
        timeouts=Timeouts(**spec.timeouts.model_dump(exclude_none=True)) if spec.timeouts else None,
        response_cache=spec.response_cache,
        journal=spec.journal,
        redaction=redaction,
        declared=document.spec,
        output_schema=output_schema,
        context=_context(spec, document, folder),
    )


def _redaction(spec: AgentSpec, document: Document) -> RedactionPolicy | None:
    if spec.redaction is None:
        return None
    try:
        return RedactionPolicy(**spec.redaction.model_dump())
    except ConfigurationError as error:
        document.findings.add((*document.prefix, "redaction"), error.message, error.remedy)
        return None


def _said_twice(document: Document) -> bool:
    found = False
    for field in AgentSpec.model_fields:
        spellings = [each for each in spellings_of(AgentSpec, field) if each in document.spec]
        for other in spellings[1:]:
            said = f"{spellings[0]} and {other} say the same"
            document.findings.add((*document.prefix, other), said, "keep one")
            found = True
    return found


def _model(spec: AgentSpec, document: Document, folder: FilePath) -> str:
    model = spec.model
    if spec.provider and not model.startswith(f"{spec.provider}:"):
        model = f"{spec.provider}:{model}"
    return _found_model(model, document, ("model",), folder)


def _found_model(
    model: str, document: Document, field: tuple[str | int, ...], folder: FilePath
) -> str:
    try:
        parse_name(model)
    except ConfigurationError:
        document.findings.warn(
            (*document.prefix, *field),
            f"{model!r} is of no provider known here, so a run needs another model",
            near(model.partition(":")[0], providers()),
        )
    kind, _, file = model.partition(":")
    beside = folder / file
    return f"{kind}:{beside}" if f"{kind}:" in FILES and beside.is_file() else model


def _output_schema(spec: AgentSpec, document: Document) -> Any:
    try:
        expected(spec.output_schema)
    except ConfigurationError as error:
        said = error.message.removeprefix("output_schema: ")
        document.findings.add((*document.prefix, "output_schema"), said, error.remedy)
    return spec.output_schema


def _environment(spec: AgentSpec, document: Document) -> dict[str, str]:
    filled = {}
    for name, value in spec.env.items():
        try:
            filled[name] = interpolate(value)
        except Unset as unset:
            field = "env" if "env" in document.spec else "environment"
            document.findings.warn(
                (*document.prefix, field, name),
                f"left out: the environment variable {unset.name} is not set",
                f"export {unset.name}=..., or write ${{{unset.name}:-default}}",
            )
    return filled


def _look_on(
    document: Document, servers: Mapping[str, McpServer], functions: Mapping[str, Any]
) -> None:
    """Finds the problems of tools and servers in a spec that has others besides."""
    tools, attached = document.spec.get("tools"), document.spec.get("mcp_servers")
    if isinstance(tools, list):
        make_tools(tools, document.findings, document.prefix, {}, functions)
    if isinstance(attached, list):
        _servers(attached, document, servers, {})


def _names(written: Sequence[Any]) -> list[str]:
    names = [each.get("name") if isinstance(each, dict) else each for each in written]
    return [each for each in names if isinstance(each, str)]


def _servers(
    written: Sequence[Any],
    document: Document,
    servers: Mapping[str, McpServer],
    env: Mapping[str, str],
) -> list[McpServer]:
    attached: list[McpServer | None] = []
    names = _names(written)
    for place, each in enumerate(written):
        path = (*document.prefix, "mcp_servers", place)
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str) and names.count(name) > 1:
            document.findings.add(path, f"there are two MCP servers {name!r}", "rename one")
        elif isinstance(each, str):
            attached.append(named_server(each, servers, document.findings, path))
        elif isinstance(each, dict):
            attached.append(make_server(each, document.findings, path, env=env))
        else:
            document.findings.add(path, "a server is a name or a mapping", "- name: ...")
    return [each for each in attached if each is not None]


def _limits(spec: AgentSpec) -> Limits:
    given: dict[str, Any] = {}
    if spec.resources.timeout is not None:
        given["max_seconds"] = spec.resources.timeout
    if spec.max_iterations is not None:
        given["max_turns"] = spec.max_iterations
    given |= {key: value for key, value in spec.limits.model_dump().items() if value is not None}
    return Limits(**given)


def _context(spec: AgentSpec, document: Document, folder: FilePath) -> ContextPolicy:
    given = spec.context.model_dump(exclude_none=True)
    if isinstance(given.get("summary_model"), str):
        where = ("context", "summary_model")
        given["summary_model"] = _found_model(given["summary_model"], document, where, folder)
    return ContextPolicy(**given)


def _sampling(spec: AgentSpec) -> Sampling:
    nested = spec.parameters
    max_tokens = spec.max_tokens or nested.max_tokens or spec.resources.max_tokens
    return Sampling(
        max_tokens=max_tokens,
        temperature=nested.temperature if spec.temperature is None else spec.temperature,
        top_p=spec.top_p or nested.top_p,
        thinking_tokens=spec.thinking_tokens,
        reasoning_effort=spec.reasoning_effort,
        stop=tuple(spec.stop),
    )
