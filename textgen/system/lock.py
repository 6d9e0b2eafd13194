"""One training at a time for each output: a lock that vanishes with its process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from textgen.errors import OutputError
from textgen.system.files import output_error

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


class OutputLock:
    """Held from its making until `release`, or until the process ends in any way.

    It is an advisory lock (``flock``) on an empty file beside the output, which
    `release` removes; what a killed process leaves there is not locked. Network disks
    that know no locks are written to without one.

    Args:
        output: the model file to be written; its folder exists.

    Raises:
        OutputError: another training holds it, or the folder can't be written.
    """

    _file: int | None = None

    def __init__(self, output: Path) -> None:
        self.output = output
        self._path = output.with_name(f".{output.name}.lock")
        try:
            self._file = self._open()
        except OSError as error:
            raise output_error(self._path, error) from error

    def release(self) -> None:
        """Let others write the output; twice does no harm."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # Windows removes no open file
            self._path.unlink()
        os.close(self._file)
        self._file = None

    def __enter__(self) -> OutputLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def _open(self) -> int:
        """Open and lock the file; again if it was removed in between."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            if not _locked(file):
                os.close(file)
                raise OutputError(
                    f"expected to be the only training of {str(self.output)!r}, but "
                    "another is running: wait for it, or choose another --output"
                )
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(self._path)):
                    return file
            os.close(file)


def _locked(file: int) -> bool:
    """Try to lock an open file; False if another process has."""
    try:
        if fcntl is None:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # this disk knows no locks
        return True
    return True
