"""What a model is told of a function, and what the function is given."""

from __future__ import annotations

import array
import asyncio
import contextvars
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Optional

import pydantic
import pytest

from aof_nb import tool
from aof_nb.errors import ConfigurationError, ToolError
from aof_nb.ports import Effect, Tool, ToolContext, ToolOutput, Verifiable
from aof_nb.tools import FunctionTool
from tests.tools.calls import call

region: contextvars.ContextVar[str] = contextvars.ContextVar("region")


class Level(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


class Window(pydantic.BaseModel):
    start: int
    end: int = 60


@dataclasses.dataclass
class Service:
    name: str
    replicas: int = 1


@tool(effect="read")
def search(
    service: str,
    level: Level,
    window: Window,
    where: Service,
    order: Literal["asc", "desc"] = "asc",
    most: Annotated[int, pydantic.Field(ge=1, le=100)] = 10,
    text: Optional[str] = None,  # noqa: UP045  as many people write it
    tags: list[str] | None = None,
    weights: dict[str, float] = {},  # noqa: B006  a default that JSON can show
) -> str:
    """Searches the logs.

    Newest lines come first.

    Args:
        service: Which one, such as
            ``checkout``.
        level: The lowest level.
        most: Lines at most.

    Returns:
        The lines.
    """
    seen = [service, level, window, where, order, most, text, tags, weights]
    return repr([type(each).__name__ for each in seen])


def test_the_schema_comes_from_hints_and_docstring() -> None:
    schema = search.spec.input_schema
    properties = schema["properties"]
    assert search.spec.name == "search"
    assert search.spec.description == "Searches the logs.\n\nNewest lines come first."
    assert search.spec.effect is Effect.READ
    assert (schema["type"], schema["additionalProperties"]) == ("object", False)
    assert schema["required"] == ["service", "level", "window", "where"]
    assert properties["service"] == {
        "type": "string",
        "description": "Which one, such as\n``checkout``.",
    }
    assert properties["order"] == {"enum": ["asc", "desc"], "type": "string", "default": "asc"}
    assert properties["most"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 10,
        "description": "Lines at most.",
    }
    assert properties["text"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert properties["weights"]["additionalProperties"] == {"type": "number"}
    assert schema["$defs"]["Level"]["enum"] == ["low", "high"]
    assert schema["$defs"]["Window"]["required"] == ["start"]
    assert schema["$defs"]["Service"]["required"] == ["name"]


async def test_arguments_become_what_the_hints_say() -> None:
    output = await call(
        search,
        service="checkout",
        level="high",
        window={"start": 1},
        where={"name": "web"},
        tags=["a"],
    )
    assert output.content == repr(
        ["str", "Level", "Window", "Service", "str", "int", "NoneType", "list", "dict"]
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"level": "medium"}, "level: Input should be 'low' or 'high'"),
        ({"most": 1000}, "most: Input should be less than or equal to 100"),
        ({"window": {}}, "window.start: Field required"),
        ({"sevice": "x"}, "sevice: Extra inputs are not permitted"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(wrong: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = {
        "service": "s",
        "level": "low",
        "window": {"start": 1},
        "where": {"name": "web"},
    }
    with pytest.raises(ToolError) as caught:
        await call(search, **(right | wrong))
    assert said in caught.value.message


@pytest.mark.parametrize(
    "name", ["json", "copy", "schema", "model_config", "model_dump", "_x", "self", "p0", "dict"]
)
async def test_a_parameter_may_have_any_name(name: str) -> None:
    made: dict[str, Any] = {}
    exec(f"def show({name}: int = 3): return {name}", made)
    shown = tool(made["show"])
    assert shown.spec.input_schema["properties"] == {name: {"type": "integer", "default": 3}}
    assert (await call(shown)).content == "3"
    context = ToolContext("run", "call", lambda event: None)
    assert (await shown.call({name: 4}, context)).content == "4"


def positional(*lines: str) -> str:
    return ""


def keywords(**options: str) -> str:
    return ""


def by_place(line: str, /) -> str:
    return ""


def untyped(line) -> str:
    return ""


def unresolved(line: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    return ""


def no_json(line: Callable[[], str]) -> str:
    return ""


def arbitrary(line: threading.Thread) -> str:
    return ""


def yields() -> Iterator[str]:
    yield ""


async def yields_async() -> Any:
    yield ""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (positional, "tool positional: *lines cannot be described"),
        (keywords, "tool keywords: *options cannot be described"),
        (by_place, "tool by_place: line can only be given by position"),
        (untyped, "tool untyped: parameter line has no type"),
        (unresolved, "tool unresolved: a type hint cannot be resolved (name 'Nowhere'"),
        (no_json, "no JSON form"),
        (arbitrary, "no JSON form"),
        (yields, "tool yields: it yields"),
        (yields_async, "tool yields_async: it yields"),
        (lambda: "", "'<lambda>' cannot be the name of a tool"),
        (functools.partial(len), "is not a function"),
    ],
)
def test_what_cannot_be_a_tool(function: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        tool(function)
    assert said in caught.value.message
    assert caught.value.remedy


def test_a_wrong_effect_or_name() -> None:
    with pytest.raises(ConfigurationError, match="unknown effect 'reads'"):
        tool(effect="reads")
    with pytest.raises(ConfigurationError, match="'disk free' cannot be the name"):
        tool(name="disk free")(len)


def test_it_stays_the_function_it_is() -> None:
    @tool(name="other", exclusive=True)
    def double(n: int) -> int:
        """Doubles."""
        return 2 * n

    assert isinstance(double, FunctionTool)
    assert isinstance(double, Tool)
    assert (double(4), double.__name__, double.__doc__) == (8, "double", "Doubles.")
    assert (double.spec.name, double.spec.effect, double.spec.exclusive) == (
        "other",
        Effect.WRITE,
        True,
    )
    assert "double" in double.spec.source


async def test_methods_and_the_context() -> None:
    class Lab:
        def where(self, context: ToolContext, service: str) -> str:
            return f"{context.call_id}: {service}"

    made = tool(Lab().where)
    assert list(made.spec.input_schema["properties"]) == ["service"]
    assert (await call(made, service="web")).content == "call: web"


async def test_a_synchronous_function_does_not_block_the_loop() -> None:
    go_on = threading.Event()
    place: list[threading.Thread] = []

    @tool
    def wait() -> str:
        place.append(threading.current_thread())
        return f"{go_on.wait(20)} {region.get()}"

    region.set("eu")
    waiting = asyncio.create_task(call(wait))
    while not place:
        await asyncio.sleep(0.01)
    go_on.set()
    assert (await waiting).content == "True eu"
    assert place[0] is not threading.main_thread()


async def test_an_asynchronous_function_runs_in_the_loop() -> None:
    @tool
    async def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    @tool
    def hands_on() -> Any:
        return where._function()

    assert (await call(where)).data is True
    assert (await call(hands_on)).data is True


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_time_is_over(asynchronous: bool) -> None:
    go_on = threading.Event()

    @tool(timeout=0.1)
    async def slow() -> None:
        await asyncio.sleep(60)

    @tool(timeout=0.1)
    def slow_thread() -> None:
        go_on.wait(20)

    try:
        with pytest.raises(ToolError, match=r"did not finish within 0\.1 s"):
            await call(slow if asynchronous else slow_thread)
    finally:
        go_on.set()


async def test_a_timeout_of_the_functions_own_is_its_own() -> None:
    @tool(timeout=60)
    def connects() -> None:
        raise TimeoutError("the database does not answer")

    with pytest.raises(TimeoutError, match="the database does not answer"):
        await call(connects)


async def test_a_failure_is_passed_on() -> None:
    @tool
    def fails(how: str) -> str:
        if how == "stop":
            return next(iter(()))
        if how == "exit":
            raise SystemExit(3)
        raise ToolError("no such service", remedy="list them")

    async with asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call(fails, how="stop")
        with pytest.raises(SystemExit):
            await call(fails, how="exit")
        with pytest.raises(ToolError, match="no such service"):
            await call(fails, how="tool")


async def test_a_cancelled_coroutine_is_cancelled() -> None:
    ended = asyncio.Event()

    @tool
    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(call(waits))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


class Frame:
    """What pandas' tables have and other values have not."""

    columns = ("service", "p99")

    def to_string(self) -> str:
        return "  service  p99\n0     web  1.5"


@pytest.mark.parametrize(
    ("result", "content", "data"),
    [
        ("text", "text", None),
        ("", "", None),
        (None, "done", None),
        (3, "3", 3),
        (True, "true", True),
        ([1, "é"], '[1,"é"]', [1, "é"]),
        ({1: {"a": None}}, '{"1":{"a":null}}', {"1": {"a": None}}),
        ({(1, 2): 3}, '{"(1, 2)":3}', {"(1, 2)": 3}),
        (Window(start=1), '{"start":1,"end":60}', {"start": 1, "end": 60}),
        ([Window(start=1)], '[{"start":1,"end":60}]', [{"start": 1, "end": 60}]),
        (Service("web"), '{"name":"web","replicas":1}', {"name": "web", "replicas": 1}),
        (Level.LOW, "low", None),
        (dt.date(2026, 11, 24), '"2026-11-24"', "2026-11-24"),
        (decimal.Decimal("1.5"), '"1.5"', "1.5"),
        ({"a": array.array("i", [1, 2])}, '{"a":[1,2]}', {"a": [1, 2]}),
        (Frame(), "  service  p99\n0     web  1.5", None),
        (float("nan"), "null", None),
        (ToolOutput("x", data=1, is_error=True), "x", 1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_a_function_returns(result: Any, content: str, data: Any) -> None:
    @tool
    def give() -> Any:
        return result

    output = await call(give)
    assert (output.content, output.data) == (content, data)


async def test_a_result_that_no_json_can_hold_is_still_a_result() -> None:
    @tool
    def first_file() -> dict[str, str]:
        return {"name": "caf\udce9.log"}

    output = await call(first_file)
    assert not output.is_error
    assert "caf" in output.content


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_verify_finds_out_with_the_arguments_of_the_call(asynchronous: bool) -> None:
    asked: list[tuple[int, dt.date]] = []

    def look(number: int, day: dt.date) -> Any:
        asked.append((number, day))
        if number == 0:
            return None
        if number < 0:
            raise ToolError("the service is down")
        return {"ticket": number}

    async def look_up(number: int, day: dt.date) -> Any:
        return look(number, day)

    @tool(effect="write", verify=look_up if asynchronous else look)
    def open_ticket(number: int, day: dt.date, context: ToolContext) -> str:
        """Opens a ticket."""
        return "opened"

    assert isinstance(open_ticket, Verifiable)
    assert open_ticket(1, dt.date(2026, 1, 2), ToolContext("r", "c", print)) == "opened"
    outcome = await open_ticket.verify({"number": "7", "day": "2026-01-02"})
    assert outcome == ToolOutput('{"ticket":7}', data={"ticket": 7})
    assert asked == [(7, dt.date(2026, 1, 2))]
    assert await open_ticket.verify({"number": 0, "day": "2026-01-02"}) is None
    with pytest.raises(ToolError, match="the service is down"):
        await open_ticket.verify({"number": -1, "day": "2026-01-02"})
    with pytest.raises(ToolError, match="do not fit"):
        await open_ticket.verify({"number": "many"})


async def test_a_tool_without_verify_cannot_find_out() -> None:
    @tool
    def change(what: str) -> str:
        """Changes something."""
        return what

    assert not isinstance(change, Verifiable)


def test_a_verify_that_does_not_take_the_arguments_is_refused_at_once() -> None:
    def find(other: str) -> None: ...

    with pytest.raises(ConfigurationError, match="verify cannot be called") as caught:

        @tool(verify=find)
        def change(what: str, how: str) -> str:
            """Changes something."""
            return what

    assert caught.value.remedy == "let it take what, how"


async def test_a_verify_that_takes_too_long_has_not_found_out() -> None:
    async def find(what: str) -> None:
        await asyncio.sleep(60)

    @tool(verify=find, timeout=0.01)
    def change(what: str) -> str:
        """Changes something."""
        return what

    with pytest.raises(ToolError, match="verify of change did not finish"):
        await change.verify({"what": "x"})
