"""Functions of arrays that XLA compiles: few passes over memory instead of many."""

from __future__ import annotations

import functools

import tensorflow as tf

# Nothing that sums or multiplies matrices may be compiled: two threads at once in the
# first call of such a function can crash the process (docs/experiments.md), and
# oneDNN's products are faster than XLA's. A product with ones sums.
elementwise = functools.partial(tf.function, jit_compile=True, autograph=False)
