"""Whether a name says that what it names is secret: of a variable, a field, a header, an option."""

from __future__ import annotations

import enum
import functools
import re

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PARTS = re.compile(r"[^A-Za-z0-9]+")
_TRAILING_NUMBER = re.compile(r"\d+$")
_LONGEST = 120

_PASSWORDS = ("password", "passwd", "passphrase", "passcode")
_SHORT_PASSWORDS = frozenset({"pass", "psw", "pw", "pwd"})
_SECRETS = ("secret", "token")
KEYS = (
    "apikey", "accesskey", "secretkey", "privatekey", "authkey", "accountkey", "licensekey",
    "sharedaccesskey", "encryptionkey", "signingkey", "primarykey", "masterkey",
)  # fmt: skip
"""Names of keys that are written as one word."""
_BEFORE_KEY = re.compile(
    r"access|account|admin|aes|api|app|application|auth|cipher|client|consumer|"
    r"crypto|decryption|deploy|deployment|encryption|function|functions|geniekey|hmac|"
    r"host|ingest|ingestion|integration|jwt|licence|license|management|master|mgmt|"
    r"private|project|rclone|recovery|registration|restricted|root|routing|rsa|secret|"
    r"security|service|session|shared|shovel|sign|signature|signing|ssh|ssl|storage|"
    r"subscription|team|tls|unseal|upload|user|webhook|wireguard|write"
)
_NOT_BEFORE_KEY = re.compile(
    r"bucket|cache|column|composite|config|configmap|duplicate|exit|field|file|"
    r"foreign|group|hash|hot|i18n|idempotency|index|item|json|label|lock|log|lookup|"
    r"map|message|metric|no|object|order|page|partition|primary|public|queue|range|"
    r"rate|redis|registry|resource|row|s3|search|shard|sort|sorting|state|storage|"
    r"store|tag|task|trace|translation|trigger|type|unique"
)
_NOT_BEFORE_TOKEN = re.compile(
    r"bos|change|continuation|continue|cursor|delimiter|end|eos|eot|fim|first|last|mask|"
    r"max|min|next|nextpage|num|output|pad|page|pagination|paging|per|prev|previous|prompt|request|resume|"
    r"skip|special|start|stop|sync|unk"
)
_LAST_WORDS = frozenset(
    {"base", "value", "string", "plain", "plaintext", "text", "data", "raw", "old", "new"}
)


class Secrecy(enum.Enum):
    """How sure a name makes one of its value."""

    PASSWORD = "password"  # noqa: S105  it is a word
    """Whatever it is."""
    UNLIKE_A_WORD = "unlike a word"
    """If it is no word: the name is one of several things."""
    KEY = "key"
    """If it looks made by a generator: names of tokens and keys are called so too."""
    ENCODED = "encoded"
    """If it is a name and a password in Base64."""


@functools.lru_cache(maxsize=4096)
def secrecy(name: str) -> Secrecy | None:
    """What a name says of its value; None if it says nothing.

    Example:
        >>> secrecy("DB_PASSWORD"), secrecy("apiKey"), secrecy("next_page_token"), secrecy("tokens")
        (<Secrecy.PASSWORD: 'password'>, <Secrecy.KEY: 'key'>, None, None)
    """
    if len(name) > _LONGEST:
        return None
    parts = [part.lower() for part in _PARTS.split(_CAMEL.sub("_", name)) if part]
    if parts and (stripped := _TRAILING_NUMBER.sub("", parts[-1])) != parts[-1]:
        parts[-1:] = [stripped] if stripped else []
    if len(parts) > 1 and parts[-1] in _LAST_WORDS and parts[-2] != "public":
        parts.pop()
    if not parts:
        return None
    return _of_words(parts, upper=name.isupper())


def _of_words(parts: list[str], *, upper: bool) -> Secrecy | None:
    last, before = parts[-1], parts[-2] if len(parts) > 1 else ""
    if last.endswith(_PASSWORDS):
        return Secrecy.PASSWORD
    if last in _SHORT_PASSWORDS:
        # PWD alone is the shell's working directory.
        return Secrecy.UNLIKE_A_WORD if before not in {"", "old"} or not upper else None
    if last.endswith(_SECRETS):
        known = last.endswith("token") and (
            _NOT_BEFORE_TOKEN.fullmatch(before) or last == "nexttoken"
        )
        return None if known else Secrecy.KEY
    if last in {"credential", "credentials", "creds", "jwt", "dsn"}:
        return Secrecy.KEY
    if last == "key":
        if _BEFORE_KEY.fullmatch(before):
            return Secrecy.KEY
        return Secrecy.KEY if upper and before and not _NOT_BEFORE_KEY.fullmatch(before) else None
    if last.endswith(KEYS):
        return Secrecy.KEY
    if last == "auth":
        return Secrecy.ENCODED
    return None


def is_session(cookie: str) -> bool:
    """Whether a cookie of this name lets its bearer in.

    Example:
        >>> is_session("grafana_session"), is_session("connect.sid"), is_session("theme")
        (True, True, False)
    """
    return _SESSION.search(cookie) is not None


_SESSION = re.compile(
    r"(?i)sess|(?:^|[._-])sid$|auth|token|jwt|csrf|xsrf|remember|login|__secure|__host|"
    r"access|refresh|clearance|passport|sso|identity|ticket"
)


def kind_of(name: str) -> str:
    """What a secret that is known by its name is called.

    Example:
        >>> kind_of("DB_PASSWORD"), kind_of("spring.datasource.master.password")
        ('db-password', 'datasource-master-password')
    """
    parts = [part.lower() for part in _PARTS.split(_CAMEL.sub("_", name)) if part]
    return "-".join(parts[-3:])[:60] or "secret"
