import math
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from fakes import FakeModel, whimsical_model

import textgen
from textgen.config import SHAPING, CompletionConfig
from textgen.errors import OptionError
from textgen.generation import sampling
from textgen.generation.batch import generate_many
from textgen.generation.chains import SAMPLERS, chain_of, draw, with_first
from textgen.generation.samplers import (
    Greedy,
    MinP,
    NoRepeatNgram,
    RepetitionPenalty,
    Temperature,
    TemperatureSchedule,
    Texts,
    TopK,
    TopP,
    TypicalP,
    apply,
    repetitions,
)
from textgen.generation.streaming import generate_output, stream_output

# Chi-square with so many degrees of freedom is above it once in a thousand times.
CRITICAL = {1: 10.83, 2: 13.82, 3: 16.27}


def texts_of(*written, prompt_length=0) -> Texts:
    """Return texts of digits, in an array with room that means nothing."""
    ids = np.full((len(written), 1100), 9, np.uint8)
    for row, text in zip(ids, written, strict=True):
        row[: len(text)] = [int(symbol) for symbol in text]
    lengths = np.array([len(text) for text in written])
    return Texts(ids, np.full(len(written), prompt_length), lengths)


def shares(sampler, *probabilities, text="") -> list[float]:
    """Return what a sampler makes of one row of probabilities."""
    with np.errstate(divide="ignore"):
        logits = np.log([probabilities])
    logits = apply([sampler], logits + 3.5, texts_of(text))  # no matter what is added
    weights = np.exp(logits[0] - logits.max())
    return (weights / weights.sum()).tolist()


# By hand. Of 0.5, 0.25, 0.125, 0.125 the entropy is 1.75 bits and the surprisals are
# 1, 2, 3, 3 bits, so that the second is the most typical and the first comes next.
@pytest.mark.parametrize(
    ("sampler", "given", "expected"),
    [
        (Greedy(), (0.2, 0.4, 0.4), (0, 1, 0)),
        (Temperature(0), (0.2, 0.4, 0.4), (0, 1, 0)),
        (Temperature(1), (0.2, 0.5, 0.3), (0.2, 0.5, 0.3)),
        (Temperature(0.5), (0.2, 0.4, 0.4), (1 / 9, 4 / 9, 4 / 9)),
        (Temperature(2), (0.64, 0.36), (8 / 14, 6 / 14)),
        (TopK(1), (0.2, 0.4, 0.4), (0, 1, 0)),
        (TopK(2), (0.1, 0.6, 0.3), (0, 2 / 3, 1 / 3)),
        (TopK(99), (0.1, 0.9), (0.1, 0.9)),
        (TopP(0.5), (0.2, 0.5, 0.3), (0, 1, 0)),
        (TopP(0.51), (0.2, 0.5, 0.3), (0, 0.625, 0.375)),
        (TopP(1), (0.2, 0.5, 0.3), (0.2, 0.5, 0.3)),
        (MinP(0.5), (0.1, 0.6, 0.3), (0, 2 / 3, 1 / 3)),
        (MinP(0.51), (0.1, 0.6, 0.3), (0, 1, 0)),
        (MinP(1), (0.2, 0.4, 0.4), (0, 0.5, 0.5)),
        (TypicalP(0.2), (0.5, 0.25, 0.125, 0.125), (0, 1, 0, 0)),
        (TypicalP(0.26), (0.5, 0.25, 0.125, 0.125), (2 / 3, 1 / 3, 0, 0)),
        (TypicalP(0.8), (0.5, 0.25, 0.125, 0.125), (4 / 7, 2 / 7, 1 / 7, 0)),
        (TypicalP(0.9), (0.5, 0, 0.5), (0.5, 0, 0.5)),
        (TypicalP(1), (0.5, 0, 0.5), (0.5, 0, 0.5)),
    ],
)
def test_distributions_are_those_computed_by_hand(sampler, given, expected):
    np.testing.assert_allclose(shares(sampler, *given), expected, rtol=1e-9)


def test_a_schedule_gives_each_drawn_symbol_the_next_temperature():
    logits = np.tile(np.log([0.2, 0.8]), (5, 1))
    texts = texts_of("11", "110", "1100", "11001", "110010", prompt_length=2)
    received = apply([TemperatureSchedule([0.5, 1, 0])], logits, texts)
    odds = np.exp(received[:, 0] - received[:, 1])
    np.testing.assert_allclose(odds, [1 / 16, 1 / 4, 0, 1 / 16, 1 / 4])


def naive_repetition(text, symbol, longest) -> int:
    """Try every length and every earlier place."""
    whole = text + symbol
    return max(
        (n for n in range(1, min(len(text), longest) + 1) if whole[-n:] in text),
        default=0,
    )


