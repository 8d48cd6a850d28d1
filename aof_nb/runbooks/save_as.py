"""Saving a finished investigation as a runbook that needs no model."""

from __future__ import annotations

import contextlib
import keyword
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError
from aof_nb.journal.entries import ModelResponded, ToolIntended, ToolReturned
from aof_nb.journal.recording import Recording
from aof_nb.ports import Effect
from aof_nb.runbooks.declaring import declared_yaml
from aof_nb.runbooks.function_source import function_cells, names_in
from aof_nb.runbooks.lifting import Parameter, as_code, lifted
from aof_nb.truncation import truncate

_MOST_ASSERTIONS = 5
_VOLATILE = re.compile(
    r"(time|date|age|uptime|since|duration|latency|_ms|_at|pid|id)$", re.IGNORECASE
)
_VOLATILE_VALUE = re.compile(
    r"\n|\d{4}-\d\d-\d\d|\d\d:\d\d|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{12}|\d{6}"
)
_LONGEST_EXPECTED = 200
_DISTINCTIVE = re.compile(r"[A-Za-z0-9][\w./:-]{3,}")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that succeeded.

    Args:
        number: Its place, from 1.
        tool: The tool's name.
        effect: What the tool does.
        arguments: What with.
        text: The output as text.
        data: The output as JSON, if it had any.
        said: What the model said when it asked for it; empty for all but a turn's first call.
    """

    number: int
    tool: str
    effect: str
    arguments: dict[str, Any]
    text: str
    data: Any
    said: str


class SavedRunbook(msgspec.Struct, frozen=True):
    """A runbook that was written.

    Args:
        path: The notebook.
        steps: How many tool calls it has.
        parameters: Their names and defaults.
        notes: What has to be completed by hand.
    """

    path: Path
    steps: int
    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...]


def save_runbook(
    path: str | Path, recording: Recording, agent: Agent, *, overwrite: bool = False
) -> SavedRunbook:
    """Writes a run as a notebook of plain steps: parameters, calls, checks, conclusions.

    Args:
        path: The notebook; its name ends in ``.ipynb``.
        recording: The run.
        agent: Who ran it: its tools, servers and policy become the runbook's.
        overwrite: Whether a file that is there is replaced.

    Raises:
        ConfigurationError: If the file is there, or the run has no successful tool call.
    """
    path = Path(path)
    if path.suffix != ".ipynb":
        raise ConfigurationError(f"{path} is no notebook's name", remedy="end it in .ipynb")
    if path.exists() and not overwrite:
        raise ConfigurationError(
            f"{path} is there already", remedy="name another file, or remove it first"
        )
    notebook, steps, parameters, notes = runbook_of(recording, agent)
    import nbformat

    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, partial)  # type: ignore[no-untyped-call]
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", remedy="name another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return SavedRunbook(path, len(steps), tuple(parameters), tuple(notes))


def runbook_of(
    recording: Recording, agent: Agent
) -> tuple[Any, list[Step], list[Parameter], list[str]]:
    """A run as a notebook, with its steps, its parameters, and what is to be completed by hand.

    Raises:
        ConfigurationError: If the run has no successful tool call.
    """
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    steps = steps_of(recording)
    if not steps:
        raise ConfigurationError(
            f"the run {recording.run_id} has no successful tool call to make a runbook of",
            remedy="name a run that has looked at something, with --run",
        )
    prompt = recording.begun.prompt
    used = {step.tool for step in steps}
    functions = function_cells(agent.tools, used)
    reserved = {"steps", "Steps", *(f"step_{step.number}" for step in steps)}
    for function in functions:
        reserved |= names_in(function.code)
    parameters = lifted([step.arguments for step in steps], prompt, reserved=reserved)
    declared, notes = declared_yaml(agent, used)
    cells: list[Any] = []

    def markdown(text: str, name: str) -> None:
        cells.append(new_markdown_cell(text, id=name))  # type: ignore[no-untyped-call]

    def code(text: str, name: str, *tags: str) -> None:
        metadata = {"tags": list(tags)} if tags else {}
        cells.append(new_code_cell(text, id=name, metadata=metadata))  # type: ignore[no-untyped-call]

    title = _title(prompt)
    markdown(
        f"# {title}\n\nMade of run `{recording.run_id}` of agent `{recording.begun.agent}`. "
        "It runs without a model: each step calls the tool that the agent called, "
        "behind the same policy.",
        "title",
    )
    if parameters:
        code(
            "\n".join(f"{each.name} = {each.value!r}" for each in parameters),
            "parameters",
            "parameters",
        )
    else:
        code("", "parameters", "parameters")
    for number, function in enumerate(functions, 1):
        notes += function.notes
        code(function.code, f"tool-{number}")
    code(_setup(declared, [function.variable for function in functions]), "setup")
    checks = _checks(steps, recording, parameters)
    for step in steps:
        shown = f"### Step {step.number}: {step.tool}"
        markdown(f"{shown}\n\n{step.said}".rstrip(), f"about-step-{step.number}")
        lines = [_call(step, parameters), f"step_{step.number}"]
        code("\n".join(lines), f"step-{step.number}", *_tags(step))
        if step.number in checks:
            code("\n".join(checks[step.number]), f"check-step-{step.number}")
    markdown(_conclusions(recording, steps), "conclusions")
    notebook = new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["aof"] = {"title": title, "made_of_run": recording.run_id}
    return notebook, steps, parameters, notes


def steps_of(recording: Recording) -> list[Step]:
    """The run's successful tool calls, in the order they were begun."""
    said: dict[str, str] = {}
    for response in recording.of(ModelResponded):
        calls = response.message.tool_calls
        if calls:
            said[calls[0].id] = response.message.text.strip()
    outcomes = {
        each.call_id: each.output
        for each in recording.of(ToolReturned)
        if not (each.output.is_error or each.output.denied or each.output.unknown)
    }
    steps: list[Step] = []
    for call in {each.call_id: each for each in recording.of(ToolIntended)}.values():
        if call.call_id in outcomes:
            output = outcomes[call.call_id]
            steps.append(
                Step(
                    number=len(steps) + 1,
                    tool=call.tool,
                    effect=call.effect,
                    arguments=call.arguments,
                    text=output.content,
                    data=output.data,
                    said=said.get(call.call_id, ""),
                )
            )
    return steps


