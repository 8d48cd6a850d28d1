"""A notebook with agents, for tests of what tests notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

TOOLS = '''\
from pathlib import Path

from aof_nb import Agent, tool


@tool(effect="read")
def status(service: str) -> str:
    """The state of a service."""
    return f"{service} is slow"


@tool(effect="write")
def restart(service: str) -> str:
    """Restarts a service."""
    with Path("restarts.txt").open("a") as file:
        file.write(f"{service}\\n")
    return f"{service} restarted"
'''
PLAYBOOK = """\
kind: Playbook
name: fix
steps:
  - call: {tool: status, arguments: {service: web}}
    say: I look first.
  - id: repair
    call: {tool: restart, arguments: {service: web}}
  - when: results.repair.denied
    answer: Nothing was done.
  - answer: "Done: {{ results.repair.content }}."
"""
AGENT = """\
%%aof_agent sre
model: script:fix.yaml
instructions: Look first.
tools: [status, restart]
"""
ASK = "%%aof sre --approve all --out result\nWhy is {service} slow?"
IN_PYTHON = """\
second = Agent(name="second", model="script:fix.yaml", tools=[status, restart])
async for event in second.stream("And now?", approve="never"):
    pass
print("asked in Python")"""
LIVE = "print('restarts:', Path('restarts.txt').read_text().split())"


def write_notebook(directory: Path) -> Path:
    """Writes the notebook, never executed, and the playbook that it names."""
    (directory / "fix.yaml").write_text(PLAYBOOK)
    sources: dict[str, dict[str, Any]] = {
        "service = 'web'": {"tags": ["parameters"]},
        f"%load_ext aof_nb\n{TOOLS}": {},
        AGENT: {},
        ASK: {},
        LIVE: {"tags": ["live", "nbval-skip"]},
        IN_PYTHON: {},
        "result.turns": {},
    }
    cells = [
        nbformat.v4.new_code_cell(source, id=f"cell-{number}", metadata=metadata)
        for number, (source, metadata) in enumerate(sources.items(), start=1)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path = directory / "triage.ipynb"
    nbformat.write(notebook, path)
    return path


def changed(path: Path, was: str, now: str) -> Path:
    """The notebook with a text in one of its cells replaced."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [each for each in notebook.cells if was in each.source]
    cell.source = cell.source.replace(was, now)
    nbformat.write(notebook, path)
    return path


def outputs(path: Path, cell: int) -> str:
    """The text of the outputs that are saved of a cell, counted from 1."""
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(
        output.text if output.output_type == "stream" else output.data["text/plain"]
        for output in notebook.cells[cell - 1].outputs
    )
