"""The providers, and how a model is found by its name."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import warnings
from typing import Any

import msgspec

from aof_nb.errors import ConfigurationError
from aof_nb.models.compatible import AZURE, ENDPOINTS, OPENAI, Endpoint
from aof_nb.ports import Model

_GROUP = "aof_nb.providers"


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider of models.

    Args:
        name: The word before the colon.
        factory: Where its models are made, as ``module:callable``; imported at first use.
        title: What people call it.
        key_variable: The environment variable that holds its key; empty if it needs none.
        url_variable: The environment variable that overrides its address.
        needs_address: Whether it has no address but the user's own, which has to be given.
        server: The address at which its server is looked for, if that runs on the user's machine.
        example: A model of it.
        credentials: What else it may take instead of a key.
        extra: The extra of aof-nb that brings what it needs; empty if nothing more is.
        package: The package that the extra brings.
        options: What its factory is given besides.
    """

    name: str
    factory: str
    title: str
    key_variable: str = ""
    url_variable: str = ""
    needs_address: bool = False
    server: str = ""
    example: str = ""
    credentials: str = ""
    extra: str = ""
    package: str = ""
    options: dict[str, Any] = {}

    @property
    def missing_extra(self) -> str:
        """The extra that has to be installed before it can be used; empty if none has."""
        if not self.package or importlib.util.find_spec(self.package) is not None:
            return ""
        return self.extra


def _compatible(endpoint: Endpoint) -> Provider:
    return Provider(
        name=endpoint.name,
        factory="aof_nb.models.openai_chat:OpenAIChatModel",
        title=endpoint.title,
        key_variable=endpoint.key_variable,
        url_variable=endpoint.url_variable,
        server="" if endpoint.key_variable else endpoint.base_url,
        example=endpoint.example,
        options={"endpoint": endpoint.name},
    )


_PROVIDERS = (
    Provider(
        name="anthropic",
        factory="aof_nb.models.anthropic:AnthropicModel",
        title="Anthropic (Messages)",
        key_variable="ANTHROPIC_API_KEY",
        url_variable="ANTHROPIC_BASE_URL",
        example="anthropic:claude-sonnet-5",
    ),
    Provider(
        name="openai",
        factory="aof_nb.models.openai_responses:OpenAIResponsesModel",
        title="OpenAI (Responses)",
        key_variable="OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
        example="openai:gpt-5",
    ),
    _compatible(OPENAI),
    Provider(
        name="bedrock",
        factory="aof_nb.models.bedrock:BedrockModel",
        title="Amazon Bedrock (Converse), with AWS credentials or a Bedrock API key",
        key_variable="AWS_BEARER_TOKEN_BEDROCK",
        credentials="AWS credentials as boto3 finds them",
        extra="bedrock",
        package="boto3",
        url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        example="bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    Provider(
        name=AZURE.name,
        factory="aof_nb.models.azure:AzureChatModel",
        title=AZURE.title,
        key_variable=AZURE.key_variable,
        url_variable=AZURE.url_variable,
        needs_address=True,
        credentials='Entra tokens with pip install "aof-nb[azure]"',
        example=AZURE.example,
    ),
    *map(_compatible, ENDPOINTS),
    Provider(
        name="script",
        factory="aof_nb.models.script:ScriptModel",
        title="Scripted playbook: deterministic, no LLM, no key",
        example="script:triage.yaml",
    ),
    Provider(
        name="replay",
        factory="aof_nb.journal.replay_model:ReplayModel",
        title="Recorded run: the model's answers from a journal or a cassette, no LLM, no key",
        example="replay:triage.journal.jsonl",
    ),
)

FILES = ("script:", "replay:")
"""How the names of models begin that are files: nothing is sent, and nothing is to be paid."""


_BUILT_IN = {provider.name: provider for provider in _PROVIDERS}


def providers() -> dict[str, Provider]:
    """The known providers by name: the built-in ones, and those of installed packages.

    A package adds one by an entry point of the group ``aof_nb.providers``, whose object is a
    `Provider`. Names that are built in stay what they are.
    """
    return _plugged_in() | _BUILT_IN


@functools.cache
def _plugged_in() -> dict[str, Provider]:
    found: dict[str, Provider] = {}
    for entry in importlib.metadata.entry_points(group=_GROUP):
        try:
            provider = entry.load()
            if not isinstance(provider, Provider):
                raise TypeError(f"it is a {type(provider).__name__}, not a Provider")
        except Exception as error:  # noqa: BLE001  another's package must not cost the rest
            warnings.warn(
                f"the model provider {entry.name} ({entry.value}) cannot be used: {error}",
                stacklevel=2,
            )
            continue
        found[provider.name] = provider
    return found


def parse_name(name: str) -> tuple[Provider, str]:
    """Splits a full model name into its provider and the provider's own name for it.

    A few bare names are recognised, as AOF's files use them: ``claude-...`` and ``gpt-...``.

    Raises:
        ConfigurationError: If there is no such provider.

    Example:
        >>> provider, model = parse_name("anthropic:claude-sonnet-5")
        >>> provider.title, model
        ('Anthropic (Messages)', 'claude-sonnet-5')
    """
    provider_name, colon, model = name.partition(":")
    if not colon:
        model = name
        provider_name = "anthropic" if name.startswith("claude-") else ""
        if name.startswith(("gpt-", "o1", "o3", "o4")):
            provider_name = "openai"
    # Installed packages are searched only for names that are not built in.
    known = _BUILT_IN if provider_name in _BUILT_IN else providers()
    provider = known.get(provider_name)
    if provider is None or not model:
        near = difflib.get_close_matches(provider_name, known, n=1)
        hint = f"did you mean {near[0]}:{model or '...'}? " if near else ""
        examples = ", ".join(each.example for each in known.values())
        raise ConfigurationError(
            f"unknown model {name!r}",
            remedy=f"{hint}a model is named provider:model, such as {examples}",
        )
    return provider, model


def shown_name(model: str | Model) -> str:
    """A model's name as people are shown it: one that is a file says so, and not where it lies.

    Example:
        >>> shown_name("script:playbooks/triage.yaml")
        'script:triage.yaml (scripted)'
    """
    if isinstance(model, str) and not model.startswith(FILES):
        return model
    return resolve_model(model).name


def resolve_model(
    name: str | Model,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    **options: Any,
) -> Model:
    """Finds a model by its name.

    Args:
        name: ``provider:model``, such as ``openai:gpt-5`` or ``script:triage.yaml``. A model
            is returned as it is.
        base_url: The provider's address, if not its own and not in the environment.
        api_key: The key, if not in the environment.
        **options: What else the provider's model takes.

    Raises:
        ConfigurationError: If the provider is unknown.
        MissingCredential: If there is no key, when the first request is made.

    Example:
        >>> resolve_model("openai:gpt-5", api_key="k").name
        'openai:gpt-5'
    """
    if not isinstance(name, str):
        return name
    provider, model = parse_name(name)
    module, _, attribute = provider.factory.partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    options = provider.options | options
    if provider.key_variable or provider.url_variable:
        options |= {"base_url": base_url, "api_key": api_key}
    found: Model = factory(model, **options)
    return found
