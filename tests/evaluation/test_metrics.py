"""Metrics: known values and the edges."""

import math

import numpy as np
import pytest

from textgen.evaluation.metrics import bits_per_char, describe, perplexity


@pytest.mark.parametrize("symbols", [1, 2, 8, 61])
def test_a_uniform_guess(symbols):
    nats = math.log(symbols)
    assert bits_per_char(nats) == pytest.approx(math.log2(symbols))
    assert perplexity(nats) == pytest.approx(symbols)


def test_describe():
    line = "1.632 nats/char, 2.354 bits/char, perplexity 5.11"
    assert describe(1.632) == describe(np.float32(1.632)) == line


def test_a_diverged_loss_has_infinite_perplexity():
    assert perplexity(800.0) == perplexity(math.inf) == math.inf
    assert describe(math.nan) == "nan nats/char, nan bits/char, perplexity nan"
