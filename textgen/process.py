"""What a process of the two command lines settles before its slow imports."""

from __future__ import annotations

import os
import signal


def prepare_process() -> None:
    """Choose how matrices are multiplied, and let Ctrl-C end the imports quietly.

    One stream of text is fastest with one thread, and more of them thrash beside
    TensorFlow's; NumPy reads the setting when it is first imported. TensorFlow, when
    it is, reads whether to multiply by oneDNN, which it leaves off by itself on
    processors without instructions for neural networks, though it is faster there too.
    What the user has set stays. Until `textgen.terminal.run` takes over, Ctrl-C ends
    the process without a traceback.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
