"""The secrets that a process knows: in its environment, and in what a user has configured."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from aof_nb.redact.names import secrecy
from aof_nb.redact.values import is_distinct, is_harmless

_MORE = re.compile(
    r"(?i)(?:^|_)(?:pat|sas|dsn|pin|webhook|webhook_url|api|license|licence|conn(?:ection)?_str(?:ing)?)$|"
    r"^aws_(?:access_key_id|secret_access_key|session_token)$|(?:^|_)(?:key|auth|credentials?|cookie)$|"
    r"^(?:proxy-)?authorization$|^(?:set-)?cookie$"
)
_NOT = re.compile(
    r"(?i)(?:^|_)(?:public|partition|primary|cache|sort|group|order|registry|host|foreign)_?key$|"
    r"^(?:ssh_auth_sock|gpg_key|pwd|oldpwd|gnome_keyring_control|xauthority)$"
)
_OF_URL = re.compile(
    r"(?i)ur[li]|dsn|proxy|database|db|redis|mongo|postgres|mysql|amqp|broker|backend|conn|index|"
    r"endpoint|remote|host|server"
)
_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|apikey|bot)\s+(\S+)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]*?:(?P<password>[^\s/?#]+)@")
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WEBHOOK = re.compile(r"(?i)webhook|hook_url")


@functools.lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    if _NOT.search(name):
        return False
    return secrecy(name) is not None or _MORE.search(name) is not None


def declared_secrets(*sources: Mapping[str, str], variables: Sequence[str] = ()) -> dict[str, str]:
    """The secrets among variables, options and headers, by their names.

    A URL's password is the secret rather than the URL, a header's token rather than its scheme.

    Args:
        sources: Variables or headers by name; the first that names a value names it for all.
        variables: Shell-style patterns of names that are secret besides those that say so.

    Example:
        >>> declared_secrets({"TOKEN": "t0p-s3cret", "DB_URL": "pg://u:hunter2@db", "PORT": "80"})
        {'DB_URL': 'hunter2', 'TOKEN': 't0p-s3cret'}
    """
    patterns = tuple(variables)
    told = tuple(
        tuple((name, each[name]) for name in each if patterns or _may_hold_secret(name))
        for each in sources
    )
    return dict(_declared(told, patterns))


@functools.lru_cache(maxsize=4096)
def _may_hold_secret(name: str) -> bool:
    return _is_secret(name) or _OF_URL.search(name) is not None


@functools.lru_cache(maxsize=16)
def _declared(
    sources: tuple[tuple[tuple[str, str], ...], ...], variables: tuple[str, ...]
) -> dict[str, str]:
    # Every run of a process asks again, and hardly ever is anything else there.
    found: dict[str, str] = {}
    for source in sources:
        for name, value in sorted(source):
            for secret in _of(name, value, variables):
                _add(found, name, secret)
    return found


def _add(found: dict[str, str], name: str, secret: str) -> None:
    if secret in found.values():
        return
    number, unique = 2, name
    while unique in found:
        unique, number = f"{name}-{number}", number + 1
    found[unique] = secret


def _of(name: str, value: str, variables: tuple[str, ...]) -> tuple[str, ...]:
    if "://" in value and (url := _URL.match(value)) is not None:
        return url["password"], unquote(url["password"])
    listed = any(fnmatch.fnmatchcase(name, pattern) for pattern in variables)
    if not listed and not _is_secret(name):
        return ()
    if _ANY_URL.match(value) and not listed and not _WEBHOOK.search(name):
        return ()
    secret = value.strip()
    if (scheme := _SCHEME.fullmatch(secret)) is not None:
        secret = scheme[1]
    return (secret,) if secret and (listed or not is_harmless(secret)) else ()


def looked_for(declared: Mapping[str, str]) -> frozenset[str]:
    """Those that are looked for wherever they stand: the others could be any word.

    Args:
        declared: Secrets by name.
    """
    return frozenset(secret for secret in declared.values() if is_distinct(secret))
