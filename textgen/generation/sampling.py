"""Logits → the id of the next symbol: pure functions with explicit randomness.

First the logits of symbols become weights: they are divided by the temperature, and all
but the likeliest symbols (top-k, top-p) get the weight 0. Then an id is drawn by the
weights. All of it is float64. Only differences to the largest logit are exponentiated,
so nothing overflows, and no logarithm is taken, so nothing is ever log(0).

An id is drawn as the first whose cumulative sum of weights is above u times the total,
with u uniform in [0, 1). There always is one: u is at most 1 - 2**-53, and no product
with that is rounded up to the total.

    >>> rng = np.random.default_rng(0)
    >>> sample(np.array([0.0, 2.0, 1.0]), rng, CompletionConfig(temperature=0))
    1
"""

from __future__ import annotations

import math

import numpy as np

from textgen.config import CompletionConfig

# Sums reach a share if they are short of it by no more than this share: their rounding
# must not add a symbol that exact arithmetic would leave out.
ROUNDING_SHARE = 1e-12
# Above it, no difference of float32 numbers leaves float64 when divided by it.
TINY_TEMPERATURE = 1e-200


def probabilities(logits: np.ndarray, config: CompletionConfig) -> np.ndarray:
    """Return the probabilities that the next symbol is drawn with, (..., V) float64.

    The temperature divides the logits (..., V), of any float type; 0 puts everything on
    the largest, the first of equal ones. ``top_k`` keeps the k likeliest symbols, of
    equal ones the lower ids, and ``top_p`` the fewest likeliest symbols whose
    probabilities, after temperature and ``top_k``, reach this sum (nucleus sampling:
    Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020).

    A logit of -inf excludes a symbol. NaN, +inf, or a row of nothing but -inf, is a
    ValueError, also in the functions below.
    """
    weights = _weights(np.asarray(logits), config)
    return weights / weights.sum(axis=-1, keepdims=True)


def sample(
    logits: np.ndarray, rng: np.random.Generator, config: CompletionConfig
) -> int:
    """Draw the next symbol's id by the `probabilities` of logits (V,).

    One number is taken from ``rng``, or none at temperature 0.
    """
    if config.temperature == 0:
        _check_largest(logits.max())
        return int(logits.argmax())
    cumulative = _weights(logits, config).cumsum()
    point = rng.random() * cumulative[-1]
    return int(cumulative.searchsorted(point, side="right"))


def sample_batch(
    logits: np.ndarray, uniforms: np.ndarray, config: CompletionConfig
) -> np.ndarray:
    """Draw an id from each row of logits (B, V), as `sample` does → (B,) int64.

    ``uniforms`` (B,) float64 are what `sample` would take from each row's generator.
    """
    if config.temperature == 0:
        _check_largest(logits.max(axis=-1))
        return logits.argmax(axis=-1).astype(np.int64)
    cumulative = _weights(logits, config).cumsum(axis=-1)
    points = uniforms * cumulative[:, -1]
    return (cumulative > points[:, None]).argmax(axis=-1)


def _weights(logits: np.ndarray, config: CompletionConfig) -> np.ndarray:
    """Return unnormalised probabilities (..., V), the largest of a row being 1."""
    temperature: float = config.temperature  # type: ignore[assignment]  # not several
    if temperature == 0:
        _check_largest(logits.max(axis=-1))
        largest = logits.argmax(axis=-1)[..., None]
        weights = (np.arange(logits.shape[-1]) == largest).astype(np.float64)
    else:
        scores = logits.astype(np.float64)
        largest = scores.max(axis=-1, keepdims=True)
        _check_largest(largest)
        if logits.dtype == np.float32 and temperature > TINY_TEMPERATURE:
            weights = _powers(scores, largest, temperature)
        else:  # a difference may become -inf, whose weight is 0: right
            with np.errstate(over="ignore"):  # takes longer than the division
                weights = _powers(scores, largest, temperature)
    if config.top_k is not None or (config.top_p is not None and config.top_p < 1):
        keep_likeliest(weights, config.top_k, config.top_p)
    return weights


def _powers(scores: np.ndarray, largest: np.ndarray, temperature: float) -> np.ndarray:
    """Turn logits (..., V) float64 into weights, in place."""
    scores -= largest
    scores /= temperature
    return np.exp(scores, out=scores)


def keep_likeliest(weights: np.ndarray, top_k: int | None, top_p: float | None) -> None:
    """Set the weights (..., V) outside top-k and the nucleus to zero, in place."""
    order = np.argsort(-weights, axis=-1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=-1)
    if top_k is not None:
        ranked[..., top_k:] = 0
    if top_p is not None and top_p < 1:
        keep_first(ranked, top_p)
    np.put_along_axis(weights, order, ranked, axis=-1)


def keep_first(ranked: np.ndarray, share: float) -> None:
    """Set all but the first weights (..., V) that reach a share to zero, in place."""
    sums = ranked.cumsum(axis=-1)
    enough = share * (1 - ROUNDING_SHARE) * sums[..., -1:]
    # A symbol is needed while those before it don't reach the sum: the first is.
    ranked[..., 1:][sums[..., :-1] >= enough] = 0


def _check_largest(largest: np.ndarray) -> None:
    # A row's maximum is NaN if anything in the row is, and -inf if everything is.
    one = largest.size == 1  # NumPy's check would take a microsecond, which counts
    if not (math.isfinite(largest.item()) if one else np.isfinite(largest).all()):
        raise ValueError("expected finite logits, but received NaN or infinity")
