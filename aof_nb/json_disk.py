"""diskcache's JSON disk without what it still does with pickles and with files of their own."""

from __future__ import annotations

import functools
from typing import Any

NEVER_A_FILE = 2**40
"""For diskcache's `disk_min_file_size`.

A value in a file of its own can be replaced by another process between the look-up of its name and
its reading; diskcache then takes it for missing. In the database it cannot.
"""


@functools.cache
def strict_json_disk() -> type[Any]:
    """A `diskcache.Disk` that reads and writes JSON and nothing else.

    What is anything else raises a `ValueError`: a cache file must not be able to run code, nor to
    name files to read and remove.
    """
    from diskcache import JSONDisk
    from diskcache.core import MODE_PICKLE, MODE_RAW

    class StrictJsonDisk(JSONDisk):  # type: ignore[misc]
        """The base class unpickles what the database says is a pickle."""

        def get(self, key: Any, raw: Any) -> Any:
            if not raw:
                raise ValueError("it holds a pickled key")
            return super().get(key, raw)

        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if mode == MODE_PICKLE:
                raise ValueError("it holds a pickled value")
            if mode != MODE_RAW or filename is not None:
                raise ValueError("it holds a value in a file")
            return super().fetch(mode, filename, value, read)

        def remove(self, file_path: str) -> None:
            raise ValueError(f"it names a file to remove, {file_path!r}")

    return StrictJsonDisk
