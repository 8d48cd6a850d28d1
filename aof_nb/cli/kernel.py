"""``aofctl kernel``: a kernel for Jupyter that has the magics loaded when it starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from aof_nb.cli.ending import ExitCode, complain, usage_error

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpecManager

app = typer.Typer(
    name="kernel",
    help="Installs a kernel for Jupyter with aof_nb loaded, and takes it out again.",
    no_args_is_help=True,
)

_MARK = "aof_nb"

User: TypeAlias = Annotated[bool, typer.Option("--user", help="For this user, in any environment.")]
SysPrefix: TypeAlias = Annotated[
    bool, typer.Option("--sys-prefix", help="For this Python environment.")
]
Prefix: TypeAlias = Annotated[
    Path | None, typer.Option("--prefix", metavar="PATH", help="For the environment at a path.")
]
Name: TypeAlias = Annotated[str, typer.Option("--name", help="What Jupyter knows it by.")]


@app.command()
def install(
    *,
    user: User = False,
    sys_prefix: SysPrefix = False,
    prefix: Prefix = None,
    name: Name = "aof",
    display_name: Annotated[
        str, typer.Option("--display-name", help="What people are shown.")
    ] = "Python 3 (aof)",
) -> None:
    """Installs the kernel: for this environment if it is a virtual one, else for this user."""
    import json
    import tempfile
    from importlib import resources

    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpecManager

    _one_place(user=user, sys_prefix=sys_prefix, prefix=prefix)
    where = _prefix(user=user, sys_prefix=sys_prefix, prefix=prefix)
    manager = KernelSpecManager()
    there = _found(_manager_of(where), name)
    if there is not None and not _is_ours(there):
        complain(
            f"the kernel {name!r} in {there.resource_dir} is another one",
            "give a name that is free: --name NAME",
        )
        raise typer.Exit(ExitCode.FAILED)
    spec = get_kernel_dict(
        extra_arguments=["--IPKernelApp.extra_extensions=aof_nb"],
        # Without it debugpy warns at each start.
        python_arguments=["-Xfrozen_modules=off"],
    )
    spec["display_name"] = display_name
    spec["metadata"] = spec.get("metadata", {}) | {_MARK: {"loaded": True}}
    with tempfile.TemporaryDirectory() as directory:
        staged = Path(directory) / "kernel"
        staged.mkdir()
        (staged / "kernel.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")
        logo = resources.files("aof_nb.notebook") / "static" / "kernel" / "logo-svg.svg"
        (staged / "logo-svg.svg").write_bytes(logo.read_bytes())
        try:
            path = manager.install_kernel_spec(
                str(staged), name, user=where is None, prefix=None if where is None else str(where)
            )
        except ValueError as error:
            usage_error(str(error), "use letters, digits, - and _ in --name")
        except OSError as error:
            complain(
                f"the kernel cannot be written: {error}",
                "install it for yourself with --user, or in an environment with --prefix PATH",
            )
            raise typer.Exit(ExitCode.FAILED) from None
    typer.echo(f"{display_name}: {path}")


@app.command()
def uninstall(
    *,
    user: User = False,
    sys_prefix: SysPrefix = False,
    prefix: Prefix = None,
    name: Name = "aof",
) -> None:
    """Takes the kernel out again, from wherever Jupyter finds it if no place is given."""
    from jupyter_client.kernelspec import KernelSpecManager

    _one_place(user=user, sys_prefix=sys_prefix, prefix=prefix)
    manager: Any = KernelSpecManager()
    if user or sys_prefix or prefix is not None:
        where = _prefix(user=user, sys_prefix=sys_prefix, prefix=prefix)
        manager = _manager_of(where)
    there = _found(manager, name)
    if there is None:
        complain(f"there is no kernel {name!r}", "jupyter kernelspec list shows those there are")
        raise typer.Exit(ExitCode.FAILED)
    if not _is_ours(there):
        complain(
            f"the kernel {name!r} in {there.resource_dir} was not installed by aofctl",
            f"jupyter kernelspec uninstall {name} takes it out",
        )
        raise typer.Exit(ExitCode.FAILED)
    typer.echo(f"taken out: {manager.remove_kernel_spec(name)}")


def _one_place(*, user: bool, sys_prefix: bool, prefix: Path | None) -> None:
    if [user, sys_prefix, prefix is not None].count(True) > 1:
        usage_error("give one of --user, --sys-prefix and --prefix")


def _prefix(*, user: bool, sys_prefix: bool, prefix: Path | None) -> Path | None:
    """The environment that is meant; None if the user's own directory is."""
    if user:
        return None
    if prefix is not None:
        return prefix.expanduser().absolute()
    return Path(sys.prefix) if sys_prefix or sys.prefix != sys.base_prefix else None


def _manager_of(prefix: Path | None) -> KernelSpecManager:
    """What looks into one environment only, or into the user's own directory."""
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    own = str(manager.user_kernel_dir)
    manager.kernel_dirs = [own if prefix is None else str(prefix / "share/jupyter/kernels")]
    manager.ensure_native_kernel = False
    return manager


def _found(manager: KernelSpecManager, name: str) -> Any:
    from jupyter_client.kernelspec import NoSuchKernel

    try:
        return manager.get_kernel_spec(name)
    except NoSuchKernel:
        return None


def _is_ours(spec: Any) -> bool:
    return _MARK in (spec.metadata or {})
