"""What a process settles before its slow imports, and about its memory."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
from types import ModuleType

# Names and limits of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD_BYTES = 32 << 20
LARGEST_TRIM_THRESHOLD_BYTES = (1 << 31) - 1
INTERRUPTED = 130  # exit status after Ctrl-C, as of shells


def prepare_process() -> None:
    """Choose threads and settings of the libraries, and how Ctrl-C ends their imports.

    NumPy multiplies by one thread, since more of them slow each other down beside
    TensorFlow's and those of other programs. TensorFlow multiplies by oneDNN, which it
    leaves off by itself on some processors, though it is faster there too. The
    libraries read these variables when they are first imported; what the user has set
    stays. Until `textgen.system.terminal.run` takes over, Ctrl-C ends the process as it
    does from then on, with one line and no traceback.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave_at_once)


def leave_at_once(*_: object) -> None:
    """Handle Ctrl-C while nothing is done yet that would have to be ended."""
    with contextlib.suppress(OSError):  # standard error is closed
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported; a folder that is called so is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def import_quietly(name: str) -> ModuleType:
    """Import a module that needs TensorFlow, and drop what native code says meanwhile.

    While it is imported, TensorFlow writes six lines about oneDNN and CUDA to standard
    error, whatever ``TF_CPP_MIN_LOG_LEVEL`` is; that variable holds back later ones.
    """
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def keep_freed_memory() -> None:
    """Let the process keep freed memory for its next arrays, where it runs on glibc.

    A training step frees hundreds of megabytes, and the next one needs as many: if
    they were given back to the system, each page would be cleared and mapped again.
    Arrays of more than 32 MiB still are.
    """
    import ctypes  # here, since it is slow and only training comes by

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD_BYTES)
    mallopt(M_TRIM_THRESHOLD, LARGEST_TRIM_THRESHOLD_BYTES)
