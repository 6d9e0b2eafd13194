"""Writing a file so that nothing is ever lost or half-written."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from textgen.errors import OutputError


def write_atomically(data: bytes, path: str | os.PathLike[str]) -> None:
    """Write a file so that there is, at any moment, the earlier one or the whole new.

    The data go to a temporary file in the same folder, are flushed to the disk and
    read back before it takes the file's name. If anything fails, it is removed.

    Args:
        data: the whole content.
        path: the file; its folder exists. A symbolic link is followed.

    Raises:
        OutputError: if that can't be done; the earlier file is as it was.
    """
    shown = Path(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        if target.exists() and not target.is_file():
            raise OSError("it is no ordinary file")
        _write(temporary, data)
        if temporary.read_bytes() != data:
            raise OSError("what was written reads back differently")
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise output_error(shown, error) from error
        raise
    _flush_folder(target.parent)


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
