"""An agent's tools from what was written: names, and AOF's mappings with a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aof_nb.policy import Action, Rule
from aof_nb.ports import Tool
from aof_nb.resources.interpolation import Unset, interpolate
from aof_nb.resources.mcp_tools import McpTools
from aof_nb.resources.problems import Findings, Path, known_fields, near
from aof_nb.resources.tool_schema import (
    FilesConfig,
    HttpConfig,
    ShellConfig,
    ToolConfig,
    ToolEntry,
)
from aof_nb.tools.registry import PROGRAMS, builtin_names

_COMMANDS = ("shell", *PROGRAMS)
_ALIASES = {"file": "files", "filesystem": "files"}
_TYPO = 0.8
"""Names at least so like a built-in one are taken for a slip of the pen."""

_Config = TypeVar("_Config", bound=ToolConfig)


@dataclass
class Tools:
    """What an agent declares of its tools.

    Args:
        declared: The tools, as `Agent` takes them.
        rules: What AOF's configuration of them forbids, for the policy.
        mcp: What is said of tools of MCP servers.
    """

    declared: list[str | Tool | Mapping[str, Any]] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    mcp: McpTools = field(default_factory=McpTools)


def make_tools(
    written: Sequence[Any],
    findings: Findings,
    prefix: Path,
    env: Mapping[str, str],
    functions: Mapping[str, Any],
) -> Tools:
    """An agent's tools; their problems are noted.

    A tool of AOF's that is not built in is kept: the agent can be loaded, and its run says so.

    Args:
        written: The names and mappings.
        findings: Takes the problems.
        prefix: Where the agent's spec stands in its document.
        env: Variables that commands get.
        functions: Tools that may be named besides the built-in ones.
    """
    reader = _Reader(findings, env, functions)
    for place, each in enumerate(written):
        path = (*prefix, "tools", place)
        if isinstance(each, str):
            reader.named(each, path)
        elif isinstance(each, dict):
            reader.configured(each, path)
        else:
            findings.add(path, "a tool is a name or a mapping", "- shell")
    return reader.tools


@dataclass
class _Reader:
    findings: Findings
    env: Mapping[str, str]
    functions: Mapping[str, Any]
    tools: Tools = field(default_factory=Tools)

    def named(self, name: str, path: Path) -> None:
        function = self.functions.get(name)
        if isinstance(function, Tool):
            self.tools.declared.append(function)
            return
        name = _ALIASES.get(name, name)
        if self._known(name, path) and name in _COMMANDS and self.env:
            self.tools.declared.append({"name": name, "config": {"env": dict(self.env)}})
        else:
            self.tools.declared.append(name)

    def configured(self, written: dict[str, Any], path: Path) -> None:
        tool = self.findings.validated(ToolEntry, written, path)
        if tool is None or not tool.enabled:
            return
        kind = tool.type.lower()
        if "mcp" in {tool.source.lower(), kind, tool.name}:
            self.tools.mcp.add(tool, self.findings, path)
            return
        if tool.source not in {"", "builtin", "built-in"}:
            self.findings.warn(
                (*path, "source"), f"source {tool.source!r} has no effect", "builtin or mcp"
            )
        name = _ALIASES.get(tool.name, tool.name) or _ALIASES.get(kind, kind)
        if not name:
            self.findings.add(path, "the tool has no name", f"name: {', '.join(builtin_names())}")
            return
        if not self._known(name, path):
            self.tools.declared.append(name)
            return
        config = self._config(tool, name, path)
        if config is not None:
            self.tools.declared.append({"name": name, "config": config})

    def _known(self, name: str, path: Path) -> bool:
        names = builtin_names()
        if name in names:
            return True
        if callable(self.functions.get(name)):
            self.findings.add(path, f"{name} is not a tool yet", "put @tool above its definition")
            return False
        said = f"there is no built-in tool {name!r}"
        if difflib.get_close_matches(name, names, n=1, cutoff=_TYPO):
            self.findings.add(path, said, near(name, names))
            return False
        program = name.partition("_")[0]
        remedy = f"use {program}, which runs its program" if program in PROGRAMS else ""
        self.findings.warn(path, said, remedy or "use shell, http, or an MCP server's tools")
        return False

    def _config(self, tool: ToolEntry, name: str, path: Path) -> dict[str, Any] | None:
        here = (*path, "config")
        found: dict[str, Any] | None
        if name in _COMMANDS:
            found = self._command(tool, name, here)
        elif name == "http":
            found = self._http(tool, here)
        else:
            found = self._files(tool, name, here)
        if found is not None and tool.timeout is not None:
            if name in _COMMANDS or name == "http":
                found.setdefault("timeout", tool.timeout)
            else:
                self.findings.warn((*path, "timeout"), f"a timeout has no effect on {name}")
        return found

    def _command(self, tool: ToolEntry, name: str, path: Path) -> dict[str, Any] | None:
        given = self._read(ShellConfig, tool, name, path)
        if given is None:
            return None
        config = given.model_dump(include={"timeout", "cwd", "expand"}, exclude_defaults=True)
        allow = [*(given.allow or ())]
        for command in given.allowed_commands or ():
            # AOF's "git log" allows it with any arguments; our patterns match whole lines.
            allow += [command, f"{command} *"] if " " in command else [command]
        if given.allow is not None or given.allowed_commands is not None:
            config["allow"] = allow
        self.tools.rules += [_blocked(name, each, given.expand) for each in given.blocked_commands]
        if env := {**self.env, **self._filled(given.env, (*path, "env"))}:
            config["env"] = env
        return config

    def _http(self, tool: ToolEntry, path: Path) -> dict[str, Any] | None:
        given = self._read(HttpConfig, tool, "http", path)
        if given is None:
            return None
        config = given.model_dump(
            include={"methods", "allow_private", "allow_hosts", "timeout"}, exclude_defaults=True
        )
        if given.headers:
            config["headers"] = self._filled(given.headers, (*path, "headers"))
        return config

    def _files(self, tool: ToolEntry, name: str, path: Path) -> dict[str, Any] | None:
        given = self._read(FilesConfig, tool, name, path)
        if given is None:
            return None
        if given.read_only:
            self.tools.rules.append(Rule(action=Action.DENY, tool="write_file"))
        paths = given.allowed_paths
        if len(paths) > 1:
            self.findings.warn(
                (*path, "allowed_paths"), f"only the first is used: {paths[0]}", "give one path"
            )
        root = given.root or (paths[0] if paths else None)
        return {} if root is None else {"root": root}

    def _read(
        self, schema: type[_Config], tool: ToolEntry, name: str, path: Path
    ) -> _Config | None:
        known = known_fields(schema, ())
        for option in tool.config:
            if option not in known:
                here = (*path, str(option))
                self.findings.warn(here, f"{option} has no effect on {name}", near(option, known))
        return self.findings.validated(schema, tool.config, path)

    def _filled(self, written: Mapping[str, str], path: Path) -> dict[str, str]:
        filled = {}
        for key, value in written.items():
            try:
                filled[key] = interpolate(value)
            except Unset as unset:
                self.findings.unset((*path, key), unset.name)
        return filled


def _blocked(name: str, command: str, expand: bool) -> Rule:
    if name == "shell":
        argument = "command" if expand else "argv"
        return Rule(action=Action.DENY, tool=name, arguments={argument: f"{command}*"})
    arguments = command.removeprefix(name).strip()
    return Rule(action=Action.DENY, tool=name, arguments={"args": f"{arguments}*"})
