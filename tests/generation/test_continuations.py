"""Ways in which a text may go on: how they are cut, and how likely they are."""

import numpy as np
import pytest
from fakes import alphabet_model, whimsical_model

from textgen.config import CompletionConfig
from textgen.generation.batch import completion_seeds, generate_many
from textgen.generation.continuations import MAX_CHARS, continuations
from textgen.generation.streaming import UnknownSymbolsWarning, ids_to_read
from textgen.saving.model_file import load_model

PLAIN = CompletionConfig()


def probability(model, text, continuation):
    """By one decoder that reads everything, symbol by symbol."""
    read = ids_to_read(model, text, strict=True).tolist()
    follows = model.vocabulary.encode(continuation.text).tolist()
    follows += [model.end_id] * continuation.ends
    decoder, product = model.decoder(), 1.0
    for place, symbol_id in enumerate([*read, *follows[:-1]]):
        powers = np.exp(decoder.step(np.array([symbol_id]))[0].astype(np.float64))
        if place >= len(read) - 1:
            product *= powers[follows[place - len(read) + 1]] / powers.sum()
    return product


def test_they_differ_and_have_the_networks_own_probabilities(
    prose_model, names_model, window_model
):
    config = CompletionConfig(temperature=1.5, top_k=9, length=1, stop="e")
    for model in map(load_model, (prose_model, names_model, window_model)):
        found = continuations(model, "abc", 12, 3, config)
        assert found == continuations(model, "abc", 12, 3, config)
        assert found != continuations(model, "abc", 12, 4, config)
        assert len({(each.text, each.ends) for each in found}) == len(found) > 6
        shares = [each.probability for each in found]
        assert shares == sorted(shares, reverse=True)
        expected = [probability(model, "abc", each) for each in found]
        np.testing.assert_allclose(shares, expected, rtol=1e-4)


def test_they_are_beginnings_of_completions_with_the_same_seeds():
    model = whimsical_model("ab \n")
    seeds = [seed for seed, _ in zip(completion_seeds(5), range(8), strict=False)]
    whole = generate_many(model, ["a"] * 8, length=MAX_CHARS, seed=seeds)
    found = continuations(model, "a", 8, 5, PLAIN)
    for each in found:
        assert any(one.text.startswith(each.text) for one in whole)
    for one in whole:
        assert any(one.text.startswith(each.text) for each in found)


@pytest.mark.parametrize(
    ("recited", "expected"),
    [(" thee to a day", " thee to a "), ("are thee\nto a day", "are thee\n"),
     ("\n\nO for a muse", "\n\nO for a "), ("a  b  c  d", "a  b  c "),
     ("x" * 30, "x" * MAX_CHARS), (f"one {'x' * 30}", "one "),
     ("\n" * 30, "\n" * MAX_CHARS)],
)  # fmt: skip
def test_they_are_cut_after_three_words_or_a_line(recited, expected):
    symbols = sorted({*recited, "\0"})

    def rule(read):
        wanted = recited[len(read) - 1 :][:1] or "\0"
        return np.where(np.array(symbols) == wanted, 0, -1e4)

    model = alphabet_model("".join(symbols))
    model.rule, model.kind = rule, "text"
    (only,) = continuations(model, "", 5, 1, PLAIN)
    assert (only.text, only.ends) == (expected, False)
    assert only.probability == pytest.approx(1)


def test_the_end_of_a_line_ends_it_and_counts():
    model = whimsical_model("\nab", kind="lines")
    found = continuations(model, "", 20, 1, CompletionConfig(temperature=2))
    assert any(each.ends and not each.text for each in found)
    for each in found:
        assert each.probability == pytest.approx(probability(model, "", each))


def test_they_fit_the_largest_batch_of_a_model():
    model = whimsical_model("ab \n")
    expected = continuations(model, "a", 10, 1, PLAIN)
    model.max_batch_size, model.decoders = 3, []
    assert continuations(model, "a", 10, 1, PLAIN) == expected
    assert max(len(each.read) for each in model.decoders) == 3


def test_nothing_but_the_likeliest_comes_at_temperature_0():
    model = whimsical_model("ab \n")
    (only,) = continuations(model, "ab", 9, 1, CompletionConfig(temperature=0))
    (drawn,) = generate_many(model, ["ab"], length=MAX_CHARS, temperature=0)
    assert drawn.text.startswith(only.text)


def test_unknown_symbols_are_told():
    with pytest.warns(UnknownSymbolsWarning, match="'x'"):
        continuations(alphabet_model(), "x", 1, 1, PLAIN)
