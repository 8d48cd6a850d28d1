"""``aofctl version``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

_LIBRARIES = (
    "anthropic",
    "ipykernel",
    "ipython",
    "jupyterlab",
    "mcp",
    "nbclient",
    "openai",
    "papermill",
)


def version(
    *,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", help="How to print it.")
    ] = "text",
) -> None:
    """Shows the versions of aof_nb, of Python and of the libraries it stands on."""
    import importlib.metadata
    import platform

    from aof_nb import __version__

    versions = {"aof_nb": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = "not installed"
    if output == "json":
        import json

        typer.echo(json.dumps(versions, indent=2))
        return
    width = max(map(len, versions))
    for name, number in versions.items():
        typer.echo(f"{name:<{width}}  {number}")
