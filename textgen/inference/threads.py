"""Whether all cores multiply one stream's weights.

The commands give BLAS one thread, since its threads slow each other down beside
TensorFlow's, those of a batch and other programs. One stream through a large network
is another case: each step reads all weights, and where these don't fit into a core's
own cache, two cores with two caches read them twice as fast on some processors, and
slower on others or when the machine has other work. A few steps tell.
"""

from __future__ import annotations

import time

import numpy as np

from textgen.inference.decoder import Decoder
from textgen.inference.weights import Network
from textgen.system.hardware import available_cores

OWN_CACHE_BYTES = 4 << 20  # a core's second-level cache has at most half of it
TRIAL_STEPS, TRIALS = 8, 3
LEAST_GAIN = 1.2


def take_all_cores(network: Network) -> int:
    """Let BLAS use all cores from now on if one stream of a network is faster so.

    It stays with one where the numbers would be others, so that a seed always gives the
    same text. The trial takes some 20 ms, and nothing for a network that is small.

    Args:
        network: whose single streams are about to be drawn.

    Returns:
        How many threads BLAS has then; 0 if its setting was left alone.
    """
    cores = available_cores()
    if cores == 1 or _recurrent_bytes(network) < OWN_CACHE_BYTES:
        return 0
    from threadpoolctl import threadpool_limits  # here, since small networks do without

    fastest_s = {1: float("inf"), cores: float("inf")}
    logits = {}
    for _ in range(TRIALS):
        for threads in fastest_s:
            threadpool_limits(threads, user_api="blas")
            decoder = Decoder(network)
            started_s = time.perf_counter()
            for number in range(TRIAL_STEPS):
                logits[threads] = decoder.step(number % network.vocabulary_size)
            taken_s = time.perf_counter() - started_s
            fastest_s[threads] = min(fastest_s[threads], taken_s)
    faster = fastest_s[1] > LEAST_GAIN * fastest_s[cores]
    alike = np.array_equal(logits[1], logits[cores])
    chosen = cores if faster and alike else 1
    threadpool_limits(chosen, user_api="blas")
    return chosen


def _recurrent_bytes(network: Network) -> int:
    return sum(
        value.nbytes
        for layer in network.layers
        for value in vars(layer).values()
        if isinstance(value, np.ndarray)
    )
