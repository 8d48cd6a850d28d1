"""Whether what stands where a secret would stand is one.

Next to ``password:`` stands a password, ``****``, ``${PASSWORD}``, or the word *wrong*; next to
``token:`` a token or the name of one. These judgements are about the value alone.
"""

from __future__ import annotations

import functools
import re

_NOTHING = re.compile(r"(?i)(.)\1{2,}|[*•.?#_x-]+|")
_REFERENCE = re.compile(
    r"\$\{.*|\$\(.*|\$[A-Z_][A-Z0-9_]*|\$[a-z_]+|\{\{.*|\{%.*|\{[A-Za-z_][^{}]*\}|%\(.*|%[sdvq]|"
    r"%[A-Z_]+%|@[A-Za-z_.]+@|\*[a-z_]+|\*\*.*|&[a-z_]+|\[[A-Za-z _*-]*\]?|\([A-Za-z _]*\)?|"
    r"\([A-Za-z_][\w.]*|~[A-Za-z_.]+|"
    r"!(?:vault|secret|env|ENV|reference|encrypted|Ref|Sub|GetAtt|ImportValue|Join)\b.*|"
    r"<(?:[A-Za-z][A-Za-z0-9 _.:'/-]*)?>?|"
    r"(?:process\.|os\.|env\.|ENV\[|secrets?\.|vars?\.|local\.|module\.|data\.|config\.|vault:|"
    r"ref\+|op://|arn:|ENC\[|projects/|file:|sm://|ssm:|keyring:|akvs?:|awssm:).*",
    re.DOTALL,
)
_CODE = re.compile(r"(?:await )?[A-Za-z_][\w.]*[(\[].*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.DOTALL)
_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][A-Za-z0-9_.@-]+)+/?")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.DOTALL)
_EXAMPLE = re.compile(
    r"(?i)(?:your|insert|enter|replace|example|sample|dummy|placeholder|change-?_?me|todo|fixme|"
    r"redacted|xxx)(?:$|[-_ .<].*|[a-z]*(?:here|key|token|password|secret)$)|"
    r".*(?:EXAMPLE|EXAMPLEKEY)",
    re.DOTALL,
)
_WORDS = re.compile(
    r"accepted|any|apikey|ask|basic|bearer|bool|bytes|changed|changeme|credentials|"
    r"denied|disabled|empty|enabled|env|example|expired|failed|false|file|filtered|"
    r"for|from|generated|hidden|in|incorrect|int|invalid|is|key|login|masked|"
    r"mismatch|missing|nil|no|none|null|number|object|off|ok|omitted|on|optional|"
    r"passphrase|passwd|password|placeholder|prompt|redacted|rejected|removed|required|"
    r"reset|rotated|secret|sensitive|set|stdin|str|string|text|the|todo|token|true|"
    r"undefined|unknown|unset|updated|valid|value|varchar|was|wrong|yes"
)
_PROSE = re.compile(
    r"a|an|and|are|as|at|be|been|by|can|can't|cannot|characters|contain|did|do|"
    r"does|doesn't|don't|for|from|has|have|in|invalid|is|isn't|it|least|long|"
    r"match|may|missing|must|need|no|not|of|or|required|short|should|than|the|"
    r"this|to|too|was|were|will|with|wrong|you|your"
)
_WORD = re.compile(r"[A-Za-z][a-z]*(?:[A-Z][a-z]+)*\d{0,3}|[A-Z]+\d{0,3}|\d{1,4}")
_SEPARATORS = re.compile(r"[-_./:@ ]")
_SPACE = re.compile(r"\s")
_HEX = re.compile(r"[0-9a-fA-F]{16,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ].*")
_LONGEST_NAME = 200


def is_harmless(value: str) -> bool:
    """Whether a value stands for a secret, or for none, instead of being one.

    Example:
        >>> [is_harmless(each) for each in ("****", "${DB_PASSWORD}", "<set>", "hunter2")]
        [True, True, True, False]
    """
    if "[secret:" in value:
        return True
    if _WORDS.fullmatch(value.lower()) or _NOTHING.fullmatch(value) or _REFERENCE.fullmatch(value):
        return True
    if _EXAMPLE.fullmatch(value):
        return True
    return _PATH.fullmatch(value) is not None and _is_name(value)


def is_prose(value: str) -> bool:
    """Whether a value is words about a password.

    Example:
        >>> is_prose("must be at least 8 characters"), is_prose("correct horse battery staple")
        (True, False)
    """
    words = value.lower().split()
    return len(words) > 1 and any(_PROSE.fullmatch(word.strip(".,;:!")) for word in words)


def is_code(value: str) -> bool:
    """Whether a value is an expression of a program.

    Example:
        >>> is_code("os.environ['X']"), is_code("get_token()"), is_code("hunter2")
        (True, True, False)
    """
    return _CODE.fullmatch(value) is not None


def _is_name(value: str) -> bool:
    """Whether it is what people call things: words, with few digits, joined by dashes and dots."""
    if len(value) > _LONGEST_NAME:
        return False
    parts = [part for part in _SEPARATORS.split(value.replace("\\", "/")) if part]
    named = [part for part in parts if _WORD.fullmatch(part) and _is_readable(part)]
    # Kubernetes and others add one random part to a name.
    short = [
        part for part in parts if part not in named and len(part) <= 10 and part == part.lower()
    ]
    return bool(named) and len(named) + len(short[:2]) >= len(parts)


def _is_readable(part: str) -> bool:
    """Whether capitals are rare enough for words in camel case."""
    capitals = sum(1 for character in part if character.isupper())
    return part.isupper() or len(part) >= 3.5 * max(0, capitals - 1)


def looks_random(value: str) -> bool:
    """Whether a value is likely made by a generator: what a token, a key and a secret are.

    Example:
        >>> looks_random("9f8a7c6b5d4e3f2a1b0c"), looks_random("my-db-credentials")
        (True, False)
    """
    if len(value) < 8 or _SPACE.search(value):
        return False
    if _URL.fullmatch(value) or _TIME.fullmatch(value):
        return False
    if _HEX.fullmatch(value) or _UUID.fullmatch(value):
        return not value.isdigit() or len(value) >= 20
    if _is_name(value):
        return False
    kinds = classes(value)
    if len(value) >= 16:
        return kinds >= 2
    return kinds >= 3 or (kinds == 2 and len(value) >= 10 and any(c.isdigit() for c in value))


def classes(value: str) -> int:
    """How many of lower case, upper case, digits and other characters a value has."""
    return sum(1 for kind in _CLASSES if kind.search(value))


_CLASSES = tuple(map(re.compile, (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^a-zA-Z0-9]")))


@functools.lru_cache(maxsize=4096)
def is_distinct(value: str) -> bool:
    """Whether a secret is unlike enough anything else to be looked for wherever it may stand.

    ``admin`` or ``postgres`` may be a password, and is a word all the same.

    Example:
        >>> is_distinct("tr0ub4dor&3"), is_distinct("postgres"), is_distinct("admin123")
        (True, False, True)
    """
    size, kinds = len(value), classes(value)
    if size < 6 or _WORDS.fullmatch(value.lower()) or len(set(value)) < 4:
        return False
    if _PATH.fullmatch(value) and _is_name(value):
        return False
    if size < 8:
        return kinds >= 3
    if value.isdigit():
        return size >= 12
    return kinds >= 2 or size >= 12
