"""Which placeholder stands for which secret."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

import msgspec

from aof_nb.errors import ToolError
from aof_nb.redact.encodings import encoded

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_LONG = 24


class RedactionState(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept beside a run, so that a resumed one gives a secret the same placeholder.

    It holds no secret: only salted digests, which for short secrets are slow to compute.

    Args:
        salt: Hexadecimal; new for each run.
        names: The placeholders' names by the secrets' digests.
        origins: The call that showed a secret first, by the placeholder's name; empty for a user.
    """

    salt: str = ""
    names: Mapping[str, str] = {}
    origins: Mapping[str, str] = {}


class Placeholders:
    """The placeholders of one run, named in the order in which their secrets appear.

    A placeholder is good for its secret only once it has been shown: what nobody has seen
    cannot be asked for.

    Args:
        declared: Secrets that are known, by their names.
        state: Of the run that this one goes on with.
    """

    def __init__(
        self, declared: Mapping[str, str] | None = None, state: RedactionState | None = None
    ) -> None:
        self._salt = bytes.fromhex(state.salt) if state else b""
        self._past = dict(state.names) if state else {}
        self._origins = dict(state.origins) if state else {}
        self._declared: dict[str, str] = {}
        for name, secret in (declared or {}).items():
            self._declared.setdefault(secret, _NOT_A_NAME.sub("-", name)[:100] or "secret")
        self._names: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        self._taken = set(self._past.values()) | set(self._declared.values())
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """How many secrets have one."""
        return len(self._names)

    def of(self, secret: str, kind: str, encoding: str = "", *, origin: str = "") -> str:
        """The placeholder of a secret: always the same one.

        Args:
            secret: The secret.
            kind: What it is, for a new placeholder's name.
            encoding: How it is encoded where the placeholder is put.
            origin: The call that shows it; empty if a user has written it.
        """
        name = self._names.get(secret) or self._named(secret, kind)
        self._origins.setdefault(name, origin)
        return f"[secret:{name}:{encoding}]" if encoding else f"[secret:{name}]"

    def _named(self, secret: str, kind: str) -> str:
        name = self._past.get(self.digest(secret), "") if self._past else ""
        if not name or name in self._secrets:
            name = self._declared.get(secret) or self._numbered(kind)
            if name in self._secrets:
                name = self._numbered(name)
        self._taken.add(name)
        self._names[secret] = name
        self._secrets[name] = secret
        return name

    def _numbered(self, kind: str) -> str:
        kind = _NOT_A_NAME.sub("-", kind)
        number = self._counts.get(kind, 0) + 1
        while f"{kind}-{number}" in self._taken:
            number += 1
        self._counts[kind] = number
        return f"{kind}-{number}"

    def mention(self, name: str) -> None:
        """Lets the placeholder of a declared secret be used as if it had been shown.

        Args:
            name: The placeholder's name, as a user has written it.
        """
        for secret, declared in self._declared.items():
            if declared == name and secret not in self._names:
                self.of(secret, name)

    def value(self, match: re.Match[str]) -> str:
        """The true value that a placeholder stands for.

        Args:
            match: Of `PLACEHOLDER`.

        Raises:
            ToolError: If it is not known.
        """
        name = match["name"]
        if name not in self._secrets and name in self._origins:
            self._find(name)
        if name in self._secrets:
            value = encoded(self._secrets[name], match["encoding"] or "")
            if value is not None:
                return value
            raise ToolError(f"There is no encoding {match['encoding']!r} of {match[0]}.")
        if name in self._origins:
            origin = self._origins[name]
            again = f"Repeat {origin}" if origin else "Ask the user for it"
            raise ToolError(
                f"The value of {match[0]} is no longer known: this process has not seen it.",
                remedy=f"{again}, and use the placeholder again.",
            )
        shown = ", ".join(f"[secret:{each}]" for each in self._origins) or "none"
        raise ToolError(
            f"{match[0]} stands for no secret of this run. Those that do: {shown}.",
            remedy="Use a placeholder exactly as it was shown.",
        )

    def _find(self, name: str) -> None:
        """Looks among the declared secrets for one that an earlier process has shown."""
        for secret, declared in self._declared.items():
            if secret in self._names:
                continue
            if declared == name or self._past.get(self.digest(secret)) == name:
                self._named(secret, name)

    @property
    def state(self) -> RedactionState:
        """What to keep beside the run."""
        self._salt = self._salt or secrets.token_bytes(16)
        names = dict(self._past)
        names.update((self.digest(secret), name) for secret, name in self._names.items())
        return RedactionState(salt=self._salt.hex(), names=names, origins=dict(self._origins))

    def digest(self, secret: str) -> str:
        """What tells a secret again without holding it."""
        self._salt = self._salt or secrets.token_bytes(16)
        return _digest(secret, self._salt)


@functools.lru_cache(maxsize=4096)
def _digest(secret: str, salt: bytes) -> str:
    data = secret.encode(errors="surrogatepass")
    if len(data) >= _LONG:
        return hmac.digest(salt, data, "sha256").hex()[:32]
    # A password may be short enough to be guessed: each guess is to cost something.
    return hashlib.scrypt(data, salt=salt, n=2**11, r=8, p=1, dklen=16).hex()
