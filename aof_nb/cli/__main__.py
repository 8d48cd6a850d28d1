"""``python -m aof_nb.cli`` is ``aofctl``."""

from __future__ import annotations

from aof_nb.cli import main

if __name__ == "__main__":
    main()