def _title(prompt: str) -> str:
    first = prompt.strip().splitlines()[0] if prompt.strip() else "Runbook"
    return textwrap.shorten(first, 80, placeholder="…")


def _tags(step: Step) -> tuple[str, ...]:
    return ("once",) if step.effect != Effect.READ else ()


def _setup(declared: str, functions: Sequence[str]) -> str:
    given = f", functions=[{', '.join(functions)}]" if functions else ""
    # Raw, so that a backslash is one: a pattern of the policy may have some.
    quotes = "r'''" if '"""' in declared else 'r"""'
    return (
        "from aof_nb.runbooks import Steps\n\n"
        f"steps = Steps.from_yaml({quotes}\n{declared.strip()}\n{quotes[1:]}{given})"
    )


def _call(step: Step, parameters: Sequence[Parameter]) -> str:
    simple = all(key.isidentifier() and not keyword.iskeyword(key) for key in step.arguments)
    pieces = [f'"{step.tool}"']
    if simple:
        pieces += [f"{key}={as_code(value, parameters)}" for key, value in step.arguments.items()]
    else:
        pieces.append(f"**{as_code(step.arguments, parameters)}")
    line = f"step_{step.number} = await steps.call({', '.join(pieces)})"
    if len(line) <= 100:
        return line
    inside = "".join(f"    {piece},\n" for piece in pieces)
    return f"step_{step.number} = await steps.call(\n{inside})"