@pytest.mark.parametrize("longest", [1, 2, 5, 64])
@pytest.mark.parametrize("window", [None, 7])
def test_repetitions_agree_with_a_search_of_every_length(longest, window):
    rng = np.random.default_rng(0)
    written = ["", "0", "000000", "012012012"]
    written += ["".join(rng.choice(list("012"), n)) for n in rng.integers(1, 38, 60)]
    received = repetitions(texts_of(*written), 4, longest, window)
    for text, row in zip(written, received, strict=True):
        seen = text if window is None else text[-window:]
        assert row.tolist() == [naive_repetition(seen, s, longest) for s in "0123"]


def test_a_penalty_divides_the_odds_for_each_symbol_beyond_the_free_ones():
    # After the first n digits of 012345678 again, only the next one goes on repeating.
    even = (0.1,) * 10
    for length, times in [(5, 0), (6, 1), (8, 3)]:
        text = "012345678" + "012345678"[:length]
        received = shares(RepetitionPenalty(2), *even, text=text)
        np.testing.assert_allclose(received[length] / received[9], 0.5**times)
        np.testing.assert_allclose(received[0] / received[9], 1)
    far = "012345678" + "9" * 1000 + "01234567"  # 1,000 symbols are looked at
    received = shares(RepetitionPenalty(2), *even, text=far)
    np.testing.assert_allclose(received[8] / received[0], 1)


def test_no_ngram_comes_twice_and_of_a_row_without_a_way_out_none_is_excluded():
    even = (0.25,) * 4
    for n, text, expected in [
        (3, "012301", [0, 0, -1, 0]),
        (2, "012301", [0, 0, -1, 0]),
        (4, "012301", [0, 0, 0, 0]),
        (2, "01", [0, 0, 0, 0]),
        (2, "00", [-1, 0, 0, 0]),
        (2, "001020", [-1, -1, -1, 0]),
        (2, "00102030", [0, 0, 0, 0]),
    ]:
        received = shares(NoRepeatNgram(n), *even, text=text)
        assert [0 if p else -1 for p in received] == expected, (n, text)


@pytest.mark.parametrize("n", [2, 4])
def test_a_text_without_repeated_ngrams_has_none(n):
    model = whimsical_model("\nabcdefghijklmnopqrstuvwxyz")
    options = {"temperature": 0.2, "no_repeat_ngram": n}
    text = generate_output(model, "", length=300, seed=1, **options)
    ngrams = [text[i : i + n] for i in range(len(text) - n + 1)]
    assert len(set(ngrams)) == len(ngrams)


CHAINS = [
    [TopP(0.9), Temperature(0.7)],
    [Temperature(1.5), TopK(4), TypicalP(0.8), MinP(0.05)],
    [RepetitionPenalty(3), NoRepeatNgram(3), TemperatureSchedule([0.4, 2, 0])],
    [lambda logits, texts: np.where(texts.ids[:, :1] == 1, logits, -logits)],
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("kind", ["text", "lines"])
def test_a_chain_draws_the_same_alone_and_in_a_batch(chain, kind):
    model = whimsical_model(kind=kind)
    prompts = ["", "abc", "fedcba" * 12, "a"] * 35  # in two halves, and read together
    options = {"length": 70, "stop": "aa", "sampler": chain}
    made = generate_many(model, prompts, seed=range(140), **options)
    assert len({len(completion.text) for completion in made}) > 10
    for number in (*range(12), 139):
        prompt = prompts[number]
        text = generate_output(model, prompt, seed=number, **options)
        assert prompt + made[number].text == text
        streamed = stream_output(model, prompt, seed=number, **options)
        assert "".join(streamed) == made[number].text


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.7}, {"temperature": 0}, {"temperature": 2, "top_k": 3},
     {"temperature": 1.1, "top_p": 0.7}, {"temperature": 3, "top_k": 5, "top_p": 0.8}],
)  # fmt: skip
def test_plain_options_give_the_text_of_their_chain(options):
    model, config = whimsical_model(), CompletionConfig(**options)
    assert config.is_plain
    for seed in range(3):
        plain = generate_output(model, "a", length=200, seed=seed, **options)
        chained = generate_output(
            model, "a", length=200, seed=seed, sampler=chain_of(config)
        )
        assert chained == plain
    rows = np.random.default_rng(0).normal(size=(300, 61), scale=3).astype(np.float32)
    uniforms = np.random.default_rng(1).random(300)
    drawn = draw(apply(chain_of(config), rows, texts_of(*[""] * 300)), uniforms)
    assert drawn.tolist() == sampling.sample_batch(rows, uniforms, config).tolist()


def test_every_option_that_shapes_a_text_has_a_sampler():
    others = {"length", "stop", "label", "strict", "sampler"}
    options = {field.name for field in fields(CompletionConfig)} - others
    assert SAMPLERS.keys() == options == set(SHAPING)


