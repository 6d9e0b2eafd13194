"""Writing a file so that nothing is ever lost or half-written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from textgen.errors import OutputError, shown_path


def write_atomically(
    data: bytes,
    path: str | os.PathLike[str],
    *,
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write a file so that there is, at any moment, the earlier one or the whole new.

    The data go to a temporary file in the same folder and are flushed to the disk
    before it takes the file's name. A process that is killed can leave the temporary
    file behind; see `remove_leftovers`. A symbolic link is followed, and the folder has
    to exist. The earlier file is kept as ``previous``, a name in the same folder.

    Raises:
        OutputError: if that can't be done; ``path`` is as it was.
    """
    target = Path(os.path.realpath(path))
    temporary, second_name = _temporary_name(target), _temporary_name(target)
    try:
        if target.exists() and not target.is_file():
            raise OSError(f"{str(target)!r} is no ordinary file")
        _write(temporary, data)
        if previous is not None and target.exists():
            try:
                os.link(target, second_name)
            except OSError:  # the disk has no hard links
                _write(second_name, target.read_bytes())
            os.replace(second_name, previous)
        os.replace(temporary, target)
    except OSError as error:
        raise output_error(Path(path), error) from error
    finally:
        _discard(temporary)
        _discard(second_name)
    _flush_folder(target.parent)


def make_writable(folder: Path, asker: str, name: str, advice: str) -> None:
    """Make a folder, with those above it, in which ``asker`` is to write ``name``.

    If no file of such a name can be made there, an `OutputError` says so, and ends with
    the ``advice``.
    """
    import tempfile  # only now: a command that generates doesn't need it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}."):
            pass
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "it is a file" if is_file else getattr(error, "strerror", None)
        raise OutputError(
            f"{asker} needs a folder to write to, but {shown_path(folder)} can't be "
            f"written ({reason or error})",
            advice,
        ) from error


def _temporary_name(target: Path) -> Path:
    """Return a new name beside a file, one that `remove_leftovers` knows."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def remove_leftovers(path: Path, name: str | None = None) -> None:
    """Remove the temporary files that a killed process left beside ``path``.

    They are those of that file or, if it is given, of names that match the regular
    expression ``name``. No other process may be writing them at the moment.
    """
    name = re.escape(path.name) if name is None else name
    pattern = re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.tmp")
    for file in path.parent.iterdir():
        if pattern.fullmatch(file.name):
            _discard(file)


def _discard(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # Windows and some network disks can't do this: there the new name may reach the
    # disk later.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return what to raise when ``path`` can't be written because of ``error``."""
    missing = isinstance(error, FileNotFoundError)
    way_out = f"make the folder {shown_path(path.parent)}" if missing else "make room"
    return OutputError(
        f"expected to write {str(path)!r}, but {error.strerror or error}; what was "
        "there is unchanged",
        f"{way_out}, or choose another place by `output`",
    )
