"""Models: one file a provider, the registry that finds them by name, and what they cost.

A model is anything with `aof_nb.ports.Model`'s `stream()`. What is common to the providers
that speak HTTP is in `sse`, `assembly` (decoding streams) and `transport` (clients, errors). A
provider raises, once, a classified error; what is done about it is decided by the layers around
it, `resilience` (with `breaker` and `limiter`) and `chain`.
"""

from aof_nb.models.registry import Provider, parse_name, providers, resolve_model

__all__ = ["Provider", "parse_name", "providers", "resolve_model"]
