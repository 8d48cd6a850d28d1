"""What a tool call will do, in plain words, for the person who is to allow it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from aof_nb.events import CallWithheld
from aof_nb.outbound import command_words, destinations
from aof_nb.ports import Effect, ToolSpec
from aof_nb.readable import counted
from aof_nb.truncation import truncate

_LINE_CHARS = 400
_EFFECTS = {
    Effect.READ: "It only reads.",
    Effect.WRITE: "It changes something.",
    Effect.DESTRUCTIVE: "It may destroy something that cannot be brought back.",
}
_KUBECTL = {
    "apply": "creates or changes",
    "create": "creates",
    "delete": "deletes",
    "drain": "moves everything away from",
    "edit": "changes",
    "exec": "runs a program in",
    "patch": "changes",
    "replace": "replaces",
    "rollout": "rolls out, or back,",
    "scale": "changes the number of copies of",
    "set": "changes",
}


def described(spec: ToolSpec, arguments: Mapping[str, Any]) -> list[str]:
    """What a call will do: a line each, none of which is markup.

    Args:
        spec: The tool.
        arguments: What it is called with.

    Example:
        >>> shell = ToolSpec(name="shell", description="", input_schema={}, source="built-in")
        >>> for line in described(shell, {"argv": "kubectl delete pod web-1 -n shop"}):
        ...     print(line)
        Runs on this machine: kubectl delete pod web-1 -n shop
        It deletes pod web-1, in the current context, namespace shop.
        It changes something.
    """
    lines = []
    words = command_words(spec, arguments)
    if isinstance(arguments.get("command"), str) and words is not None:
        lines.append(f"Runs on this machine, with a shell: {_short(str(arguments['command']))}")
    elif words is not None:
        lines.append(f"Runs on this machine: {_short(shlex.join(words))}")
    elif spec.name == "write_file" and spec.source.startswith("function aof_nb.tools.files."):
        size = len(str(arguments.get("content", "")).splitlines())
        lines.append(f"Writes {counted(size, 'line')} to {_short(str(arguments.get('path')))}")
    elif spec.name == "http" and spec.source == "built-in":
        method = str(arguments.get("method", "GET")).upper()
        lines.append(f"Sends {method} to {_short(str(arguments.get('url')))}")
    else:
        lines.append(_whose(spec))
    if words and PurePath(words[0]).name == "kubectl":
        lines.append(_kubectl(words[1:]))
    if to := destinations(spec, arguments):
        lines.append(f"Data leaves this machine, to {', '.join(to)}.")
    lines.append(_EFFECTS[spec.effect])
    return [line for line in lines if line]


def withheld_lines(calls: Sequence[CallWithheld]) -> list[str]:
    """The calls that a dry run has not made, a line each after the first, which counts them.

    Example:
        >>> call = CallWithheld("c", "restart", "write", {}, ("It changes something.",))
        >>> for line in withheld_lines([call]):
        ...     print(line)
        Dry run: 1 call was not executed.
        1. restart: It changes something.
    """
    if not calls:
        return ["Dry run: the agent asked for no call that changes or sends something."]
    verb = "was" if len(calls) == 1 else "were"
    lines = [f"Dry run: {counted(len(calls), 'call')} {verb} not executed."]
    told = (f"{each.tool}: {' · '.join(each.does)}" for each in calls)
    return lines + [f"{number}. {each}" for number, each in enumerate(told, 1)]


def _whose(spec: ToolSpec) -> str:
    kind, _, name = spec.source.partition(":")
    does = spec.description.strip().split("\n", 1)[0]
    who = f"The MCP server {name} says of it" if kind == "mcp" else ""
    if not does:
        return f"It is a tool of the MCP server {name}." if who else ""
    return _short(f"{who}: {does}" if who else does)


def _kubectl(words: Sequence[str]) -> str:
    """What a command does to which cluster."""
    options: dict[str, str] = {}
    plain: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in {"--context", "--namespace", "-n", "--cluster"}:
            options[name] = value if equals else (rest.pop(0) if rest else "")
        elif word in {"-A", "--all-namespaces"}:
            options["--namespace"] = "all"
        elif not word.startswith("-"):
            plain.append(word)
    does = _KUBECTL.get(plain[0]) if plain else None
    if does is None:
        return ""
    context = options.get("--context") or options.get("--cluster")
    where = f"context {context}" if context else "the current context"
    namespace = options.get("--namespace") or options.get("-n")
    inside = f", namespace {namespace}" if namespace else ""
    what = " ".join(plain[1:]) or "what the command names"
    return f"It {does} {_short(what)}, in {where}{inside}."


def _short(text: str) -> str:
    return " ".join(truncate(" ".join(text.split()), _LINE_CHARS).split())
