"""aof_nb: agentic runbooks in Jupyter for DevOps and SRE."""

from aof_nb._version import __version__

__all__ = ["__version__"]
