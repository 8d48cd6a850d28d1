"""A server's resources, which can be read, and its prompts, which can be filled in."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from aof_nb.errors import ConfigurationError
from aof_nb.markdown import html_text
from aof_nb.mcp.browsing import Part, Prompt, Resource, get_prompt, read_resource
from aof_nb.mcp.pool import pool
from aof_nb.notebook.console import mcp_text
from aof_nb.notebook.console.forms import SchemaForm
from aof_nb.notebook.console.mcp_servers import KnownServer
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.stoppable import Stoppable, Stopped
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import button, close_tree
from aof_nb.redact import Redactor

_RESOURCES = (
    Column("name", "Resource"),
    Column("uri", "URI"),
    Column("type", "Type"),
    Column("does", "What it is", wide=True),
)
_PROMPTS = (
    Column("name", "Prompt"),
    Column("takes", "Arguments"),
    Column("does", "What it is for", wide=True),
)


class ResourcesPane:
    """The resources of one server.

    Args:
        host: The console.
    """

    def __init__(self, host: Host) -> None:
        import ipywidgets

        self._host = host
        self._server: KnownServer | None = None
        self._table = Table("Resources", _RESOURCES, empty=mcp_text.NOT_ASKED)
        self._table.on_select(self._chosen)
        self._uri: Any = ipywidgets.Text(description="URI", layout={"width": "32em"})
        self._uri.style.description_width = "auto"
        self._uri.tooltip = "What is read; the names in braces of a template are to be filled in"
        self._read = button("Read", "book", self._begin)
        self._work = Stoppable(host, self._read)
        self._answer: Any = ipywidgets.HTML()
        self._answer.add_class("aof-wrap")
        self._bar: Any = ipywidgets.HBox(
            [self._uri, self._read, self._work.button],
            layout={"flex_flow": "row wrap", "display": "none"},
        )
        self.widget: Any = ipywidgets.VBox([self._table.widget, self._bar, self._answer])

    def show(self, server: KnownServer | None, resources: Sequence[Resource] | None) -> None:
        """Shows the resources of a server; None if it has not been asked."""
        self._table.widget.empty = (
            mcp_text.NOT_ASKED if resources is None else "It offers no resources."
        )
        resources = resources or ()
        if (server and server.id) != (self._server and self._server.id):
            self._table.selected = self._uri.value = self._answer.value = ""
        self._server = server
        self._bar.layout.display = None if resources else "none"
        self._table.show([_resource(each) for each in resources])

    def _chosen(self, uri: str) -> None:
        if uri:
            self._uri.value = uri

    def _begin(self) -> None:
        server, uri = self._server, self._uri.value.strip()

        async def begin() -> None:
            if server is None:
                return
            if not uri or "{" in uri:
                raise ConfigurationError(
                    f"{uri!r} is no URI yet" if uri else "no resource is named",
                    remedy="put values in the place of the names in braces"
                    if uri
                    else "choose one, or write its URI",
                )
            self._answer.value = f'<div role="status">Reads {html_text(uri)} …</div>'
            await _shown(self._work, self._answer, server, read_resource(pool(), server.spec, uri))

        self._host.start(begin)


class PromptsPane:
    """The prompts of one server.

    Args:
        host: The console.
    """

    def __init__(self, host: Host) -> None:
        import ipywidgets

        self._host = host
        self._server: KnownServer | None = None
        self._prompts: dict[str, Prompt] = {}
        self._form: SchemaForm | None = None
        self._table = Table("Prompts", _PROMPTS, empty=mcp_text.NOT_ASKED)
        self._table.on_select(lambda _: host.start(self._open))
        self._fields: Any = ipywidgets.VBox()
        self._get = button("Fill in", "pencil", self._begin)
        self._work = Stoppable(host, self._get)
        self._answer: Any = ipywidgets.HTML()
        self._answer.add_class("aof-wrap")
        bar = ipywidgets.HBox([self._get, self._work.button])
        self._box: Any = ipywidgets.VBox([self._fields, bar], layout={"display": "none"})
        self.widget: Any = ipywidgets.VBox([self._table.widget, self._box, self._answer])

    def show(self, server: KnownServer | None, prompts: Sequence[Prompt] | None) -> None:
        """Shows the prompts of a server; None if it has not been asked."""
        self._table.widget.empty = (
            mcp_text.NOT_ASKED if prompts is None else "It offers no prompts."
        )
        prompts = prompts or ()
        if (server and server.id) != (self._server and self._server.id):
            self._table.selected = self._answer.value = ""
        self._server = server
        self._prompts = {each.name: each for each in prompts}
        self._table.show([_prompt(each) for each in prompts])
        if self._table.selected not in self._prompts:
            self._box.layout.display = "none"

    async def _open(self) -> None:
        prompt = self._prompts.get(self._table.selected)
        self._box.layout.display = "none" if prompt is None else None
        self._fields.children = []
        if self._form is not None:
            close_tree(self._form.widget)
            self._form = None
        if prompt is not None:
            self._answer.value = ""
            self._form = SchemaForm(prompt.schema)
            self._fields.children = [self._form.widget]

    def _begin(self) -> None:
        server, form, name = self._server, self._form, self._table.selected

        async def begin() -> None:
            if server is None or form is None:
                return
            if form.problems:
                raise ConfigurationError(
                    "the prompt cannot be filled in yet",
                    remedy="correct the fields that are marked",
                )
            self._answer.value = f'<div role="status">Asks for {html_text(name)} …</div>'
            await _shown(
                self._work,
                self._answer,
                server,
                get_prompt(pool(), server.spec, name, form.value),
            )

        self._host.start(begin)


async def _shown(
    work: Stoppable, answer: Any, server: KnownServer, asking: Coroutine[Any, Any, list[Part]]
) -> None:
    """Shows what a server sends, without secrets."""
    try:
        parts = await work.carry(asking)
    except Stopped:
        answer.value = '<div role="status">It was stopped.</div>'
        return
    except BaseException:
        answer.value = ""
        raise
    redactor = Redactor.from_environment(server.spec.env, server.spec.headers)
    answer.value = mcp_text.parts(
        [
            msgspec.structs.replace(
                each, title=redactor.text(each.title), text=redactor.text(each.text)
            )
            for each in parts
        ]
    )


def _resource(resource: Resource) -> TableRow:
    size = f", {resource.size:,} bytes" if resource.size is not None else ""
    kind = f"template {resource.mime_type}".strip() if resource.template else resource.mime_type
    return TableRow(
        id=resource.uri,
        cells={
            "name": resource.name,
            "uri": resource.uri,
            "type": f"{kind}{size}",
            "does": resource.description.strip().partition("\n")[0],
        },
    )


def _prompt(prompt: Prompt) -> TableRow:
    return TableRow(
        id=prompt.name,
        cells={
            "name": prompt.name,
            "takes": ", ".join(
                f"{each.name}{'' if each.required else '?'}" for each in prompt.arguments
            ),
            "does": prompt.description.strip().partition("\n")[0],
        },
    )
