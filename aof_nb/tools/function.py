"""Tools made of functions: the schema from the type hints and the docstring."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, get_type_hints, overload

import msgspec

from aof_nb.errors import ConfigurationError, ToolError
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

P = ParamSpec("P")
R = TypeVar("R")


class FunctionTool(Generic[P, R]):
    """A function as a tool. It can still be called as the function it is.

    Synchronous functions run in a thread, so that they never block the event loop. A thread
    cannot be stopped: a cancelled call is left behind with its outcome unknown.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        effect: Effect = Effect.WRITE,
        exclusive: bool = False,
        timeout: float | None = None,
    ) -> None:
        self._function = function
        self._timeout = timeout
        self._is_async = inspect.iscoroutinefunction(function)
        self._context_parameter, self._arguments = _signature(function)
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        for described in schema.get("properties", {}).values():
            described.pop("title", None)
        self.spec = ToolSpec(
            name=name or function.__name__,
            description=_description(function),
            input_schema=schema,
            effect=effect,
            exclusive=exclusive,
            source=f"function {function.__module__}.{function.__qualname__}",
        )
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function itself."""
        return self._function(*args, **kwargs)

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the function with arguments converted to its types."""
        import pydantic

        try:
            parsed = self._arguments.model_validate(arguments)
        except pydantic.ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            )
            raise ToolError(f"The arguments do not fit: {wrong}") from None
        named = {field: getattr(parsed, field) for field in type(parsed).model_fields}
        if self._context_parameter is not None:
            named[self._context_parameter] = context
        function: Callable[..., Any] = self._function
        work = function(**named) if self._is_async else asyncio.to_thread(function, **named)
        if self._timeout is None:
            return as_output(await work)
        try:
            async with asyncio.timeout(self._timeout):
                return as_output(await work)
        except TimeoutError:
            raise ToolError(f"{self.spec.name} did not finish within {self._timeout:g} s") from None


def as_output(result: Any) -> ToolOutput:
    """What a function returned, as text for the model and as JSON where it is more than text."""
    if isinstance(result, ToolOutput):
        return result
    if isinstance(result, str):
        return ToolOutput(result)
    if result is None:
        return ToolOutput("done")
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json")
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = dataclasses.asdict(result)
    elif hasattr(result, "to_string") and hasattr(result, "columns"):
        return ToolOutput(str(result.to_string()))
    encoded = msgspec.json.encode(result, enc_hook=str)
    return ToolOutput(encoded.decode(), data=msgspec.json.decode(encoded))


def _signature(function: Callable[..., Any]) -> tuple[str | None, type[BaseModel]]:
    """The parameter that takes the context, if any, and a model of the others."""
    import pydantic

    where = f"tool {function.__name__}"
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{where}: a type hint cannot be resolved ({error})",
            remedy="import the type where the function is defined",
        ) from error
    described = _parameter_descriptions(function)
    context: str | None = None
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise ConfigurationError(
                f"{where}: *{name} cannot be described to a model",
                remedy="name each parameter, or take a list or a dict",
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"{where}: {name} can only be given by position", remedy="remove the '/'"
            )
        if name not in hints:
            raise ConfigurationError(
                f"{where}: parameter {name} has no type", remedy=f"write {name}: str, or what it is"
            )
        if hints[name] is ToolContext:
            context = name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        field = pydantic.Field(default=default, description=described.get(name))
        fields[name] = (hints[name], field)
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    try:
        return context, pydantic.create_model(function.__name__, __config__=config, **fields)
    except pydantic.errors.PydanticSchemaGenerationError as error:
        raise ConfigurationError(
            f"{where}: a parameter's type has no JSON form ({str(error).splitlines()[0]})",
            remedy="use str, int, float, bool, list, dict, Literal, an Enum or a pydantic model",
        ) from error


def _description(function: Callable[..., Any]) -> str:
    from docstring_parser import parse

    docstring = parse(inspect.getdoc(function) or "")
    return "\n\n".join(
        part for part in (docstring.short_description, docstring.long_description) if part
    )


def _parameter_descriptions(function: Callable[..., Any]) -> dict[str, str]:
    from docstring_parser import parse

    docstring = parse(inspect.getdoc(function) or "")
    return {each.arg_name: each.description for each in docstring.params if each.description}


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    effect: Effect | str = Effect.WRITE,
    exclusive: bool = False,
    timeout: float | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    effect: Effect | str = Effect.WRITE,
    exclusive: bool = False,
    timeout: float | None = None,
) -> Any:
    """Makes a function a tool.

    Args:
        function: The function, if the decorator is used without arguments.
        name: The tool's name; the function's own if not given.
        effect: ``read``, ``write`` or ``destructive``: what it does to the world.
        exclusive: Whether it must run alone within a turn.
        timeout: Seconds after which a call is given up.

    Raises:
        ConfigurationError: If a parameter cannot be described to a model, or the effect is
            not one.

    Example:
        >>> @tool(effect="read")
        ... def disk_free(path: str) -> int:
        ...     '''Bytes free on the volume of a path.'''
        ...     return 42
        >>> disk_free.spec.effect
        <Effect.READ: 'read'>
        >>> disk_free("/")
        42
    """
    try:
        known_effect = Effect(effect)
    except ValueError:
        raise ConfigurationError(
            f"unknown effect {effect!r}", remedy=f"use one of {', '.join(Effect)}"
        ) from None

    def make(function: Callable[..., Any]) -> FunctionTool[..., Any]:
        return FunctionTool(
            function, name=name, effect=known_effect, exclusive=exclusive, timeout=timeout
        )

    return make if function is None else make(function)
