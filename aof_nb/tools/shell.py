"""The shell tool, and single programs as tools. No shell expands anything unless asked for."""

from __future__ import annotations

import fnmatch
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from aof_nb.errors import ToolError
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from aof_nb.tools.process import run_process

_SHELL_SYNTAX = frozenset("|&;<>()`")
_WORDS_OF_A_KIND = 3
_NESTED = frozenset(
    {"az", "doas", "env", "gcloud", "nice", "nohup", "ssh", "sudo", "timeout", "xargs"}
)


class ShellTool:
    """Runs a program with arguments.

    The command is a list of words, or a line that is split as a shell would split it; pipes,
    redirections and the like are refused, as nothing would interpret them, unless the tool
    was made with `expand`.

    Args:
        allow: Shell-style patterns of command lines, such as ``kubectl get *``; a pattern
            without spaces allows the program with any arguments. None allows every program,
            and leaves it to the policy.
        timeout: Seconds a command may take; a call may ask for less.
        cwd: The working directory.
        env: Added to the environment.
        expand: Whether commands go through ``/bin/sh -c``.
        program: Makes it a tool for this program only, named after it.
        effect: What its commands do.

    Example:
        >>> ShellTool(allow=["df *", "uptime"]).spec.name
        'shell'
    """

    def __init__(
        self,
        *,
        allow: Sequence[str] | None = None,
        timeout: float = 60.0,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        expand: bool = False,
        program: str | None = None,
        effect: Effect = Effect.WRITE,
    ) -> None:
        self._allow = None if allow is None else tuple(allow)
        self._timeout = timeout
        self._cwd = cwd
        self._env = dict(env or {})
        self._expand = expand
        self._program = program
        self.spec = ToolSpec(
            name=program or "shell",
            description=self._description(),
            input_schema=self._schema(),
            effect=effect,
            source="built-in",
        )

    def _description(self) -> str:
        if self._program:
            text = f"Runs {self._program} with the given arguments and returns its output."
        elif self._expand:
            text = "Runs a command line with /bin/sh and returns its output."
        else:
            text = (
                "Runs one program with arguments and returns its output. There is no shell: "
                "no pipes, redirections, globs or variables."
            )
        if self._allow is not None:
            text += f" Allowed: {', '.join(self._allow)}."
        return text

    def _schema(self) -> dict[str, Any]:
        words: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
        if self._expand and not self._program:
            argument: dict[str, Any] = {
                "command": {"type": "string", "description": "The command line."}
            }
        elif self._program:
            argument = {"args": words | {"description": "The arguments, one word each."}}
        else:
            described = "The program and its arguments, one word each; or one line to be split."
            text = {"type": "string"}
            argument = {"argv": {"anyOf": [words, text], "description": described}}
        seconds = {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": f"Seconds it may take; {self._timeout:g} at most.",
        }
        return {
            "type": "object",
            "properties": argument | {"timeout": seconds},
            "required": list(argument),
            "additionalProperties": False,
        }

    def similar(self, arguments: Mapping[str, Any]) -> str:
        """Calls whose first three words are the same and no options are alike.

        With an option among them, and for programs that run others or nest their commands
        deeper, only the whole line is a kind.
        """
        if "command" in arguments:
            return str(arguments["command"])
        words = self._words(arguments)
        kind = words[:_WORDS_OF_A_KIND]
        nested = PurePath("".join(kind[:1])).name in _NESTED
        if nested or any(word.startswith("-") for word in kind):
            kind = words
        return shlex.join(kind)

    def plain(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The command as words, however it was written; a list of words stays one."""
        if not isinstance(arguments.get("argv"), str):
            return arguments
        return {**arguments, "argv": self._words(arguments)}

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Runs the command; a failing one is an error with its output."""
        if "command" in arguments:
            line = str(arguments["command"])
            argv = ["/bin/sh", "-c", line]
        else:
            argv = self._words(arguments)
            line = shlex.join(argv)
        self._check(argv, line)
        seconds = min(float(arguments.get("timeout") or self._timeout), self._timeout)
        try:
            finished = await run_process(
                argv, seconds=seconds, cwd=self._cwd, env=os.environ | self._env
            )
        except OSError as error:
            raise ToolError(f"{argv[0]} cannot be started: {error}") from error
        data = {"output": finished.output, "exit_code": finished.exit_code}
        if finished.timed_out:
            text = f"{finished.output}\n[stopped: it did not finish within {seconds:g} s]"
            return ToolOutput(text.lstrip(), data=data, is_error=True)
        if finished.exit_code != 0:
            text = f"{finished.output.rstrip()}\n[exit code {finished.exit_code}]"
            return ToolOutput(text.lstrip(), data=data, is_error=True)
        return ToolOutput(finished.output or "(no output)", data=data)

    def _words(self, arguments: Mapping[str, Any]) -> list[str]:
        if self._program:
            return [self._program, *map(str, arguments.get("args") or ())]
        argv = arguments.get("argv") or []
        return split_line(argv) if isinstance(argv, str) else [str(word) for word in argv]

    def _check(self, argv: Sequence[str], line: str) -> None:
        if not argv or not argv[0]:
            raise ToolError("The command is empty.")
        if self._allow is not None and not any(self._matches(each, line) for each in self._allow):
            raise ToolError(f"{line!r} is not allowed. Allowed: {', '.join(self._allow)}.")
        if shutil.which(argv[0], path=self._env.get("PATH")) is None:
            raise ToolError(f"There is no program {argv[0]!r} on this machine.")

    def _matches(self, pattern: str, line: str) -> bool:
        # With a shell a line can hold several commands: only the whole line says what runs.
        if " " not in pattern and not self._expand:
            return fnmatch.fnmatchcase(line.partition(" ")[0], pattern)
        return fnmatch.fnmatchcase(line, pattern)


def split_line(line: str) -> list[str]:
    """Splits a command line into words, refusing what only a shell would understand.

    Raises:
        ToolError: If there is shell syntax outside quotes, or a quote is open.

    Example:
        >>> split_line("grep 'a b' file.log")
        ['grep', 'a b', 'file.log']
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ToolError(f"The command line cannot be split: {error}.") from None
    if syntax := _unquoted_syntax(line):
        raise ToolError(
            f"There is no shell, so {syntax!r} means nothing here. Run one program at a time, "
            "with its arguments as a list of words."
        )
    return words


def _unquoted_syntax(line: str) -> str:
    """The first character outside quotes that only a shell would understand."""
    quote, escaped = "", False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _SHELL_SYNTAX:
            return character
    return ""
