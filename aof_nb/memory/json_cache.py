"""A diskcache of JSON that several processes share, and that outlives damage to its database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from aof_nb.errors import MemoryStoreError
from aof_nb.json_disk import NEVER_A_FILE, strict_json_disk
from aof_nb.memory.locked_file import opened
from aof_nb.memory.worker import Worker

if TYPE_CHECKING:
    from diskcache import Cache

T = TypeVar("T")

_DATABASE = "cache.db"
_SALVAGE = "salvage"
_ROWS = "SELECT rowid, key, raw, mode, value, expire_time FROM Cache"
_PAGE_BYTES = 4096
_NO_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_NOT_JSON = (zlib.error, TypeError, ValueError, RecursionError)
_logger = logging.getLogger("aof_nb.memory")


class Damaged(msgspec.Struct, frozen=True):
    """Stands for a key or a value that cannot be read."""

    why: str


class JsonCache:
    """Opens a directory's cache for pieces of work, and closes it when none has come for a while.

    Args:
        directory: Where; made if it is missing, for its owner only.
        prepare: Called with the cache whenever it has been opened.
        repair: Called with what was saved of a damaged one.
    """

    def __init__(
        self,
        directory: Path,
        prepare: Callable[[Cache], None] | None = None,
        repair: Callable[[Cache], None] | None = None,
    ) -> None:
        self._directory = directory
        self._database = directory / _DATABASE
        self._prepare = prepare
        self._repair = repair
        self._worker = Worker(self._close)
        self._cache: Cache | None = None
        self._opened_as: os.stat_result | None = None
        self._salvaged: list[str] = []

    async def run(self, operation: Callable[[Cache], T]) -> T:
        """Carries a piece of work out in the cache's thread.

        Args:
            operation: What is done.

        Raises:
            MemoryStoreError: If the cache cannot be used.
        """
        return await asyncio.wrap_future(self._worker.submit(lambda: self._operate(operation)))

    def salvaged(self) -> list[str]:
        """What damage to the whole database has been found since this was asked last."""
        found, self._salvaged = self._salvaged, []
        return found

    def erase_deleted(self) -> None:
        """Has what was deleted vanish from the database's log too; only inside of `run`."""
        with contextlib.closing(sqlite3.connect(self._database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _operate(self, operation: Callable[[Cache], T]) -> T:
        from diskcache import Timeout

        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                return self._carry_out(operation)
            except (sqlite3.DatabaseError, _Unusable) as error:
                if not (isinstance(error, _Unusable) or _may_be_damage(error)):
                    raise
                self._close()
                self._salvage(error)
            return self._carry_out(operation)
        except (OSError, sqlite3.Error, *_NOT_JSON, Timeout, _Unusable) as error:
            why = error.__context__ if isinstance(error, Timeout) else error
            raise MemoryStoreError(
                f"the memory in {self._directory} cannot be used: {why}",
                remedy="see that it is a directory, that it may be written, and that there is room",
            ) from error

    def _carry_out(self, operation: Callable[[Cache], T]) -> T:
        # Shared with all who use the database: it is replaced only while nobody does.
        with opened(self._directory / "lock", create=True):
            return operation(self._open())

    def _open(self) -> Cache:
        if self._cache is not None and self._is_the_same():
            return self._cache
        self._close()
        _make_empty(self._database)
        cache = _opened(self._directory)
        try:
            if self._prepare is not None:
                self._prepare(cache)
        except BaseException:
            cache.close()
            raise
        self._cache, self._opened_as = cache, self._database.stat()
        return cache

    def _is_the_same(self) -> bool:
        try:
            there = self._database.stat()
        except FileNotFoundError:
            return False
        return self._opened_as is not None and os.path.samestat(there, self._opened_as)

    def _close(self) -> None:
        cache, self._cache = self._cache, None
        if cache is not None:
            with contextlib.suppress(sqlite3.Error):
                cache.close()

    def _salvage(self, error: Exception) -> None:
        """Puts a new database with all that can be read in the place of a damaged one."""
        with opened(self._directory / "lock", write=True, create=True):
            if _is_sound(self._directory):
                return
            new = self._directory / _SALVAGE
            new.mkdir(mode=0o700, exist_ok=True)
            for each in new.iterdir():
                each.unlink()
            count = _copy_readable(self._database, new)
            if self._repair is not None:
                with contextlib.closing(_cache_in(new)) as cache, cache.transact():
                    self._repair(cache)
            aside = self._directory / f"damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
            aside.mkdir(mode=0o700)
            _link_or_copy(self._database, aside / _DATABASE)
            log = self._directory / f"{_DATABASE}-wal"
            if log.exists():
                log.rename(aside / log.name)
            (self._directory / f"{_DATABASE}-shm").unlink(missing_ok=True)
            (new / _DATABASE).replace(self._database)
            for each in new.iterdir():
                each.unlink()
            new.rmdir()
        said = (
            f"the database of the memory in {self._directory} was damaged ({error}): {count} rows "
            f"of it could be read and are kept; all of it is in {aside}"
        )
        self._salvaged.append(said)
        _logger.warning("%s", said)


def value_of(cache: Cache, key: Any) -> Any:
    """The value under a key; None if there is none, `Damaged` if it cannot be read."""
    try:
        return cache.get(key)
    except _NOT_JSON as error:
        return Damaged(str(error))


class _Unusable(Exception):
    """diskcache does not understand what it finds in its own tables."""


def _opened(directory: Path) -> Cache:
    try:
        return _cache_in(directory)
    except (OSError, sqlite3.Error):
        raise
    except Exception as error:
        raise _Unusable(f"{type(error).__name__}: {error}") from error


def _make_empty(database: Path) -> None:
    """Makes a database's file, if it is missing, for its owner only, which SQLite would not."""
    # One that is there must not even be opened: closing it again would take away the locks that
    # other connections of this process have on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _cache_in(directory: Path) -> Cache:
    from diskcache import Cache

    class LenientDisk(strict_json_disk()):  # type: ignore[misc]
        """Lets the other keys be listed, and this one be deleted, where one is damaged."""

        def remove(self, file_path: str) -> None:
            """Nothing that a row may name is ours to remove."""

        def get(self, key: Any, raw: Any) -> Any:
            try:
                return super().get(key, raw)
            except _NOT_JSON as error:
                return Damaged(str(error))

    return Cache(
        str(directory),
        disk=LenientDisk,
        disk_min_file_size=NEVER_A_FILE,
        eviction_policy="none",
        # Whoever reads a mapped file that somebody cuts off is killed.
        sqlite_mmap_size=0,
        sqlite_secure_delete=1,
        # What only is in the log would be lost with it: it is kept short.
        sqlite_wal_autocheckpoint=250,
    )


def _link_or_copy(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)


def _may_be_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error can come of a damaged database, and not only of what is around it."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _NO_DAMAGE


def _is_sound(directory: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(directory / _DATABASE)) as connection:
            connection.execute(f"{_ROWS} LIMIT 0")
            if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
                return False
        _opened(directory).close()
    except (sqlite3.DatabaseError, _Unusable):
        return False
    return True


def _copy_readable(database: Path, directory: Path) -> int:
    """Copies what can be read of a damaged database into a new cache; how many rows that was."""
    with contextlib.closing(_cache_in(directory)):
        pass
    first_page = (directory / _DATABASE).read_bytes()[:_PAGE_BYTES]
    with contextlib.closing(_cache_in(directory)) as new, new.transact():
        count = _copy_rows(database, new)
        if not count:
            # The first page says where the tables begin, which is the same in all caches.
            again = directory / "with-another-first-page.db"
            shutil.copyfile(database, again)
            with again.open("r+b") as file:
                pages = max(1, again.stat().st_size // _PAGE_BYTES)
                file.write(first_page[:28] + pages.to_bytes(4, "big") + first_page[32:])
            count = _copy_rows(again, new)
    return count


def _copy_rows(database: Path, new: Cache) -> int:
    count, time_now = 0, time.time()
    with contextlib.closing(sqlite3.connect(database)) as old:
        old.text_factory = bytes
        for key, raw, mode, value, expires in _readable_rows(old):
            try:
                name = new.disk.get(key, raw)
                content = new.disk.fetch(mode, None, value, False)
                if isinstance(name, Damaged) or (expires is not None and expires <= time_now):
                    continue
                new.set(name, content, expire=expires and expires - time_now)
            except _NOT_JSON:
                continue
            count += 1
    return count


def _readable_rows(old: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """The rows of a damaged table, without those that are on damaged pages."""
    try:
        ((newest,),) = old.execute("SELECT max(rowid) FROM Cache").fetchall()
    except sqlite3.DatabaseError:
        newest = None
    last, most = 0, newest if isinstance(newest, int) else 1
    while last < most:
        try:
            for rowid, *row in old.execute(f"{_ROWS} WHERE rowid > ? ORDER BY rowid", (last,)):
                last = rowid
                yield tuple(row)
        except sqlite3.DatabaseError:
            last += 1
        else:
            return
