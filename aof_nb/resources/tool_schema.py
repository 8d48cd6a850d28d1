"""What people may write of a tool: the fields of its mapping, and of its ``config``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from aof_nb.resources.schema import Seconds, Spec, Text

_TIMEOUT = AliasChoices("timeout", "timeout_secs", "timeout_seconds")


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Words = Annotated[list[Text], BeforeValidator(_words)]


class ToolEntry(Spec):
    """A tool with its configuration."""

    name: str = ""
    type: str = ""
    source: str = ""
    server: str = ""
    enabled: bool = True
    description: str = ""
    timeout: Seconds | None = Field(default=None, validation_alias=_TIMEOUT)
    config: dict[str, Any] = Field(default_factory=dict)


class ToolConfig(BaseModel):
    """What the configurations have in common: what else AOF knows is kept, to be named."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ShellConfig(ToolConfig):
    """The configuration of ``shell``, and of single programs such as ``kubectl``."""

    allow: Words | None = None
    timeout: Seconds | None = Field(default=None, validation_alias=_TIMEOUT)
    cwd: str | None = Field(
        default=None, validation_alias=AliasChoices("cwd", "working_directory", "working_dir")
    )
    env: dict[str, Text] = {}
    expand: bool = False
    allowed_commands: Words | None = None
    blocked_commands: Words = []


class FilesConfig(ToolConfig):
    """The configuration of ``files``, and of its single tools such as ``read_file``."""

    root: str | None = None
    allowed_paths: Words = []
    read_only: bool = False


class HttpConfig(ToolConfig):
    """The configuration of ``http``."""

    methods: Words | None = Field(
        default=None, validation_alias=AliasChoices("methods", "allowed_methods")
    )
    allow_private: bool = False
    allow_hosts: Words = []
    headers: dict[str, Text] = {}
    timeout: Seconds | None = Field(default=None, validation_alias=_TIMEOUT)
