"""Writing a file so that nothing is ever lost or half-written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
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
            place of the one before it. It has that name before it loses its own, so
            that a kill at any moment leaves it under one of the two.

    Raises:
        OutputError: if that can't be done; the earlier files are as they were.
    """
    shown = Path(path)
    target = Path(os.path.realpath(path))
    temporary = _temporary_name(target)
    try:
        for file in (target, Path(previous or target)):
            if file.exists() and not file.is_file():
                raise OSError(f"{str(file)!r} is no ordinary file")
        _write(temporary, data)
        if temporary.read_bytes() != data:
            raise OSError("what was written reads back differently")
        if previous is not None and target.exists():
            _replace_keeping(temporary, target, Path(previous))
        else:
            os.replace(temporary, target)
    except BaseException as error:
        _discard(temporary)
        if isinstance(error, OSError):
            raise output_error(shown, error) from error
        raise
    _flush_folder(target.parent)


def _replace_keeping(new: Path, target: Path, previous: Path) -> None:
    """Rename ``target`` to ``previous`` and ``new`` to ``target``, or undo both."""
    spare, before = _temporary_name(target), _temporary_name(target)
    existed = os.path.lexists(previous)
    try:
        _second_name(target, spare)
        if existed:
            os.replace(previous, before)
        os.replace(spare, previous)
        os.replace(new, target)
    except BaseException:
        if os.path.lexists(new):  # else an interrupt came when all was done
            if os.path.lexists(before):
                os.replace(before, previous)
            elif not existed:
                previous.unlink(missing_ok=True)
        raise
    finally:
        _discard(spare)
        if not os.path.lexists(new):
            _discard(before)


def _temporary_name(target: Path) -> Path:
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
            _discard(file)


def _discard(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _second_name(file: Path, name: Path) -> None:
    """Give a file a second name, or make a copy where there are no hard links."""
    try:
        os.link(file, name)
    except OSError:
        _write(name, file.read_bytes())


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
        f"expected to write {str(path)!r}, but {error.strerror or error}; what was "
        "there is unchanged: make room or choose another place with --output"
    )
