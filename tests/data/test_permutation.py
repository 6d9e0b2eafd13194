"""Permutation: each number once, mixed, in O(batch) whatever the domain."""

import math
import time
import tracemalloc

import numpy as np
import pytest

from textgen.data.permutation import ROUNDS, permute


def keys(*entropy: int) -> np.ndarray:
    return np.random.SeedSequence(entropy).generate_state(ROUNDS, np.uint64)


@pytest.mark.parametrize(
    "count", [*range(1, 40), 64, 97, 100, 127, 128, 1009, 4096, 65_537, 100_000]
)
def test_every_number_once(count):
    for seed in range(3):
        order = permute(np.arange(count), count, keys(seed))
        assert order.dtype == np.int64
        assert np.array_equal(np.sort(order), np.arange(count))


def test_parts_agree_with_the_whole():
    whole = permute(np.arange(1000), 1000, keys(1))
    parts = [permute(np.arange(i, i + 8), 1000, keys(1)) for i in range(0, 1000, 8)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_keys_give_different_orders():
    orders = {tuple(permute(np.arange(50), 50, keys(0, e))) for e in range(200)}
    assert len(orders) == 200


def test_all_orders_of_a_few_occur():
    orders = {tuple(permute(np.arange(4), 4, keys(0, e))) for e in range(1000)}
    assert len(orders) == math.factorial(4)


def test_where_a_place_goes_is_uniform():
    count, draws = 20, 4000
    seen = np.zeros((count, count))
    for epoch in range(draws):
        seen[np.arange(count), permute(np.arange(count), count, keys(9, epoch))] += 1
    expected = draws / count
    chi_square = ((seen - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2
    assert abs(chi_square - freedom) < 6 * math.sqrt(2 * freedom)


def test_neighbours_are_parted():
    order = permute(np.arange(100_000), 100_000, keys(2))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(order, np.arange(100_000))[0, 1]) < 0.02


@pytest.mark.parametrize("count", [10**12, 2**62])
def test_a_huge_domain_costs_no_more(count):
    places = np.arange(count - 128, count)
    permute(places, count, keys(0))
    tracemalloc.start()
    start = time.process_time()
    order = permute(places, count, keys(0))
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(order.tolist())) == 128
    assert order.min() >= 0
    assert order.max() < count
    assert seconds < 0.05
    assert peak < 100_000
