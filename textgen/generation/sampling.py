"""Logits → the id of the next symbol: pure functions with an explicit generator.

Logits are divided by the temperature, cut to the likeliest symbols (top-k, top-p) and
drawn from, all in float64. Only differences to the largest logit are exponentiated,
so nothing overflows, and no logarithm is taken, so nothing is ever log(0).

A symbol is drawn by the first cumulative sum above a uniform number times the total.
There always is one: a uniform is at most 1 - 2**-53, so the exact product is half a
unit in the total's last place or more below it, and where exactly half, the total is a
power of two with the next smaller float just there. So it never rounds to the total.

    >>> rng = np.random.default_rng(0)
    >>> sample(np.array([0.0, 2.0, 1.0]), rng, temperature=0)
    1
"""

from __future__ import annotations

import math

import numpy as np

# A nucleus is full once it reaches top_p up to this share: the rounding of the sums
# must not add a symbol that exact arithmetic would leave out.
ROUNDING_SHARE = 1e-12
# Above it, no difference of float32 numbers leaves float64 when divided by it.
TINY_TEMPERATURE = 1e-200


def probabilities(
    logits: np.ndarray,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """Return the probabilities that the next symbol is drawn with.

    Args:
        logits: (..., V), any float dtype; -inf excludes a symbol.
        temperature: logits are divided by it; 0 puts everything on the largest logit
            (the first of equal ones).
        top_k: keep the k likeliest symbols; of equal ones the lower id.
        top_p: keep the smallest set of likeliest symbols whose probabilities, after
            temperature and top-k, reach this sum; always at least one. Nucleus
            sampling: Holtzman et al., "The Curious Case of Neural Text
            Degeneration", ICLR 2020.

    Returns:
        float64 (..., V); each row sums to one.

    Raises:
        ValueError: if a row of logits holds NaN or +inf, or nothing but -inf.
    """
    weights = _weights(np.asarray(logits), temperature, top_k, top_p)
    return weights / weights.sum(axis=-1, keepdims=True)


def sample(
    logits: np.ndarray,
    rng: np.random.Generator,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
) -> int:
    """Draw the next symbol's id from one row of logits.

    Takes one number from ``rng``, or none at temperature 0.

    Args:
        logits: (V,), any float dtype.
        rng: where the randomness comes from.
        temperature: as for `probabilities`.
        top_k: likewise.
        top_p: likewise.

    Returns:
        An id whose probability is above zero.

    Raises:
        ValueError: as `probabilities`.
    """
    if temperature == 0:
        _check_largest(logits.max())
        return int(logits.argmax())
    cumulative = _weights(logits, temperature, top_k, top_p).cumsum()
    point = rng.random() * cumulative[-1]
    return int(cumulative.searchsorted(point, side="right"))


def sample_batch(
    logits: np.ndarray,
    uniforms: np.ndarray,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """Draw one id from each row; row r is what `sample` draws by the number r.

    Args:
        logits: (B, V), any float dtype.
        uniforms: (B,) float64, of each row's generator the number that `sample` would
            take; not read at temperature 0.
        temperature: as for `probabilities`.
        top_k: likewise.
        top_p: likewise.

    Returns:
        (B,) int64 ids.

    Raises:
        ValueError: as `probabilities`.
    """
    if temperature == 0:
        _check_largest(logits.max(axis=-1))
        return logits.argmax(axis=-1).astype(np.int64)
    cumulative = _weights(logits, temperature, top_k, top_p).cumsum(axis=-1)
    points = uniforms * cumulative[:, -1]
    return (cumulative > points[:, None]).argmax(axis=-1)


def _weights(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None
) -> np.ndarray:
    """Return unnormalised probabilities (..., V), the largest of a row being 1."""
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
    if top_k is not None or (top_p is not None and top_p < 1):
        _keep_likeliest(weights, top_k, top_p)
    return weights


def _powers(scores: np.ndarray, largest: np.ndarray, temperature: float) -> np.ndarray:
    """Turn logits (..., V) float64 into weights, in place."""
    scores -= largest
    scores /= temperature
    return np.exp(scores, out=scores)


def _keep_likeliest(
    weights: np.ndarray, top_k: int | None, top_p: float | None
) -> None:
    """Set the weights (..., V) outside top-k and the nucleus to zero, in place."""
    order = np.argsort(-weights, axis=-1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=-1)
    if top_k is not None:
        ranked[..., top_k:] = 0
    if top_p is not None and top_p < 1:
        sums = ranked.cumsum(axis=-1)
        enough = top_p * (1 - ROUNDING_SHARE) * sums[..., -1:]
        # A symbol is needed while those before it don't reach the sum: the first is.
        ranked[..., 1:][sums[..., :-1] >= enough] = 0
    np.put_along_axis(weights, order, ranked, axis=-1)


def _check_largest(largest: np.ndarray) -> None:
    # A row's maximum is NaN if anything in the row is, and -inf if everything is.
    if largest.size == 1:  # a single stream: NumPy would take a microsecond
        finite = math.isfinite(largest.item())
    else:
        finite = np.isfinite(largest).all()
    if not finite:
        raise ValueError("expected finite logits, but received NaN or infinity")
