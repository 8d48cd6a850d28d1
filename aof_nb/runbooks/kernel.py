"""A kernel of this Python, started for a notebook and ended with the block that started it.

Importing this imports nbclient and jupyter_client.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import zmq
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from aof_nb.errors import ConfigurationError


class ThisPython(AsyncKernelManager):
    """Starts this interpreter, whatever kernel the notebook names.

    The name in a notebook is the one of the machine it was written on; what a run needs is the
    environment that aof_nb and its tools are installed in, which is this one.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.has_trait("transport_encryption") and zmq.has("curve"):
            self.transport_encryption = "auto"

    @property
    def kernel_spec(self) -> KernelSpec:
        """What starts it."""
        spec = get_kernel_dict()
        return KernelSpec(
            # A kernel that is shut down is interrupted first, and some versions log that as an
            # error, into the terminal of who runs the notebook.
            argv=[*spec["argv"], "--log-level=CRITICAL"],
            display_name=spec["display_name"],
            language=spec["language"],
            metadata=spec["metadata"],
        )


@contextlib.asynccontextmanager
async def kernel_for(
    notebook: Any, directory: Path, environment: Mapping[str, str]
) -> AsyncGenerator[NotebookClient, None]:
    """Starts a kernel that executes a notebook's cells; it is killed at the end of the block.

    Args:
        notebook: The notebook, as nbformat's node; the client writes outputs into it.
        directory: The kernel's working directory.
        environment: The kernel's environment.

    Raises:
        ConfigurationError: If the kernel does not start.
    """
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        kernel_name="python3",
        startup_timeout=60,
        timeout=None,
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
    )
    # nbclient's own context would take over the process's signal handlers.
    manager: Any = client.create_kernel_manager()
    try:
        try:
            await client.async_start_new_kernel(cwd=str(directory), env=dict(environment))
            await client.async_start_new_kernel_client()
        except RuntimeError as error:
            raise ConfigurationError(
                f"the kernel did not start: {error}",
                remedy="try: python -m ipykernel_launcher --help",
            ) from error
        yield client
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
