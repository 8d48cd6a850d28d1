"""``await`` goes before our magics, and nowhere else."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from aof_nb.notebook.transform import await_magics

CALL = "get_ipython().run_line_magic('aof', 'ask sre hi')"


def transformed(cell: str) -> str:
    lines = TransformerManager().transform_cell(textwrap.dedent(cell)).splitlines(keepends=True)
    return "".join(await_magics(lines))


def test_a_cell_magic() -> None:
    assert transformed("%%aof sre\nwhy?\n") == (
        "await get_ipython().run_cell_magic('aof', 'sre', 'why?\\n'); None\n"
    )


def test_what_is_awaited_and_what_is_not() -> None:
    cell = '''
    r = %aof ask sre hi
    text = """
    %aof ask sre in a string
    """
    for i in range(2):
        %aof ask sre hi
    def plain():
        %aof ask sre hi
        async def inner():
            %aof ask sre hi
    async def asynchronous():
        r = %aof ask sre hi
        return r
    class Kept:
        r = %aof ask sre hi
    %timeit -n1 pass
    é = %aof ask sre hi
    if True: pass
    else:
        try:
            %aof ask sre hi
        finally:
            pass
    '''
    out = transformed(cell)
    lines = [line.strip() for line in out.splitlines()]
    assert lines.count(f"await {CALL}; None") == 2
    assert lines.count(CALL) == 2
    assert lines.count(f"r = await {CALL}") == 2
    assert lines.count(f"r = {CALL}") == 1
    assert f"é = await {CALL}" in lines
    assert "get_ipython().run_line_magic('timeit', '-n1 pass')" in lines
    assert "%aof ask sre in a string" in lines
    compile(out, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    "cell",
    [
        "%%time\n%aof ask sre hi\n",
        "%%bash\n%aof ask sre hi\n",
        "x = 'aof' + run_line_magic('aof')\n",
        "get_ipython().run_line_magic('aof_agent', 'x')\n",
        "def broken(:\n    %aof\n",
        "f(get_ipython().run_line_magic('aof', 'x'))\n",
    ],
)
def test_other_cells_stay_as_they_are(cell: str) -> None:
    manager = TransformerManager()
    lines = manager.transform_cell(cell).splitlines(keepends=True)
    assert await_magics(lines) == lines


@given(st.text(alphabet="aof%\n 'é\r\t=(){}#\"", max_size=60))
def test_it_never_raises_and_keeps_other_text(text: str) -> None:
    lines = text.splitlines(keepends=True)
    assert "".join(await_magics(lines)) == text
