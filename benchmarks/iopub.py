"""The bytes that an answer costs on a real kernel's iopub channel, against its own size."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from benchmarks.scripted_server import answer

PATIENCE = 120.0
SETUP = """
%load_ext aof_nb
from aof_nb import Agent, resolve_model
"""
ASK = """
bench = Agent(name="bench", model=resolve_model({model!r}, base_url={url!r}, api_key="k"))
"""


@dataclass(frozen=True)
class Traffic:
    """What went over the channel for one answer.

    Args:
        content: Bytes of the messages' contents, as JSON.
        text: Bytes of the answer itself.
        messages: How many messages there were.
    """

    content: int
    text: int
    messages: int

    @property
    def ratio(self) -> float:
        """Content over text."""
        return self.content / self.text


class _ThisPython(KernelManager):
    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=40"]
        argv += ["-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="bench", language="python")


@contextmanager
def _kernel() -> Iterator[BlockingKernelClient]:
    with tempfile.TemporaryDirectory() as directory:
        manager = _ThisPython()
        environment = {"AOF_STATE_DIR": directory, "IPYTHONDIR": directory}
        manager.start_kernel(cwd=directory, env=os.environ | environment)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def _execute(client: BlockingKernelClient, code: str) -> list[dict[str, object]]:
    """Runs a cell as JupyterLab would; its outputs' contents."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
    content |= {"user_expressions": {}, "stop_on_error": True}
    message = client.session.msg("execute_request", content, metadata={"cellId": "bench"})
    client.shell_channel.send(message)
    outputs = []
    while True:
        came = client.get_iopub_msg(timeout=PATIENCE)
        if came["parent_header"].get("msg_id") != message["header"]["msg_id"]:
            continue
        if came["msg_type"] == "error":
            raise SystemExit("\n".join(came["content"]["traceback"]))
        if came["content"].get("execution_state") == "idle":
            return outputs
        if came["msg_type"] not in {"status", "execute_input"}:
            outputs.append(came["content"])


def traffic(url: str, models: dict[str, str]) -> dict[str, Traffic]:
    """Has a `%%aof` cell ask each scripted model, and counts what comes back.

    Args:
        url: The scripted server.
        models: Names of scripted models, by the title to report them under.
    """
    found = {}
    with _kernel() as client:
        _execute(client, SETUP)
        for title, model in models.items():
            _execute(client, ASK.format(model=f"openai-chat:{model}", url=f"{url}/v1"))
            outputs = _execute(client, "%%aof bench\nWhy is checkout slow?")
            size = sum(len(json.dumps(each, ensure_ascii=False).encode()) for each in outputs)
            text = "".join(answer(int(model.split("-")[2])))
            found[title] = Traffic(size, len(text.encode()), len(outputs))
    return found