def _checks(
    steps: Sequence[Step], recording: Recording, parameters: Sequence[Parameter]
) -> dict[int, list[str]]:
    """Assertions after the steps in which the agent saw that something had changed, or was so.

    What is read after the last change, and was read before it in the same way, is expected to be
    as it was then; so is what the answer names.
    """
    changes = [step.number for step in steps if step.effect != Effect.READ]
    answer = _answer(recording)
    found: dict[int, list[str]] = {}
    for step in steps:
        if step.effect != Effect.READ or (changes and step.number < changes[-1]):
            continue
        before = [
            each
            for each in steps[: step.number - 1]
            if each.tool == step.tool and each.arguments == step.arguments
        ]
        asserted = _assertions(step, before[-1] if before else None, answer, parameters)
        if asserted:
            found[step.number] = asserted[:_MOST_ASSERTIONS]
    return found


def _assertions(
    step: Step, before: Step | None, answer: str, parameters: Sequence[Parameter]
) -> list[str]:
    name = f"step_{step.number}"
    lines = []
    if isinstance(step.data, dict | list):
        old = dict(_scalars(before.data)) if before is not None else {}
        for path, value in _scalars(step.data):
            if value in step.arguments.values():
                continue
            changed = before is not None and path in old and old[path] != value
            named = isinstance(value, str) and len(value) > 2 and _word(value, answer)
            if changed or named:
                lines.append(_expected(f"{name}.data{path}", value, parameters))
        return lines
    if before is not None:
        gone = [line for line in before.text.splitlines() if _is_failure(line)]
        still = set(step.text.splitlines())
        for line in dict.fromkeys(each for each in gone if each not in still):
            word = next(
                (each for each in re.findall(r"[A-Za-z]{4,}", line) if _is_failure(each)), ""
            )
            if word and word not in step.text:
                check = f"assert {word!r} not in {name}.text"
                lines += [] if check in lines else [check]
    return lines


def _expected(code: str, value: str | bool, parameters: Sequence[Parameter]) -> str:
    if isinstance(value, bool):
        return f"assert {code}" if value else f"assert not {code}"
    return f"assert {code} == {as_code(value, parameters)}"


def _is_failure(text: str) -> bool:
    return (
        re.search(r"error|fail|crash|timeout|refused|unhealthy|down\b", text, re.IGNORECASE)
        is not None
    )


def _word(value: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text) is not None


def _scalars(data: Any, path: str = "") -> Any:
    """The stable scalars of JSON data, with the code that gets at each."""
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, dict | list) or not _VOLATILE.search(str(key)):
                yield from _scalars(value, f"{path}[{key!r}]")
    elif isinstance(data, list):
        for place, value in enumerate(data[:20]):
            yield from _scalars(value, f"{path}[{place}]")
    elif isinstance(data, bool) or (isinstance(data, str) and not _is_volatile(data)):
        yield path, data


def _is_volatile(value: str) -> bool:
    """Whether a text is of this one incident, or too long to be compared."""
    return len(value) > _LONGEST_EXPECTED or _VOLATILE_VALUE.search(value) is not None


def _answer(recording: Recording) -> str:
    return recording.ended.text.strip() if recording.ended is not None else ""


def _conclusions(recording: Recording, steps: Sequence[Step]) -> str:
    answer = _answer(recording)
    parts = ["## Conclusions", answer or "The run has no answer."]
    evidence = _evidence(answer, steps)
    if evidence:
        parts.append("**Evidence**\n\n" + "\n".join(evidence))
    return "\n\n".join(parts)


def _evidence(answer: str, steps: Sequence[Step]) -> list[str]:
    """Links to the steps in whose output stands what the answer names."""
    named = [word.rstrip(".:") for word in _DISTINCTIVE.findall(answer)]
    distinctive = [word for word in dict.fromkeys(named) if re.search(r"[\d_./:-]", word)]
    lines = []
    for step in steps:
        held = [word for word in distinctive if word in step.text][:4]
        if held:
            quoted = ", ".join(f"`{truncate(word, 80)}`" for word in held)
            anchor = f"Step-{step.number}:-{step.tool}"
            lines.append(f"- [Step {step.number}: {step.tool}](#{anchor}) shows {quoted}")
    return lines
