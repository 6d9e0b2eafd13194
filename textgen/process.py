"""What a process of the two command lines settles before its slow imports."""

from __future__ import annotations

import os
import signal

from textgen.cpu_info import cpu_info

# What OpenBLAS' kernels of this name need. It knows AMD's processors by their numbers,
# and takes kernels for AVX2 where it doesn't know one: Zen 5, in its release 0.3.31.
AVX512_KERNELS = "SkylakeX"
AVX512_FLAGS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def prepare_process() -> None:
    """Choose how matrices are multiplied, and let Ctrl-C end the imports quietly.

    One stream of text is fastest with one thread, and more of them thrash beside
    TensorFlow's; AMD's processors with AVX-512 are given the kernels for it that
    OpenBLAS has for Intel's. Both settings are read when NumPy is first imported.
    TensorFlow then reads whether to multiply by oneDNN, which it leaves off by itself
    on processors without instructions for neural networks, though it is faster there.
    What the user has set stays. Until `textgen.terminal.run` takes over, Ctrl-C ends
    the process without a traceback.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    cpu = cpu_info()
    has_avx512 = set(cpu.get("flags", "").split()) >= AVX512_FLAGS
    if has_avx512 and cpu.get("vendor_id") == "AuthenticAMD":
        os.environ.setdefault("OPENBLAS_CORETYPE", AVX512_KERNELS)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
