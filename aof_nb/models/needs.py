"""What a provider of models needs before it answers, and whether it is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec

from aof_nb.errors import ConfigurationError
from aof_nb.models.registry import Provider, parse_name

_CREDENTIALS = re.compile(r"//[^/@]*@")


class Need(msgspec.Struct, frozen=True):
    """One thing that a provider needs.

    Args:
        said: What it is, and whether it is there; never the value of a key.
        missing: Whether it is not there; None if that is known only when it is used.
    """

    said: str
    missing: bool | None = False


def needs_of(provider: Provider) -> list[Need]:
    """What a provider needs, what has to be installed first.

    Args:
        provider: The provider.

    Example:
        >>> from aof_nb.models.registry import providers
        >>> needs_of(providers()["script"])
        [Need(said='no key', missing=False)]
    """
    return list(_needs(provider))


def needs_in_words(provider: Provider) -> str:
    """What a provider needs, and whether it is there, in a line.

    Example:
        >>> from aof_nb.models.registry import providers
        >>> needs_in_words(providers()["replay"])
        'no key'
    """
    return "; ".join(each.said for each in _needs(provider))


def missing_for(model: str) -> list[str]:
    """What a model's provider needs and what is known not to be there.

    Args:
        model: The model's full name; of one that is not known, nothing is said.

    Example:
        >>> missing_for("script:triage.yaml")
        []
    """
    try:
        provider, _ = parse_name(model)
    except ConfigurationError:
        return []
    return [each.said for each in _needs(provider) if each.missing]


def _needs(provider: Provider) -> Iterator[Need]:
    if provider.missing_extra:
        yield Need(f'pip install "aof-nb[{provider.missing_extra}]"', missing=True)
    if not provider.key_variable:
        yield Need("no key")
    elif provider.credentials:
        missing = False if os.environ.get(provider.key_variable) else None
        yield Need(f"{_state(provider.key_variable)}, or {provider.credentials}", missing)
    else:
        yield _variable(provider.key_variable)
    if provider.needs_address:
        yield _variable(provider.url_variable)
    if provider.server:
        place = os.environ.get(provider.url_variable) or provider.server
        place = _CREDENTIALS.sub("//", place)
        yield Need(f"its server at {place} ({provider.url_variable})", missing=None)


def _variable(name: str) -> Need:
    return Need(_state(name), missing=not os.environ.get(name))


def _state(variable: str) -> str:
    return f"{variable} {'is set' if os.environ.get(variable) else 'is not set'}"
