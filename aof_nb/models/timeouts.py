"""How long a provider may take: to be reached, to begin its answer, and between pieces of it."""

from __future__ import annotations

import os

import msgspec

from aof_nb.errors import ConfigurationError, ModelTimeout

VARIABLE = "AOF_MODEL_TIMEOUT"
_CONNECT = 10.0
_ANSWER = 300.0


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seconds after which a request to a model is given up.

    Args:
        connect: Until there is a connection, with its encryption.
        first_byte: Until the response begins. A model that thinks before it answers may need long.
        silence: Between two pieces of the response.

    Raises:
        ConfigurationError: If one of them is not more than 0.
    """

    connect: float = _CONNECT
    first_byte: float = _ANSWER
    silence: float = _ANSWER

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ConfigurationError(
                    f"a time-out of {getattr(self, name):g} s ({name})",
                    remedy="give more than 0 seconds",
                )

    @property
    def longest(self) -> float:
        """The longest that nothing may come once there is a connection."""
        return max(self.first_byte, self.silence)


def timeouts(given: float | Timeouts | None) -> Timeouts:
    """The time-outs that are meant.

    Args:
        given: The time-outs, or the seconds that the response may take to begin and be silent
            for; None for what the environment variable `AOF_MODEL_TIMEOUT` says, which is such a
            number or has the form ``connect=5,first_byte=60,silence=30``.

    Raises:
        ConfigurationError: If the environment's cannot be read.

    Example:
        >>> timeouts(30)
        Timeouts(connect=10.0, first_byte=30.0, silence=30.0)
    """
    if isinstance(given, Timeouts):
        return given
    if given is not None:
        return _of(given)
    said = os.environ.get(VARIABLE, "").strip()
    try:
        if "=" not in said:
            return _of(float(said)) if said else Timeouts()
        pairs = (each.partition("=") for each in said.split(","))
        return msgspec.convert(
            {name.strip(): float(value) for name, _, value in pairs}, type=Timeouts
        )
    except (ValueError, ConfigurationError) as error:
        raise ConfigurationError(
            f"{VARIABLE}={said!r} is no time-out: {error}",
            remedy="give seconds, such as 60, or connect=5,first_byte=60,silence=30",
        ) from None


def _of(seconds: float) -> Timeouts:
    return Timeouts(
        connect=min(_CONNECT, seconds) if seconds > 0 else seconds,
        first_byte=seconds,
        silence=seconds,
    )


_STRUCK = {
    "connect": "no connection within {seconds:g} s",
    "first_byte": "no answer within {seconds:g} s",
    "silence": "nothing more for {seconds:g} s in the middle of a response",
}


def struck(which: str, seconds: float, provider: str, where: str = "") -> ModelTimeout:
    """The error for a time-out that has struck.

    Args:
        which: ``connect``, ``first_byte`` or ``silence``.
        seconds: How long it was.
        provider: The provider's name.
        where: The provider's address.
    """
    said = _STRUCK[which].format(seconds=seconds)
    place = f" from {where}" if where else ""
    return ModelTimeout(
        f"{provider}: {said}{place}",
        provider=provider,
        remedy=f"run it again, name another model, or allow more: timeouts.{which}, {VARIABLE}",
    )
