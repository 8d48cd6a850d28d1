"""Models: one file a provider, the registry that finds them by name, and what they cost.

A model is anything with `aof_nb.ports.Model`'s `stream()`. What is common to the providers
that speak HTTP is in `wire` (decoding streams) and `transport` (clients, errors). Deciding
what to do about a failure does not live here: a provider raises, once, a classified error.
"""

from aof_nb.models.registry import Provider, parse_name, providers, resolve_model

__all__ = ["Provider", "parse_name", "providers", "resolve_model"]
