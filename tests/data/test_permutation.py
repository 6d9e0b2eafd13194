"""Permutation: each number once, mixed, in O(batch) whatever the domain."""

import math
import tracemalloc

import numpy as np
import pytest

from textgen.data.permutation import ROUNDS, permute


def order_of(count: int, *entropy: int, places=None) -> np.ndarray:
    keys = np.random.SeedSequence(entropy).generate_state(ROUNDS, np.uint64)
    return permute(np.arange(count) if places is None else places, count, keys)


@pytest.mark.parametrize("count", [*range(1, 18), 100, 127, 128, 1009, 65_537])
def test_every_number_once(count):
    for seed in range(3):
        order = order_of(count, seed)
        assert order.dtype == np.int64
        assert np.array_equal(np.sort(order), np.arange(count))
        places = np.arange(count // 3, count)  # a part agrees with the whole
        assert np.array_equal(order_of(count, seed, places=places), order[places])


def test_keys_give_different_orders_and_all_orders_of_a_few():
    assert len({tuple(order_of(50, 0, epoch)) for epoch in range(200)}) == 200
    few = {tuple(order_of(4, 0, epoch)) for epoch in range(1000)}
    assert len(few) == math.factorial(4)


def test_where_a_place_goes_is_uniform_and_neighbours_are_parted():
    count, draws = 20, 4000
    seen = np.zeros((count, count))
    for epoch in range(draws):
        seen[np.arange(count), order_of(count, 9, epoch)] += 1
    expected = draws / count
    chi_square = ((seen - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2
    assert abs(chi_square - freedom) < 6 * math.sqrt(2 * freedom)
    order = order_of(100_000, 2)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("count", [10**12, 2**62])
def test_a_huge_domain_costs_no_more(count):
    places = np.arange(count - 128, count)
    order_of(count, 0, places=places)
    tracemalloc.start()
    order = order_of(count, 0, places=places)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(order.tolist())) == 128
    assert 0 <= order.min() <= order.max() < count
    assert peak < 100_000
