"""An agent's file while it is edited: read, and written whole and where it may be."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from aof_nb.errors import ConfigurationError

_LARGEST = 512 * 1024
_BOM = "\ufeff"

TEMPLATE = """\
apiVersion: aof.dev/v1
kind: Agent
metadata:
  name: {name}

spec:
  model: {model}
  instructions: |
    You help the person on call.
    Say what you have found, and where.
"""


@dataclass
class Draft:
    """A file's text while it is edited.

    Args:
        path: The file, from the directory; empty if it has none yet.
        place: Which of its documents is looked at.
        text: As it is now, with plain line ends.
        saved: As it is on the disk, as far as is known; None if it is not there.
        original: The bytes of that.
        windows: Whether lines end as on Windows.
        marked: Whether it begins with a byte order mark.
    """

    path: str
    place: int
    text: str
    saved: str | None = None
    original: bytes | None = field(default=None, repr=False)
    windows: bool = False
    marked: bool = False

    @property
    def changed(self) -> bool:
        """Whether it has anything that the disk does not have."""
        return self.text != self.saved


def open_draft(directory: Path, path: str, place: int) -> Draft:
    """A file, to be edited.

    Args:
        directory: Where the files are.
        path: The file, from there.
        place: Which of its documents is looked at.

    Raises:
        ConfigurationError: If it cannot be read, or is no text.
    """
    original = read_bytes(directory / path)
    text, marked, windows = decoded(original, path)
    return Draft(path, place, text, text, original, windows, marked)


def new_draft(directory: Path, model: str) -> Draft:
    """A new agent, from the smallest file that works.

    Args:
        directory: Where its file will be.
        model: The model it names.
    """
    number = 1
    while (directory / f"{_numbered(number)}.yaml").exists():
        number += 1
    name = _numbered(number)
    return Draft(f"{name}.yaml", 0, TEMPLATE.format(name=name, model=model))


def _numbered(number: int) -> str:
    return "new-agent" if number == 1 else f"new-agent-{number}"


def save_draft(directory: Path, draft: Draft, path: str, *, over: bool = False) -> None:
    """Writes a draft to a file, whole or not at all; it is that file's from then on.

    Args:
        directory: Where the files are; nothing is written elsewhere.
        draft: What is to be written.
        path: The file, from there; another one than the draft's must not be there yet.
        over: Whether what others have written there meanwhile is to be lost.

    Raises:
        ConfigurationError: If it is outside of the directory, has changed meanwhile, or cannot be
            written.
    """
    target, text = path_within(directory, path), draft.text
    known = draft.original if path == draft.path else None
    if not over and (found := _present(target, path)) != known:
        raise ChangedOnDisk(path, known, found)
    ended = text.replace("\n", "\r\n") if draft.windows else text
    try:
        content = ((_BOM if draft.marked else "") + ended).encode()
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o7777 if target.exists() else None
        _write(target, content, mode=mode, once=known is None and not over)
    except FileExistsError:
        raise ChangedOnDisk(path, None, b"") from None
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{path} cannot be written: half a character at {error.start + 1}", remedy="remove it"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="make room, mend its permissions, or choose another file",
        ) from error
    draft.path, draft.saved, draft.original = path, text, content


class ChangedOnDisk(ConfigurationError):
    """A file is not what it was when it was opened.

    Args:
        path: The file.
        known: What it held then; None if it was not there.
        found: What it holds now; None if it is not there.
    """

    def __init__(self, path: str, known: bytes | None, found: bytes | None) -> None:
        if found is None:
            said = f"{path} is no longer on the disk"
        elif known is None:
            said = f"{path} is there already"
        else:
            said = f"{path} has changed on the disk since it was opened here"
        super().__init__(
            f"{said}; nothing was written",
            remedy="load it again, write over it, or save under another name",
        )
        self.found = found


def has_changed(directory: Path, draft: Draft) -> bool:
    """Whether a draft's file is no longer what it was when it was opened.

    Args:
        directory: Where the files are.
        draft: The draft.
    """
    if draft.original is None:
        return False
    try:
        return _present(directory / draft.path, draft.path) != draft.original
    except ConfigurationError:
        return True


def normal_path(directory: Path, path: str) -> str:
    """A file's path from the directory, as the console knows it, however it was typed.

    Args:
        directory: Where the files are.
        path: What was typed.
    """
    typed = os.path.normpath(path.strip()) if path.strip() else ""
    root = str(directory)
    typed = os.path.relpath(typed, root) if typed.startswith(f"{root}{os.sep}") else typed
    return Path(typed).as_posix() if typed else ""


def path_within(directory: Path, path: str) -> Path:
    """Where a file of that name is, links followed.

    Args:
        directory: The only place where it may be, or below.
        path: What was typed.

    Raises:
        ConfigurationError: If it is elsewhere, or no name of a YAML file.
    """
    remedy = "give a file below the console's directory, such as agents/triage.yaml"
    if not path.strip():
        raise ConfigurationError("the file has no name", remedy=remedy)
    try:
        root, target = directory.resolve(), (directory / path).resolve()
    except (ValueError, OSError, RuntimeError):
        raise ConfigurationError(f"{path!r} is no file name", remedy=remedy) from None
    if not target.is_relative_to(root) or target == root:
        raise ConfigurationError(f"{path} is outside of {root}", remedy=remedy)
    if target.suffix not in {".yaml", ".yml"}:
        raise ConfigurationError(f"{path} is no YAML file", remedy="end its name in .yaml")
    if target.is_dir():
        raise ConfigurationError(f"{path} is a directory", remedy=remedy)
    return target


def read_bytes(path: Path) -> bytes:
    """What a file holds.

    Args:
        path: The file.

    Raises:
        ConfigurationError: If it cannot be read, or is too large to be an agent's.
    """
    try:
        if not path.is_file():
            raise ConfigurationError(f"{path.name} is not there", remedy="choose another file")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path.name} cannot be read: {error.strerror or error}", remedy="mend its permissions"
        ) from error
    if len(content) > _LARGEST:
        raise ConfigurationError(
            f"{path.name} is larger than {_LARGEST // 1024} KB", remedy="edit it elsewhere"
        )
    return content


def decoded(content: bytes, name: str) -> tuple[str, bool, bool]:
    """A file's text with plain line ends; whether it had a byte order mark, and Windows' line ends.

    Args:
        content: What it holds.
        name: What it is called.

    Raises:
        ConfigurationError: If it is no text.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{name} is no UTF-8 text: {error.reason} at byte {error.start}",
            remedy="save it as UTF-8",
        ) from None
    marked = text.startswith(_BOM)
    text = text.removeprefix(_BOM)
    windows = "\r\n" in text
    return text.replace("\r\n", "\n"), marked, windows


def _present(path: Path, name: str) -> bytes | None:
    """What a file holds now; None if it is not there."""
    if not path.exists():
        return None
    if not path.is_file():
        raise ConfigurationError(f"{name} is no file", remedy="choose another name")
    return read_bytes(path)


def _write(target: Path, content: bytes, *, mode: int | None, once: bool) -> None:
    """Writes a file, whole or not at all; `once` if it must not be there yet."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        if once:
            target.hardlink_to(partial)
        else:
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
