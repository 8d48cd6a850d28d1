"""Tools made of functions: the schema from the type hints and the docstring."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, get_type_hints, overload

import msgspec

from aof_nb.errors import ConfigurationError, ToolError
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from aof_nb.tool_names import safe_name
from aof_nb.tools.threads import in_own_thread

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
        sends: bool | None = None,
    ) -> None:
        self._function = function
        self._timeout = timeout
        called = _name(function, name)
        self._context_parameter, self._arguments = _signature(function)
        self.spec = ToolSpec(
            name=called,
            description=_description(function),
            input_schema=_schema(self._arguments),
            effect=effect,
            exclusive=exclusive,
            source=f"function {function.__module__}.{function.__qualname__}",
            sends=sends,
        )
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    @property
    def function(self) -> Callable[P, R]:
        """The function."""
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function itself."""
        return self._function(*args, **kwargs)

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the function with arguments converted to its types."""
        named = self._named(arguments)
        if self._context_parameter is not None:
            named[self._context_parameter] = context
        return as_output(await self._result(self._function, named, self.spec.name))

    def _named(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A call's arguments as the function takes them."""
        import pydantic

        try:
            parsed = self._arguments.model_validate(arguments)
        except pydantic.ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            )
            raise ToolError(f"The arguments do not fit: {wrong}") from None
        return {
            str(field.alias): getattr(parsed, place)
            for place, field in type(parsed).model_fields.items()
        }

    async def _result(
        self, function: Callable[..., Any], named: Mapping[str, Any], name: str
    ) -> Any:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                if inspect.iscoroutinefunction(function):
                    return await function(**named)
                result = await in_own_thread(_without_stop_iteration, function, named)
                return await result if inspect.isawaitable(result) else result
        except TimeoutError:
            if not limit.expired():
                raise
            raise ToolError(f"{name} did not finish within {self._timeout:g} s") from None


class VerifiableFunctionTool(FunctionTool[P, R]):
    """A function as a tool, with another function that finds out what became of a call.

    Args:
        function: The function.
        verify: Takes the function's arguments, without its context; see `tool`.
        **settings: What `FunctionTool` takes besides.
    """

    def __init__(
        self, function: Callable[P, R], *, verify: Callable[..., Any], **settings: Any
    ) -> None:
        super().__init__(function, **settings)
        self._verify = verify
        names = [str(field.alias) for field in self._arguments.model_fields.values()]
        try:
            inspect.signature(verify).bind(**dict.fromkeys(names))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"tool {self.spec.name}: verify cannot be called with its arguments: {error}",
                remedy=f"let it take {', '.join(names) or 'nothing'}",
            ) from error

    async def verify(self, arguments: dict[str, Any]) -> ToolOutput | None:
        """What an interrupted call has come to; None if it did not take effect.

        Raises:
            ToolError: If that cannot be found out.
        """
        name = f"verify of {self.spec.name}"
        outcome = await self._result(self._verify, self._named(arguments), name)
        return None if outcome is None else as_output(outcome)


def _without_stop_iteration(function: Callable[..., Any], named: Mapping[str, Any]) -> Any:
    try:
        return function(**named)
    except StopIteration as error:
        # No future can hold one: who waits for it would wait forever.
        raise RuntimeError("StopIteration: there was no next item") from error


def as_output(result: Any) -> ToolOutput:
    """What a function returned, as text for the model and as JSON where it is more than text."""
    if isinstance(result, ToolOutput):
        return result
    if isinstance(result, str):
        return ToolOutput(result)
    if result is None:
        return ToolOutput("done")
    if hasattr(result, "to_string") and hasattr(result, "columns"):
        return ToolOutput(str(result.to_string()))
    try:
        encoded = msgspec.json.encode(result, enc_hook=_as_json)
    except (TypeError, UnicodeEncodeError):
        return ToolOutput(str(result))
    return ToolOutput(encoded.decode(), data=msgspec.json.decode(encoded))


def _as_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _name(function: Callable[..., Any], given: str | None) -> str:
    if not inspect.isroutine(function):
        raise ConfigurationError(
            f"{function!r} is not a function", remedy="write a function: def name(...)"
        )
    name = given or function.__name__
    if safe_name(name) != name:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a tool",
            remedy="use letters, digits, _ and -, at most 64; @tool(name=...) gives another name",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"tool {name}: it yields, and a tool has one result", remedy="return a list"
        )
    return name


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    import pydantic

    try:
        schema = arguments.model_json_schema()
    except pydantic.errors.PydanticInvalidForJsonSchema as error:
        raise _no_json_form(arguments.__name__, error) from error
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)
    return schema


def _no_json_form(name: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"tool {name}: a parameter's type has no JSON form ({str(error).splitlines()[0]})",
        remedy="use str, int, float, bool, list, dict, Literal, an Enum or a pydantic model",
    )


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
        options: dict[str, Any] = {"description": described[name]} if name in described else {}
        if parameter.default is not parameter.empty:
            options["default"] = parameter.default
        # A field of the parameter's own name could hide a method of the model.
        fields[f"p{len(fields)}"] = (hints[name], pydantic.Field(alias=name, **options))
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    try:
        return context, pydantic.create_model(function.__name__, __config__=config, **fields)
    except pydantic.errors.PydanticSchemaGenerationError as error:
        raise _no_json_form(function.__name__, error) from error


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
    verify: Callable[..., Any] | None = None,
    sends: bool | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    effect: Effect | str = Effect.WRITE,
    exclusive: bool = False,
    timeout: float | None = None,
    verify: Callable[..., Any] | None = None,
    sends: bool | None = None,
) -> Any:
    """Makes a function a tool.

    Args:
        function: The function, if the decorator is used without arguments.
        name: The tool's name; the function's own if not given.
        effect: ``read``, ``write`` or ``destructive``: what it does to the world.
        exclusive: Whether it must run alone within a turn.
        timeout: Seconds after which a call is given up.
        verify: Asked when a run is resumed that was interrupted during a call: it takes the call's
            arguments and returns the outcome if the call took effect, None if it did not, so that
            it is made again; whatever it raises means that this is not known. Without it a person
            is asked, or the call is left alone.
        sends: Whether its calls send data out of this machine, which a person is asked about once
            the run has read something; None if only addresses in their arguments do.

    Raises:
        ConfigurationError: If a parameter cannot be described to a model, the effect is not one,
            or `verify` does not take the function's arguments.

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
        settings: dict[str, Any] = {
            "name": name,
            "effect": known_effect,
            "exclusive": exclusive,
            "timeout": timeout,
            "sends": sends,
        }
        if verify is None:
            return FunctionTool(function, **settings)
        return VerifiableFunctionTool(function, verify=verify, **settings)

    return make if function is None else make(function)