def test_the_options_are_applied_in_the_documented_order():
    config = CompletionConfig(
        temperature=(0.4, 0.8), top_k=9, top_p=0.9, min_p=0.1, typical_p=0.7,
        repetition_penalty=1.5, no_repeat_ngram=4,
    )  # fmt: skip
    chain = (RepetitionPenalty(1.5), NoRepeatNgram(4), TemperatureSchedule((0.4, 0.8)),
             TopK(9), TypicalP(0.7), TopP(0.9), MinP(0.1))  # fmt: skip
    assert chain_of(config) == chain
    assert not config.is_plain
    assert chain_of(CompletionConfig()) == (Temperature(0.7),)
    assert CompletionConfig().is_plain
    first = with_first(config, Greedy())
    assert first.sampler == (Greedy(), *chain)
    assert with_first(first, TopK(1)).sampler == (TopK(1), Greedy(), *chain)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"min_p": 0.3}, (0, 0.5, 0.3, 0.2)),
     ({"typical_p": 0.4}, (0, 0.5, 0.3, 0)),
     ({"sampler": [TopP(0.75), Temperature(0.5)]}, (0, 0.25, 0.09, 0)),
     ({"sampler": Temperature(1)}, (0.01, 0.5, 0.3, 0.2)),
     ({"sampler": []}, (0.01, 0.5, 0.3, 0.2))],
)  # fmt: skip
def test_what_is_drawn_follows_the_distribution(options, expected):
    # Their entropy is 1.07 nats, the surprisals are 4.6, 0.70, 1.21 and 1.62.
    model = FakeModel("abcd", lambda read: np.log([0.01, 0.5, 0.3, 0.2]))
    if "sampler" not in options:
        options |= {"temperature": 1}
    expected = np.array(expected) / sum(expected)
    draws = 4000
    texts = generate_many(model, 40, length=draws // 40, seed=3, **options)
    text = "".join(completion.text for completion in texts)
    counts = np.array([text.count(symbol) for symbol in "abcd"])
    assert not counts[expected == 0].any()
    wanted = draws * expected[expected > 0]
    statistic = ((counts[expected > 0] - wanted) ** 2 / wanted).sum()
    assert statistic < CRITICAL[len(wanted) - 1]


def test_a_sampler_of_ones_own_reads_what_was_read_and_drawn():
    model, seen = FakeModel("abc", lambda read: np.zeros(3), kind="text"), []

    def spy(logits, texts):
        (length,), (start,) = texts.lengths, texts.prompt_lengths
        seen.append(
            (texts.ids[0, :start].tolist(), texts.ids[0, start:length].tolist())
        )
        logits[:, (length + 1) % 3] = -np.inf
        return logits

    text = generate_output(model, "cab", length=100, seed=0, sampler=spy)
    ids = ["abc".index(symbol) for symbol in text]
    assert seen == [(ids[:3], ids[3 : 3 + n]) for n in range(100)]
    assert all(ids[place] != (place + 1) % 3 for place in range(3, 103))


@pytest.mark.parametrize("call", [generate_output, generate_many])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "TopP"}, "`sampler` must be a sampler or a list of them"),
        ({"sampler": [TopP]}, "`sampler` must be a sampler or a list of them"),
        ({"sampler": [TopP(0.9)], "top_k": 3}, "takes the place of `top_k`"),
        ({"sampler": lambda logits, texts: logits * -np.inf}, "a character that can"),
        ({"sampler": lambda logits, texts: logits * np.nan}, "a character that can"),
        ({"sampler": lambda logits, texts: logits[:, :2]}, r"of shape \(1, 7\)"),
        ({"sampler": lambda logits, texts: None}, "returned None"),
        ({"temperature": []}, "`temperature` must be a number"),
    ],
)
def test_what_is_no_sampler_is_told_in_a_line(call, options, said):
    prompts = "a" if call is generate_output else ["a"]
    with np.errstate(all="ignore"), pytest.raises(OptionError, match=said) as caught:
        call(whimsical_model(), prompts, length=5, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Temperature(-1), "`temperature` must be a number of at least 0"),
        (lambda: Temperature([0.5]), "`temperature` must be a number"),
        (lambda: TemperatureSchedule([]), "`temperature` must be numbers"),
        (lambda: TemperatureSchedule(0.5), "`temperature` must be numbers"),
        (lambda: TemperatureSchedule([0.5, 101]), "at most 100, but was 101"),
        (lambda: TopK(0), "`top_k` must be a whole number of at least 1"),
        (lambda: TopK(None), "`top_k` must be a number"),
        (lambda: TopP(0), "`top_p` must be a number above 0 and at most 1"),
        (lambda: MinP(1.1), "`min_p` must be a number above 0 and at most 1"),
        (lambda: TypicalP(math.nan), "`typical_p` must be a number above 0"),
        (lambda: RepetitionPenalty(0.9), "`repetition_penalty` must be a number"),
        (lambda: NoRepeatNgram(1), "`no_repeat_ngram` must be a whole number"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(make, said):
    with pytest.raises(OptionError, match=said):
        make()


def test_without_samplers_their_module_is_not_imported():
    code = (
        "import sys, textgen\n"
        "textgen.generate_output('dinos', 'a', length=3, top_p=0.9)\n"
        "assert 'textgen.generation.samplers' not in sys.modules\n"
        "textgen.generate_output('dinos', 'a', length=3, min_p=0.1)\n"
        "assert 'textgen.generation.samplers' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert textgen.TopP is TopP
