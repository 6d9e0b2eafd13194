"""What a process of the two command lines settles before its slow imports."""

from __future__ import annotations

import os
import signal

# By any of which a user may have said how many threads NumPy's OpenBLAS takes; it heeds
# the first that is set.
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
_chosen_threads = False


def has_chosen_threads() -> bool:
    """Tell whether `prepare_process` has set NumPy's threads, and the user has not."""
    return _chosen_threads


def prepare_process() -> None:
    """Choose how matrices are multiplied, and let Ctrl-C end the imports quietly.

    NumPy multiplies by one thread, since more of them thrash beside TensorFlow's and
    other programs' (`textgen.blas_threads` tries two later on, where they may help); it
    reads the setting when it is first imported. TensorFlow, when it is, reads whether
    to multiply by oneDNN, which it leaves off by itself on processors without
    instructions for neural networks, though it is faster there too. Of these two what
    the user has set stays. Until `textgen.terminal.run` takes over, Ctrl-C ends
    the process without a traceback.
    """
    global _chosen_threads
    _chosen_threads = not any(name in os.environ for name in THREAD_VARIABLES)
    os.environ.setdefault(THREAD_VARIABLES[0], "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
