"""Batches of windows are padded to few lengths, and stacked."""

import numpy as np

from textgen.data.batching import WindowBatch, pad, padded_length, stack


def test_a_batch_is_padded_with_weight_zero_to_one_of_few_lengths():
    def batch(length):
        ids = np.ones((2, length), np.int32)
        return WindowBatch(ids, ids, np.ones((2, length), np.float32))

    padded = pad(batch(3), 5)
    assert [x.tolist() for x in padded] == [[[1, 1, 1, 0, 0]] * 2] * 3
    assert [x.shape for x in stack([padded, batch(5)])] == [(2, 2, 5)] * 3
    lengths = {padded_length(length, 27): length for length in range(1, 28)}
    assert lengths == {27: 27, 14: 14, 7: 7, 4: 4, 2: 2, 1: 1}
    assert {padded_length(length, 1) for length in (0, 1)} == {1}
