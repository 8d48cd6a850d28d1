"""What `import aof_nb` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import aof_nb

HEAVY = [
    "IPython",
    "aiohttp",
    "anthropic",
    "boto3",
    "botocore",
    "diskcache",
    "docstring_parser",
    "genai_prices",
    "ipykernel",
    "ipywidgets",
    "jinja2",
    "jmespath",
    "jsonschema_rs",
    "mcp",
    "nbclient",
    "nbconvert",
    "nbformat",
    "openai",
    "papermill",
    "platformdirs",
    "pydantic",
    "rich",
    "ruamel.yaml",
    "typer",
]


def loaded_by(code: str) -> list[str]:
    """The heavy packages that a fresh interpreter has loaded after some code."""
    script = f"import sys\n{code}\nprint(*(each for each in {HEAVY!r} if each in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ran.stdout.split()


@pytest.mark.parametrize("name", aof_nb.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(aof_nb, name) is not None
    assert name in dir(aof_nb)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Agnet'"):
        _ = aof_nb.Agnet  # type: ignore[attr-defined]


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from aof_nb import *", names)
    assert set(aof_nb.__all__) <= names.keys()


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert loaded_by("import aof_nb") == []


def test_declaring_an_agent_loads_nothing_heavy() -> None:
    code = (
        "import aof_nb\n"
        "aof_nb.Agent(name='sre', model='anthropic:x', tools=['shell'], memory='disk',\n"
        "    mcp_servers=[aof_nb.McpServer(name='lab', command='lab')],\n"
        "    policy=aof_nb.Policy(), limits=aof_nb.Limits(), sampling=aof_nb.Sampling())\n"
    )
    assert loaded_by(code) == []


def test_a_run_loads_what_it_uses_and_no_more() -> None:
    code = """
import asyncio
from aof_nb import Agent, Message
from aof_nb.events import ModelResponse
from aof_nb.messages import StopReason, Usage
class Fake:
    name = "fake:model"
    async def stream(self, request):
        yield ModelResponse(Message.assistant("hi"), StopReason.END_TURN, Usage(), "fake")
result = asyncio.run(Agent(model=Fake(), tools=["shell"]).run("hi", session="s"))
assert result.text == "hi", result.error
"""
    assert loaded_by(code) == []
