"""The cross-entropy of a wide softmax, estimated from a sample of its symbols.

With thousands of words most of a training step's multiplications would be those of the
logits. Here each shard of a step draws some of the symbols, those that come often with
certainty, and the softmax's sum is estimated from them, each divided by the chance that
it had of being drawn; the target's own logit is exact. Measuring and generating know
nothing of it.

Sources: Bengio & Senécal 2008, section III (importance sampling); Jean et al. 2015;
Madow 1949 (systematic sampling with unequal chances).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from textgen.config import SAMPLE_SIZE
from textgen.modeling.ops import cross_entropy, dense, elementwise

IMPOSSIBLE = -1e30  # a logit whose exponential is 0
DOMAIN = 0x736D  # keeps the sample's random numbers apart from dropout's


def chances_of(counts: np.ndarray, size: int) -> np.ndarray:
    """Return the chances (V,) float64 that symbols have of being in a sample.

    They add up to ``size``, at most V, and are in proportion to positive counts (V,),
    except that those who would have more than 1 are certain.
    """
    certain = np.zeros(len(counts), bool)
    while True:
        share = (size - certain.sum()) / max(counts[~certain].sum(), 1)
        chances = np.where(certain, 1.0, counts * share)
        if (chances <= 1).all():
            return chances
        certain |= chances > 1


class SampledSoftmax:
    """Computes cross-entropies of V symbols from samples of S of them."""

    def __init__(self, counts: np.ndarray, size: int = SAMPLE_SIZE) -> None:
        """Take how often each symbol is in the text, (V,), and S."""
        self._size = size
        chances = chances_of(counts + 1.0, size)
        self._ends = np.cumsum(chances)
        self._surplus = -np.log(chances).astype(np.float32)

    def draw(self, seed: tf.Tensor) -> tf.Tensor:
        """Draw different ids (S,) int32, as the seed (2,) int32 says."""
        seed = tf.random.experimental.stateless_fold_in(seed, DOMAIN)
        start = tf.random.stateless_uniform([], seed, dtype=tf.float64)
        marks = start + tf.range(self._size, dtype=tf.float64)
        ids = tf.searchsorted(tf.constant(self._ends), marks, side="right")
        return tf.minimum(ids, len(self._ends) - 1)  # the ends are rounded

    def cross_entropy(
        self,
        outputs: tf.Tensor,
        kernel: tf.Tensor,
        bias: tf.Tensor,
        targets: tf.Tensor,
        weights: tf.Tensor,
        ids: tf.Tensor,
    ) -> tf.Tensor:
        """Estimate what `textgen.modeling.ops.cross_entropy` computes.

        Args:
            outputs: (N, U) float32 or bfloat16, of the last recurrent layer.
            kernel: (U, V) float32, of the dense layer.
            bias: (V,) float32, of the dense layer.
            targets: (N,) int32 ids.
            weights: (N,) float32, without gradient.
            ids: (S,) int32, of `draw`.
        """
        by_symbol = tf.transpose(kernel)
        drawn = tf.transpose(tf.gather(by_symbol, ids))
        surplus = tf.gather(tf.constant(self._surplus), ids)
        logits = dense(outputs, drawn, tf.gather(bias, ids) + surplus)
        own = tf.cast(outputs, tf.float32) * tf.gather(by_symbol, targets)
        of_targets = tf.reduce_sum(own, axis=1) + tf.gather(bias, targets)
        candidates = _candidates(of_targets, logits, targets, ids)
        return cross_entropy(candidates, tf.zeros_like(targets), weights)


@tf.custom_gradient
def _candidates(
    of_targets: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor, ids: tf.Tensor
) -> tf.Tensor:
    """Put a target's logit (N,) before the others (N, S), of which it is none."""

    def gradient(d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, None, None]:
        return d[:, 0], d[:, 1:], None, None  # 0 already for the impossible ones

    return _target_first(of_targets, logits, targets, ids), gradient


@elementwise
def _target_first(
    of_targets: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor, ids: tf.Tensor
) -> tf.Tensor:
    is_target = ids == targets[:, tf.newaxis]
    others = tf.where(is_target, IMPOSSIBLE, logits)
    return tf.concat([of_targets[:, tf.newaxis], others], axis=1)
