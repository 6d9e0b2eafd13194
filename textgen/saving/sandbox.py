"""A model file's path → its contents, read by a process that may crash in peace.

The HDF5 library reads what strangers wrote in a fresh small interpreter
(`textgen.saving.sandbox_worker`), never in a copy of this process. It has ten seconds
and
limited memory, and what comes back is text and float32 arrays.

Nothing slow is imported here, so that a program can start the process first and import
the rest while it gets ready.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from textgen.errors import ModelFileError
from textgen.saving.container import Contents

if TYPE_CHECKING:
    import numpy as np

WALL_S = 10
# The status of a process that its limit of processor time ended.
OUT_OF_PROCESSOR_TIME = -getattr(signal, "SIGXCPU", math.inf)
MAX_HEADER_BYTES = 1 << 26
MAX_TEXT_BYTES = 1 << 24
MAX_ERROR_CHARS = 1000
BYTES_OF_FLOAT16 = 2  # of which the child makes four


class Reader:
    """The process, which reads files until it is closed.

    As a context manager it is closed at the end::

        with Reader() as reader:
            contents = reader.read("model.h5")
    """

    def __init__(self) -> None:
        """Start the process; it is ready some tenth of a second later."""
        child = Path(__file__).with_name("sandbox_worker.py")
        command = [sys.executable, "-I", "-S", str(child), *_import_folders()]
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "HDF5_PLUGIN_PRELOAD": "::",  # no filter libraries from elsewhere
        }
        self._process: subprocess.Popen | None = None
        self._failure: OSError | None = None  # told when there is something to read
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            self._failure = error

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is None:
            return
        self._process.kill()
        with contextlib.suppress(OSError):  # a path that it never took
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def read(self, path: str | os.PathLike[str]) -> Contents:
        """Read a model file.

        Args:
            path: the file.

        Raises:
            ModelFileError: if it is refused, or took too long, or ended the process;
                the reader can then only be closed.

        Warns:
            UserWarning: where memory and processor time can't be limited.
        """
        if self._process is None:
            raise ModelFileError(
                "expected to read the file in a process of its own, but "
                f"{sys.executable!r} can't be started ({self._failure})"
            ) from self._failure
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(WALL_S, expire)
        timer.start()
        try:
            return self._answer(Path(path))
        except (
            OSError,
            EOFError,
            ValueError,
            LookupError,
            TypeError,
            RecursionError,
        ) as error:
            self._process.kill()
            status = self._process.wait()
            if expired.is_set() or status == OUT_OF_PROCESSOR_TIME:
                raise ModelFileError(
                    f"expected a model file, but reading it took more than {WALL_S} s: "
                    "use another file, or try again when the machine is less busy"
                ) from error
            raise ModelFileError(
                "expected an HDF5 model file, but its structure is damaged: reading it "
                f"ended the process that did (status {status}); use another file"
            ) from error
        finally:
            timer.cancel()

    def _answer(self, path: Path) -> Contents:
        size = path.stat().st_size
        self._process.stdin.write(os.fsencode(path).hex().encode("ascii") + b"\n")
        self._process.stdin.flush()
        header = json.loads(self._process.stdout.readline(MAX_HEADER_BYTES))
        if "error" in header:
            error = str(header["error"])[:MAX_ERROR_CHARS]
            raise ModelFileError(error.replace("\n", " "))
        if not header["limited"]:
            warnings.warn(
                "memory and processor time can't be limited on this system; "
                "the model file was read with a limit of time only",
                stacklevel=4,
            )
        version = header["keras_version"]
        if not isinstance(version, str | None):
            raise TypeError("a version that is no text")
        texts = [self._text(length) for length in header["texts"]]
        most_bytes = 4 // BYTES_OF_FLOAT16 * size
        weights = {}
        for name, shapes in header["layers"]:
            arrays = []
            for shape in shapes:
                most_bytes -= 4 * math.prod(shape)
                if most_bytes < 0:
                    raise ValueError("more bytes than the file can hold")
                arrays.append(self._array(shape))
            weights[name] = tuple(arrays)
        return Contents(
            config=texts[0],
            keras_version=version,
            weights=weights,
            metadata=texts[1] if len(texts) > 1 else None,
            hashed=header["hashed"],
        )

    def _text(self, length: int) -> str:
        if not 0 <= length <= MAX_TEXT_BYTES:
            raise ValueError("not as many bytes as a text may have")
        text = self._process.stdout.read(length)
        if len(text) < length:
            raise EOFError
        return text.decode()

    def _array(self, shape: Sequence[int]) -> np.ndarray:
        import numpy as np

        array = np.empty(shape, "<f4")
        left = memoryview(array).cast("B") if array.size else memoryview(b"")
        while left:
            received = self._process.stdout.readinto(left)
            if not received:
                raise EOFError
            left = left[received:]
        return array


def _import_folders() -> list[str]:
    """Return where this package, NumPy and h5py are: all that the process needs."""
    folders = [Path(__file__).parents[2]]
    for package in ("numpy", "h5py"):
        if (spec := importlib.util.find_spec(package)) and spec.origin:
            folders.append(Path(spec.origin).parents[1])
    return list(dict.fromkeys(map(str, folders)))
