"""What the recorder of hashes says of two recordings."""

from benchmarks.fingerprints import compare, hash_of_weights


def test_only_what_both_have_and_what_differs_is_named():
    before = {"text": "a", "lines": "b", "gone": "c"}
    now = {"text": "a", "lines": "x", "new": "d"}
    (line,) = compare(now, before)
    assert line.startswith("lines:")


def test_the_hash_of_a_model_is_of_its_weights(prose_model, names_model):
    assert hash_of_weights(prose_model) == hash_of_weights(prose_model)
    assert hash_of_weights(prose_model) != hash_of_weights(names_model)
