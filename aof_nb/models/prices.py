"""What tokens cost, from the maintained price list of the ``genai-prices`` package.

The list is large, so it is loaded when a cost is first asked for, or by a run with a cost
limit, in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from aof_nb.messages import Usage

_FREE = frozenset({"script", "replay", "ollama", "vllm", "lmstudio"})
"""Providers that run on the user's own machines, or nowhere."""

_LISTED_AS = {
    "bedrock": "aws",
    "gemini": "google",
    "moonshot": "moonshotai",
    "openai-chat": "openai",
    "xai": "x-ai",
}
"""The list's names for our providers, where they differ."""


def price(model: str, usage: Usage) -> float | None:
    """What a usage costs with a model.

    Args:
        model: A full name such as ``anthropic:claude-sonnet-5``.
        usage: The tokens.

    Returns:
        US dollars; None if the model's price is unknown, or the provider counted what cannot
        be, such as more cached tokens than tokens.

    Example:
        >>> price("anthropic:no-such-model", Usage(input_tokens=1)) is None
        True
    """
    provider, _, name = model.partition(":")
    if provider in _FREE:
        return 0.0
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    try:
        priced = PricedUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )
        found = calc_price(priced, name, provider_id=_LISTED_AS.get(provider, provider))
    except (LookupError, ValueError):
        return None
    return float(found.total_price)


def cost(usage_by_model: Mapping[str, Usage]) -> float | None:
    """What a run costs, in US dollars; None if any of its models' prices is unknown."""
    prices = [price(model, usage) for model, usage in usage_by_model.items()]
    known = [each for each in prices if each is not None]
    return sum(known, 0.0) if len(known) == len(prices) else None
