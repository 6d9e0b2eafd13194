"""Model files are opened in a process of their own, which may crash without harm.

The HDF5 library reads what strangers wrote in a fresh, small interpreter
(`textgen.saving.sandbox_worker`), never in this process or in a copy of it. The
interpreter has limited memory and ten seconds, and answers with text and arrays.

Nothing slow is imported here, so that a program can start the interpreter first and
import the rest while that gets ready.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

from textgen.errors import ModelFileError
from textgen.saving.container import ANOTHER_FORM, Contents

WALL_S = 10
# The status of a process that used up its limit of processor time.
OUT_OF_PROCESSOR_TIME = -getattr(signal, "SIGXCPU", math.inf)
MAX_ERROR_CHARS = 1000


class Reader:
    """A process that reads one model file.

    As a context manager it is ended afterwards::

        with Reader() as reader:
            contents = reader.read("model.h5")
    """

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
            self._process.kill()
            with contextlib.suppress(OSError, ValueError):
                self._process.communicate()

    def read(self, path: str | os.PathLike[str]) -> Contents:
        """Read a model file; this can be done once.

        Args:
            path: the file.

        Raises:
            ModelFileError: if the file is refused, takes more than `WALL_S` seconds
                from when the process is ready, or ends the process.

        Warns:
            UserWarning: where memory or processor time can't be limited.
        """
        if self._process is None or self._process.stdout is None:
            raise ModelFileError(
                "expected to read the file in a process of its own, but "
                f"{self._failure}"
            )
        self._process.stdout.read(1)  # what it writes when it is ready
        status: int | None = None
        try:
            answer, _ = self._process.communicate(os.fsencode(path), timeout=WALL_S)
            status = self._process.returncode
        except subprocess.TimeoutExpired:
            self.close()
        if status in (None, OUT_OF_PROCESSOR_TIME):
            raise ModelFileError(
                f"expected a model file, but reading it took more than {WALL_S} s",
                "use another file, or try again when the machine is less busy",
            )
        try:
            return _contents(answer)
        except (EOFError, MemoryError, *ANOTHER_FORM) as error:
            raise ModelFileError(
                "expected an HDF5 model file, but its structure is damaged: reading it "
                f"ended the process that did (status {status})",
                "use another file",
            ) from error


def _contents(answer: bytes) -> Contents:
    """Check the process' answer, which is not believed: see `sandbox_worker`."""
    # Here, so that the process starts before NumPy is imported.
    import numpy as np
    from numpy.lib.format import read_array

    stream = io.BytesIO(answer)
    header = json.loads(stream.readline())
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
    weights = {}
    for name, count in header["layers"]:
        arrays = [read_array(stream, allow_pickle=False) for _ in range(count)]
        if any(array.dtype != np.float32 for array in arrays):
            raise TypeError("weights that aren't float32")
        weights[str(name)] = tuple(arrays)
    texts = header["config"], header["keras_version"], header["metadata"]
    if not all(isinstance(text, str | None) for text in texts) or texts[0] is None:
        raise TypeError("texts that aren't")
    config, version, metadata = texts
    return Contents(config, version, weights, metadata, header["hashed"] is True)


def _import_folders() -> list[str]:
    """Return where this package, NumPy and h5py are: all that the process needs."""
    folders = [Path(__file__).parents[2]]
    for package in ("numpy", "h5py"):
        if (spec := importlib.util.find_spec(package)) and spec.origin:
            folders.append(Path(spec.origin).parents[1])
    return list(dict.fromkeys(map(str, folders)))
