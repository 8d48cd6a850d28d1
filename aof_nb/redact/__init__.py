"""Secrets never reach a model, a journal or an output: placeholders do, in their place.

`Redactor` is a run's: what it knows (`declared`), what it recognises by shape (`shapes`), name and
place (`assignments`, `names`, `values`) and as Kubernetes' (`kubernetes`), in all encodings
(`encodings`), in text that is whole and in text that comes in pieces (`stream`). `tools` has the
layer around a tool; the one around a model is in `aof_nb.models.redacting`.
"""

from aof_nb.redact.declared import declared_secrets
from aof_nb.redact.placeholders import RedactionState
from aof_nb.redact.redactor import Redactor
from aof_nb.redact.settings import RedactionPolicy
from aof_nb.redact.stream import StreamRedactor

__all__ = [
    "RedactionPolicy",
    "RedactionState",
    "Redactor",
    "StreamRedactor",
    "declared_secrets",
]
