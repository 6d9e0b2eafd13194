"""What a process of the two command lines settles before its slow imports."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
from types import ModuleType


def prepare_process() -> None:
    """Choose how matrices are multiplied, and let Ctrl-C end the imports quietly.

    NumPy multiplies by one thread, since more of them thrash beside TensorFlow's and
    other programs'; it reads the setting when it is first imported. TensorFlow, when it
    is, reads whether to multiply by oneDNN, which it leaves off by itself on processors
    without instructions for neural networks, though it is faster there too. Of these
    two what the user has set stays. Until `textgen.system.terminal.run` takes over,
    Ctrl-C ends the process without a traceback.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


# What malloc does with freed memory.
# Of glibc's malloc.h. The greatest threshold that it takes is 32 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD_BYTES = 32 << 20  # where pointers have 64 bits
KEPT_BYTES = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let the process keep freed memory for its next arrays.

    A training step frees hundreds of megabytes, and needs as many in the next one:
    given back to the system, each page would be cleared and mapped again. Arrays of
    more than 32 MiB still are.

    Returns:
        Whether this C library could be told (glibc can).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mapped = mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD_BYTES)
    trimmed = mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    return mapped == trimmed == 1


# Importing TensorFlow without the notes that it prints on the way.
def import_quietly(name: str) -> ModuleType:
    """Import a module that needs TensorFlow; what native code says meanwhile is lost.

    TensorFlow's C++ notes go past Python's streams. ``TF_CPP_MIN_LOG_LEVEL`` holds
    back the later ones, but not those of the import itself. An import that fails
    raises as ever.

    Args:
        name: of the module, with its package.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed: there is nothing to keep quiet
        return importlib.import_module(name)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
