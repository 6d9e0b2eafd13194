import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from textgen.config import CompletionConfig
from textgen.generation import sampling


class FixedUniform:
    """Stands in for a generator: always gives one number."""

    def __init__(self, value: float):
        self.random = lambda: value


def by(temperature, top_k=None, top_p=None) -> CompletionConfig:
    return CompletionConfig(temperature=temperature, top_k=top_k, top_p=top_p)


def probabilities(logits, *config, **named) -> np.ndarray:
    return sampling.probabilities(logits, by(*config, **named))


def sample(logits, rng, *config, **named) -> int:
    return sampling.sample(logits, rng, by(*config, **named))


def sample_batch(logits, uniforms, *config, **named) -> np.ndarray:
    return sampling.sample_batch(logits, uniforms, by(*config, **named))


LARGEST_UNIFORM = float(np.nextafter(1.0, 0.0))


def logits_of(*shares: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(shares, np.float64))


def naive_probabilities(logits, temperature, top_k=None, top_p=None) -> list[float]:
    """Symbol by symbol, in plain Python floats."""
    ranked = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    largest = float(logits[ranked[0]])
    weight = {i: np.exp((float(logits[i]) - largest) / temperature) for i in ranked}
    ranked = ranked[:top_k]
    if top_p is not None:
        total, so_far, nucleus = sum(weight[i] for i in ranked), 0.0, []
        for i in ranked:
            nucleus.append(i)
            so_far += weight[i] / total
            if so_far >= top_p:
                break
        ranked = nucleus
    total = sum(weight[i] for i in ranked)
    return [weight[i] / total if i in ranked else 0.0 for i in range(len(logits))]


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [None, 1, 3, 100])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.5, 0.9, 1.0])
def test_probabilities_agree_with_the_naive_ones(temperature, top_k, top_p):
    logits = np.random.default_rng(0).normal(size=(5, 9), scale=2).astype(np.float32)
    before = logits.copy()
    expected = [naive_probabilities(r, temperature, top_k, top_p) for r in logits]
    received = probabilities(logits, temperature, top_k, top_p)
    assert received.dtype == np.float64
    np.testing.assert_allclose(received, expected, rtol=1e-12)
    one = probabilities(logits[2], temperature, top_k, top_p)
    np.testing.assert_array_equal(received[2], one)
    sample(logits[0], np.random.default_rng(0), temperature, top_k, top_p)
    np.testing.assert_array_equal(logits, before)


def test_temperature_zero_is_the_first_of_the_largest():
    logits = np.array([1.0, 3.0, 3.0, -1.0], np.float32)
    assert sample(logits, None, 0) == 1  # without drawing
    np.testing.assert_array_equal(probabilities(logits, 0), [0, 1, 0, 0])
    batch = np.stack([logits, logits[::-1]])
    np.testing.assert_array_equal(sample_batch(batch, np.zeros(2), 0), [1, 1])
    assert sample_batch(batch, np.zeros(2), 0).dtype == np.int64


def test_top_k_keeps_exactly_k_and_of_equal_ones_the_lowest_ids():
    # An unstable sort keeps the order of a few by chance, but not of these.
    logits = np.random.default_rng(0).integers(0, 3, 100).astype(np.float32)
    best = np.flatnonzero(logits == 2)
    for top_k in (1, 5, 17):
        kept = np.flatnonzero(probabilities(logits, 1.0, top_k=top_k))
        np.testing.assert_array_equal(kept, best[:top_k])
    kept = np.flatnonzero(probabilities(np.zeros(100), 1.0, top_p=0.305))
    np.testing.assert_array_equal(kept, np.arange(31))


def test_top_p_is_the_smallest_set_that_reaches_the_sum():
    logits = logits_of(0.2, 0.5, 0.3)
    for top_p, kept in [(0.01, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.81, 3), (1, 3)]:
        received = probabilities(logits, 1.0, top_p=top_p)
        assert np.count_nonzero(received) == kept, top_p
    kept = probabilities(logits, 1.0, top_p=0.8)
    np.testing.assert_allclose(kept, [0, 0.625, 0.375], rtol=1e-12)


FINITE_FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(
    hnp.arrays(np.float32, st.integers(1, 12), elements=FINITE_FLOATS),
    st.just(0.0) | st.floats(5e-324, 100, allow_subnormal=True),
    st.none() | st.integers(1, 14),
    st.none() | st.floats(1e-9, 1),
    st.floats(0, LARGEST_UNIFORM),
)
@example(np.array([-744.44, 0, 0], np.float32), 1.0, None, None, 0.0)
@example(np.array([0, 1], np.float32), 5e-324, None, None, 0.5)
@example(np.zeros(2), 1.0, 1, None, 0.9)
@example(np.zeros(2), 1.0, None, 0.5, 0.9)
def test_nothing_finite_gives_nan_or_an_excluded_symbol(
    logits, temperature, top_k, top_p, uniform
):
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        received = probabilities(logits, temperature, top_k, top_p)
        drawn = sample(logits, FixedUniform(uniform), temperature, top_k, top_p)
    assert np.isfinite(received).all()
    assert received.sum() == pytest.approx(1)
    # Not its probability: of the smallest weight there is, that is rounded to 0.
    assert sampling._weights(logits, by(temperature, top_k, top_p))[drawn] > 0


@pytest.mark.parametrize("uniform", [0.0, 5e-324, 0.5, LARGEST_UNIFORM])
@pytest.mark.parametrize("excluded", [(0,), (4,), (0, 1, 4), (0, 1, 2, 3)])
def test_a_symbol_of_probability_zero_is_never_drawn(uniform, excluded):
    for seed in range(20):
        logits = np.random.default_rng(seed).normal(size=5)
        logits[list(excluded)] = -np.inf
        assert sample(logits, FixedUniform(uniform), 1.0) not in excluded
        assert sample_batch(logits[None], np.array([uniform]), 1.0)[0] not in excluded


def test_huge_logits_and_tiny_temperatures():
    logits = np.array([1e308, -1e308, 9e307])
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(probabilities(logits, 1.0), [1, 0, 0])
        np.testing.assert_array_equal(probabilities([0.0, 1e-3], 5e-324), [0, 1])
    np.testing.assert_array_equal(probabilities([2.0, 2.0], 5e-324), [0.5, 0.5])


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_mean_nothing_are_refused(bad, temperature):
    logits, batch = np.array(bad), np.array([[0.0, 1.0], bad])
    for call in (
        lambda: probabilities(logits, temperature),
        lambda: sample(logits, np.random.default_rng(0), temperature),
        lambda: sample_batch(batch, np.zeros(2), temperature),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="finite"):
            call()


@pytest.mark.parametrize("drawing", [(0.7,), (2, 5), (1, None, 0.8), (0,)])
def test_a_row_of_a_batch_equals_a_single_run(drawing):
    logits = np.random.default_rng(0).normal(size=(300, 61)).astype(np.float32)
    uniforms = np.random.default_rng(1).random(300)
    rng = np.random.default_rng(1)
    single = [sample(row, rng, *drawing) for row in logits]
    assert sample_batch(logits, uniforms, *drawing).tolist() == single


def test_frequencies_follow_the_probabilities():
    logits = logits_of(0.1, 0.2, 0.7)
    rng, draws = np.random.default_rng(0), 20_000
    counts = np.bincount([sample(logits, rng, 1) for _ in range(draws)])
    # Four standard deviations of a count's share.
    np.testing.assert_allclose(counts / draws, [0.1, 0.2, 0.7], atol=0.013)
