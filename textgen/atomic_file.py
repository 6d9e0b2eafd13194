"""Writing a file so that nothing is ever lost or half-written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

from textgen.errors import OutputError


def write_atomically(
    data: bytes,
    path: str | os.PathLike[str],
    *,
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write a file so that there is, at any moment, the earlier one or the whole new.

    The data go to a temporary file in the same folder, are flushed to the disk and
    read back before it takes the file's name. If anything fails, it is removed. A
    process that is killed can leave it behind; see `remove_leftovers`.

    Args:
        data: the whole content.
        path: the file; its folder exists. A symbolic link is followed.
        previous: under this name, in the same folder, the earlier file is kept, in
            place of the one before it. It is given that name only after the new file
            is in its place: at any moment there are as many whole files as before.

    Raises:
        OutputError: if that can't be done; the earlier file is as it was.
    """
    shown = Path(path)
    target = Path(os.path.realpath(path))
    temporary, spare = temporary_name(target), temporary_name(target)
    try:
        if target.exists() and not target.is_file():
            raise OSError("it is no ordinary file")
        _write(temporary, data)
        if temporary.read_bytes() != data:
            raise OSError("what was written reads back differently")
        keeps = previous is not None and target.exists()
        if keeps:
            second_name(target, spare)
        os.replace(temporary, target)
        if keeps:
            os.replace(spare, previous)
    except BaseException as error:
        for file in (temporary, spare):
            with contextlib.suppress(OSError):
                file.unlink()
        if isinstance(error, OSError):
            raise output_error(shown, error) from error
        raise
    _flush_folder(target.parent)


def temporary_name(target: Path) -> Path:
    """Return a new name beside a file, one that `remove_leftovers` knows."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that a killed process left beside a file.

    Args:
        path: the file; nobody else writes it at the moment.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    for file in path.parent.iterdir():
        if pattern.fullmatch(file.name):
            with contextlib.suppress(OSError):
                file.unlink()


def second_name(file: Path, name: Path) -> None:
    """Give a file a second name, or make a copy where there are no hard links."""
    try:
        os.link(os.path.realpath(file), name)
    except OSError:
        shutil.copy2(file, name)


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # The file is whole and in its place: a system that can't flush a folder (Windows,
    # some network disks) only delays when the new name is on the disk.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return what to raise when ``path`` can't be written because of ``error``."""
    return OutputError(
        f"expected to write {str(path)!r}, but {error.strerror or error}; nothing was "
        "changed: make room or choose another place with --output"
    )
