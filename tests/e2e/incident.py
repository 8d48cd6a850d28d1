"""The notebook that the browser opens: a bad rollout, its tools, and a playbook."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat

PLAYBOOK = """\
steps:
  - say: "The latency rose with the last rollout, so I compare **log** and **config** first."
    calls:
      log: {tool: read_log, arguments: {service: checkout, lines: 3}}
      diff: {tool: diff_config, arguments: {service: checkout}}
    let:
      pool: diff.data.pool_size
  - id: repair
    say: "The rollout cut the connection pool from **{{ results.diff.data.pool_size.before }}** to
      **{{ results.diff.data.pool_size.now }}**, and requests queue for a connection. Rolling back."
    call: {tool: roll_back, arguments: {service: checkout, to: "{{ results.diff.data.before }}"}}
  - when: results.repair.denied
    answer: "The rollback was refused; checkout is still slow."
  - id: probe
    call: {tool: probe, arguments: {service: checkout}}
  - answer: |
      ### checkout is healthy again

      | | before | now |
      |---|---|---|
      | version | {{ results.diff.data.now }} | {{ results.diff.data.before }} |
      | pool size | {{ results.diff.data.pool_size.now }} | {{ results.probe.data.pool_size }} |
      | status | 503 | {{ results.probe.data.status }} |

      **Cause:** rollout {{ results.diff.data.now }} set `pool_size` too low.
      **Next:** add a lower bound to the config check.
"""
SETUP = '''\
%load_ext aof_nb
import asyncio, json
from pathlib import Path
from aof_nb import Agent, tool
from aof_nb.models.script import ScriptModel

state = Path("checkout.json")

@tool(effect="read")
def read_log(service: str, lines: int) -> str:
    """Reads the end of a log."""
    return "\\n".join(Path(f"{service}.log").read_text().splitlines()[-lines:])

@tool(effect="read")
def diff_config(service: str) -> dict:
    """Compares a service's configuration with the one before."""
    return json.loads(state.read_text())["diff"]

@tool
async def roll_back(service: str, to: str) -> str:
    """Rolls a service back."""
    await asyncio.sleep(0.4)
    content = json.loads(state.read_text())
    state.write_text(json.dumps(content | {"version": to, "pool_size": 20}))
    return f"{service} runs {to}"

@tool(effect="read")
def probe(service: str) -> dict:
    """Sends a request."""
    content = json.loads(state.read_text())
    return {"status": 200 if content["pool_size"] > 1 else 503, "pool_size": content["pool_size"]}

@tool(effect="read")
async def watch(service: str) -> str:
    """Watches a service."""
    await asyncio.sleep(600)

sre = Agent(
    name="sre",
    model=ScriptModel("rollout.yaml", pace=0.06),
    tools=[read_log, diff_config, roll_back, probe],
)
guard = Agent(name="guard", model="script:watch.yaml", tools=[watch])
since = "14:02"
'''
CELLS = [
    SETUP,
    "%%aof sre\nCheckout answers slowly since {since}: find the cause, then repair it.",
    "%%aof guard\nWatch checkout.",
    "Path('went_on').touch()",
]


def write(directory: Path) -> Path:
    """Writes the notebook and all that it needs."""
    (directory / "rollout.yaml").write_text(PLAYBOOK)
    (directory / "watch.yaml").write_text(
        "steps: [{say: I keep an eye on it., call: {tool: watch, arguments: {service: checkout}}},"
        " {answer: Nothing happened.}]\n"
    )
    (directory / "checkout.log").write_text(
        "14:02:11 INFO  rollout v42 active\n"
        "14:02:40 WARN  pool exhausted, 41 requests wait for a connection\n"
        "14:03:02 ERROR GET /checkout 503 after 5.0 s\n"
    )
    pool = {"before": 20, "now": 1}
    diff = {"before": "v41", "now": "v42", "pool_size": pool}
    state = {"version": "v42", "pool_size": 1, "diff": diff}
    (directory / "checkout.json").write_text(json.dumps(state))
    cells = [nbformat.v4.new_code_cell(each) for each in CELLS]
    spec = {"name": "aof-test", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
    path = directory / "incident.ipynb"
    nbformat.write(notebook, path)
    return path
