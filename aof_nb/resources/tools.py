"""An agent's tools from what was written: names, and AOF's mappings with a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aof_nb.policy import Action, Rule
from aof_nb.resources.problems import Findings, Path, near
from aof_nb.resources.schema import ToolConfig, seconds
from aof_nb.tools.registry import PROGRAMS, builtin_names

_COMMANDS = ("shell", *PROGRAMS)
_ALIASES = {"file": "files", "filesystem": "files"}
_OWN_OPTIONS = {
    "shell": ("allow", "timeout", "cwd", "env", "expand"),
    "files": ("root",),
    "http": ("methods", "allow_private", "allow_hosts", "headers", "timeout"),
}
_AOF_OPTIONS = {
    "shell": ("allowed_commands", "blocked_commands", "working_directory", "timeout_secs"),
    "files": ("allowed_paths", "read_only"),
    "http": ("timeout_secs",),
}


@dataclass
class Tools:
    """What an agent declares of its tools, and what its policy says of them."""

    declared: list[str | Mapping[str, Any]] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


def make_tools(
    written: Sequence[Any],
    findings: Findings,
    prefix: Path,
    servers: Sequence[str],
    env: Mapping[str, str],
) -> Tools:
    """An agent's tools; their problems are noted.

    A name that is not built in is kept: it may be a function's, and the run says if it is not.

    Args:
        written: The names and mappings.
        findings: Takes the problems.
        prefix: Where the agent's spec stands in its document.
        servers: Names of the agent's MCP servers.
        env: Variables that commands get.
    """
    reader = _Reader(findings, servers, env)
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
    servers: Sequence[str]
    env: Mapping[str, str]
    tools: Tools = field(default_factory=Tools)

    def named(self, name: str, path: Path) -> None:
        name = _ALIASES.get(name, name)
        if name not in builtin_names():
            self._unknown(name, path)
        if name in _COMMANDS and self.env:
            self.tools.declared.append({"name": name, "config": {"env": dict(self.env)}})
        else:
            self.tools.declared.append(name)

    def configured(self, written: dict[str, Any], path: Path) -> None:
        from pydantic import ValidationError

        try:
            tool = ToolConfig.model_validate(written)
        except ValidationError as error:
            self.findings.add_validation(error, ToolConfig, path)
            return
        if not tool.enabled:
            return
        if "mcp" in {tool.source.lower(), tool.type.lower(), tool.name}:
            server = tool.server or str(tool.config.get("server") or tool.name)
            if server not in self.servers:
                self.findings.warn(
                    path, f"no MCP server {server!r} is declared for it", "add it to mcp_servers"
                )
            return
        name = _ALIASES.get(tool.name, tool.name) or _ALIASES.get(tool.type, tool.type)
        family = _family(name)
        if family is None:
            self._unknown(name, path)
            self.tools.declared.append(name)
            return
        config = self._config(tool, name, family, (*path, "config"))
        if family == "shell" and self.env:
            config["env"] = {**self.env, **config.get("env", {})}
        self.tools.declared.append({"name": name, "config": config})

    def _unknown(self, name: str, path: Path) -> None:
        self.findings.warn(path, f"tool {name!r} is not built in", near(name, builtin_names()))

    def _config(self, tool: ToolConfig, name: str, family: str, path: Path) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for option, value in tool.config.items():
            here = (*path, option)
            if option in _OWN_OPTIONS[family]:
                config[option] = value
            elif option == "working_directory" and family == "shell":
                config["cwd"] = value
            elif option == "timeout_secs" and family in {"shell", "http"}:
                config["timeout"] = seconds(value)
            elif option == "allowed_commands" and family == "shell":
                config["allow"] = [form for each in value for form in _with_arguments(str(each))]
            elif option == "blocked_commands" and family == "shell":
                self.tools.rules += [_blocked(name, str(each)) for each in value]
            elif option == "allowed_paths" and family == "files" and value:
                config["root"] = value[0]
                if len(value) > 1:
                    self.findings.warn(
                        here, f"only the first path is used: {value[0]}", "give one path"
                    )
            elif option == "read_only" and family == "files":
                if value:
                    self.tools.rules.append(Rule(action=Action.DENY, tool="write_file"))
            else:
                known = (*_OWN_OPTIONS[family], *_AOF_OPTIONS[family])
                self.findings.warn(here, f"{option} has no effect on {name}", near(option, known))
        return config


def _family(name: str) -> str | None:
    if name in _COMMANDS:
        return "shell"
    if name == "http":
        return "http"
    return "files" if name in builtin_names() else None


def _with_arguments(command: str) -> list[str]:
    """AOF's ``git log`` allows it with any arguments; our patterns match whole lines."""
    return [command, f"{command} *"] if " " in command else [command]


def _blocked(name: str, command: str) -> Rule:
    if name == "shell":
        return Rule(action=Action.DENY, tool="shell", arguments={"argv": f"{command}*"})
    arguments = command.removeprefix(name).strip()
    return Rule(action=Action.DENY, tool=name, arguments={"args": f"{arguments}*"})
