"""What a process of the two command lines settles before its slow imports."""

from __future__ import annotations

import os
import signal

from textgen.cpu_info import cpu_flags, cpu_info

# What OpenBLAS' kernels of this name need. Those for AMD that it takes by itself have
# vectors half as long on some of its processors: on Zen 5, half the speed.
AVX512_KERNELS = "SkylakeX"
AVX512_FLAGS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def prepare_process() -> None:
    """Choose how matrices are multiplied, and let Ctrl-C end the imports quietly.

    One stream of text is fastest with one thread, and more of them thrash beside
    TensorFlow's; AMD's processors with AVX-512 are fastest with kernels that OpenBLAS
    has for Intel's. NumPy reads both settings when it is first imported. TensorFlow
    then reads whether to multiply by oneDNN, which it leaves off by itself on
    processors without instructions for neural networks, though it is faster there too.
    What the user has set stays. Until `textgen.terminal.run` takes over, Ctrl-C ends
    the process without a traceback.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if cpu_info().get("vendor_id") == "AuthenticAMD" and cpu_flags() >= AVX512_FLAGS:
        os.environ.setdefault("OPENBLAS_CORETYPE", AVX512_KERNELS)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
