"""What this machine's processor can do now: cores, bfloat16, speed of products."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

CPU_INFO = Path("/proc/cpuinfo")
# Of the two cores, with bfloat16, on which `textgen.training.budget` was measured.
REFERENCE_FLOP_PER_S = 660e9
BFLOAT16_GAIN = 1.75
MOST_CORES = 8  # no more can share a step of the 32 windows that are used there
OTHER_BLAS = ("accelerate", "mkl")  # whose threads other variables set, or none
SIDE = 512  # of the measured product's matrices
MEASURED_S = 0.06


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bfloat16() -> bool:
    """Tell whether the processor has instructions for products in bfloat16.

    Its flags tell, and not a timing, so that a machine always gives the same answer.
    """
    return (
        platform.system() == "Linux"
        and CPU_INFO.exists()
        and bool({"avx512_bf16", "amx_bf16"} & set(CPU_INFO.read_text().split()))
    )


def relative_speed() -> float:
    """Measure how fast this machine trains: 1 is the one of `training.budget`.

    The measure is the processor time of float32 products, so that other programs
    change it little. Waiting threads of a BLAS would count as work, so the answer is 1
    unless ``OPENBLAS_NUM_THREADS`` is 1, as the commands set it, and NumPy's BLAS heeds
    it, which Accelerate and MKL don't.
    """
    built_with = np.show_config(mode="dicts").get("Build Dependencies", {})
    blas = built_with.get("blas", {}).get("name", "")
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    if threads != "1" or any(other in blas for other in OTHER_BLAS):
        return 1.0
    matrix, product = np.ones((2, SIDE, SIDE), np.float32)
    np.dot(matrix, matrix, out=product)  # the first one takes longer
    count, spent_s, started_s = 0, 0.0, time.process_time()
    while spent_s < MEASURED_S:
        np.dot(matrix, matrix, out=product)
        count, spent_s = count + 1, time.process_time() - started_s
    flop_per_s = 2 * SIDE**3 * count / spent_s * min(available_cores(), MOST_CORES)
    gain = BFLOAT16_GAIN if has_bfloat16() else 1.0
    return flop_per_s * gain / REFERENCE_FLOP_PER_S
