"""Model files are opened in a process of their own, which may crash without harm.

The HDF5 library reads what strangers wrote in a fresh, small interpreter
(`textgen.saving.sandbox_worker`), never in this process or in a copy of it. The
interpreter has limited memory and ten seconds, and answers with text and arrays.

Nothing slow is imported here: a program can start the interpreter first and import the
rest while that gets ready.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.errors import ModelFileError
from textgen.saving.container import ANOTHER_FORM, MAX_FLOATS, Contents

if TYPE_CHECKING:
    import numpy as np

WALL_S = 10
# The status of a process that used up its limit of processor time.
OUT_OF_PROCESSOR_TIME = -getattr(signal, "SIGXCPU", math.inf)
MAX_HEADER_BYTES = 1 << 25
MAX_ERROR_CHARS = 1000


class Reader:
    """A process that reads one model file; it ends with the ``with`` block."""

    def __init__(self) -> None:
        """Start the process; it is ready some tenth of a second later."""
        self._process: subprocess.Popen[bytes] | None = None
        if not sys.executable:
            self._failure = "Python doesn't say where its interpreter is"
            return
        worker = Path(__file__).with_name("sandbox_worker.py")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(worker), *_import_folders()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,  # a buffer could take more than what tells of readiness
                # No filter libraries of HDF5 from elsewhere.
                env=os.environ
                | {"OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"},
            )
        except OSError as error:
            self._failure = f"{sys.executable!r} can't be started ({error})"

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            with self._process:  # which closes the pipes and waits
                self._process.kill()

    def read(self, path: str | os.PathLike[str]) -> Contents:
        """Read a model file, within `WALL_S` seconds; this can be done once.

        Warns where memory or processor time can't be limited.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            expected = "expected to read the file in a process of its own"
            raise ModelFileError(f"{expected}, but {self._failure}")
        if not process.stdout.read(1):  # what it writes when it is ready
            expected = "expected to read the file in a process of its own"
            how = f"it ended before it was ready (status {process.wait()})"
            raise ModelFileError(f"{expected}, but {how}")
        until = time.monotonic() + WALL_S
        timer = threading.Timer(WALL_S, process.kill)
        timer.start()
        try:
            process.stdin.write(os.fsencode(path))
            process.stdin.close()
            return _read_answer(process.stdout)
        except (OSError, EOFError, MemoryError, OverflowError, *ANOTHER_FORM) as error:
            process.kill()
            status = process.wait()
            if time.monotonic() >= until or status == OUT_OF_PROCESSOR_TIME:
                raise ModelFileError(
                    f"expected a model file, but reading it took more than {WALL_S} s",
                    "use another file, or try again when the machine is less busy",
                ) from error
            raise ModelFileError(
                "expected an HDF5 model file, but its structure is damaged: reading it "
                f"ended the process that did (status {status})",
                "use another file",
            ) from error
        finally:
            timer.cancel()


def _read_answer(stream: Any) -> Contents:
    """Read the process' answer, which is not believed: see `sandbox_worker`."""
    length = bytearray(8)
    _fill(memoryview(length), stream)
    if (header_bytes := int.from_bytes(length)) > MAX_HEADER_BYTES:
        raise ValueError("a header larger than that of any file")
    text = bytearray(header_bytes)
    _fill(memoryview(text), stream)
    header = json.loads(text)
    if "error" in header:
        problem, advice = (
            str(text)[:MAX_ERROR_CHARS].replace("\n", " ") for text in header["error"]
        )
        raise ModelFileError(problem, advice)
    if unlimited := {"memory", "processor time"}.intersection(header["unlimited"]):
        warnings.warn(
            f"{' and '.join(sorted(unlimited))} can't be limited on this system; the "
            "model file was read without that limit",
            stacklevel=5,
        )
    config, version = header["config"], header["keras_version"]
    metadata = header["metadata"]
    if not all(isinstance(text, str) for text in (config, version, metadata or "")):
        raise TypeError("texts that aren't")
    weights = _read_weights(stream, header["layers"])
    return Contents(config, version, weights, metadata, header["hashed"] is True)


def _read_weights(
    stream: Any, layers: list[tuple[str, list[list[int]]]]
) -> dict[str, tuple[np.ndarray, ...]]:
    """Read each layer's arrays, as parts of one array that can't be written to."""
    # Here, so that the process starts before NumPy is imported.
    import numpy as np

    shapes = [shape for _, of_layer in layers for shape in of_layer]
    if not all(isinstance(x, int) and x >= 0 for shape in shapes for x in shape):
        raise TypeError("shapes of something else than lengths")
    sizes = [math.prod(shape) for shape in shapes]
    if sum(sizes) > MAX_FLOATS:
        raise ValueError("more numbers than any file gives")
    numbers = np.empty(sum(sizes), "<f4")
    _fill(numbers.view(np.uint8).data, stream)
    numbers.flags.writeable = False
    parts = iter(np.split(numbers, np.cumsum(sizes, dtype=int)))
    return {
        str(name): tuple(next(parts).reshape(shape) for shape in of_layer)
        for name, of_layer in layers
    }


def _fill(left: memoryview, stream: Any) -> None:
    """Fill a buffer from a stream that has none of its own."""
    while left:
        received = stream.readinto(left)
        if not received:
            raise EOFError
        left = left[received:]


def _import_folders() -> list[str]:
    """Return where this package, NumPy and h5py are: all that the process needs."""
    folders = [Path(__file__).parents[2]]
    for package in ("numpy", "h5py"):
        if (spec := importlib.util.find_spec(package)) and spec.origin:
            folders.append(Path(spec.origin).parents[1])
    return list(dict.fromkeys(map(str, folders)))
