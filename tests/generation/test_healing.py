"""Models whose symbols have several characters; the reference is to write out all."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fakes import PIECES, FakeModel, pieces_model, random_network

from textgen.config import CompletionConfig, Config, WindowConfig
from textgen.data.vocabulary import Vocabulary
from textgen.errors import OptionError
from textgen.generation import healing
from textgen.generation.batch import complete_many, generate_many
from textgen.generation.continuations import _of_all_spellings, continuations
from textgen.generation.endings import cut
from textgen.generation.healing import unsettled
from textgen.generation.poems import generate_form, stream_form
from textgen.generation.streaming import generate_output, openings_of, stream_output
from textgen.saving.trained_model import TrainedModel

PROMPTS = ["", "a", "ab", "b ", " ", "ca b", "abcabc bc", "\n", "a\nca", "c\n", "cc c"]
PLAIN = CompletionConfig(temperature=1)


def log_softmax(logits):
    logits = np.asarray(logits, float)
    return logits - np.log(np.exp(logits).sum())


def spelled(model, read, length):
    """Yield each way in which symbols write so many characters, and its probability."""
    waiting = [((), "", 0.0)]
    while waiting:
        ids, text, nats = waiting.pop()
        if len(text) >= length:
            yield ids, text, float(np.exp(nats))
            continue
        logs = log_softmax(model.rule((*read, *ids)))
        for number, symbol in enumerate(model.symbols):
            waiting.append(((*ids, number), text + symbol, nats + logs[number]))


def conditional(model, prompt, length):
    """Return the probabilities of completions of a prompt, by writing out all texts.

    The whole prompt is the rest: the network reads but a line break before it.
    """
    found = Counter()
    for _, text, probability in spelled(model, (0,), len(prompt) + length):
        if text.startswith(prompt):
            found[text[len(prompt) : len(prompt) + length]] += probability
    total = sum(found.values())
    return {text: share / total for text, share in found.items()}


def test_openings_that_are_not_looked_for_have_a_thousandth_at_the_most(monkeypatch):
    """Those of many symbols are many, and each of them is unlikely."""
    model, prompt = pieces_model(("\n", "a", "aa", "aaa", "aaaa", "b")), "a" * 9
    found = openings_of(model, prompt, strict=True)
    monkeypatch.setattr(healing, "PASSED_OVER", 1e-12)
    every = openings_of(model, prompt, strict=True)
    assert len(found.scores) < len(every.scores)
    share = np.exp(found.log_probability - every.log_probability)
    assert 0.999 < share < 1


@pytest.mark.parametrize("prompt", ["ab", " b", "a"])
def test_openings_have_the_probabilities_of_all_texts_with_the_prompt(
    monkeypatch, prompt
):
    monkeypatch.setattr(healing, "PASSED_OVER", 1e-12)
    model = pieces_model()
    openings = openings_of(model, prompt, strict=True)
    assert openings.read.tolist() == [0]
    assert openings.rest == prompt
    wanted = {
        ids: probability
        for ids, text, probability in spelled(model, (0,), len(prompt))
        if text.startswith(prompt)
    }
    total = sum(wanted.values())
    assert openings.log_probability == pytest.approx(np.log(total))
    assert len(openings.scores) == len(wanted)
    assert sorted(np.exp(openings.scores)) == pytest.approx(sorted(wanted.values()))


def test_texts_are_distributed_as_the_model_writes_them_after_the_prompt():
    model, prompt, draws = pieces_model(), "ab", 6_000
    wanted = conditional(model, prompt, 2)
    texts = generate_many(model, [prompt] * draws, length=2, temperature=1, seed=0)
    found = Counter(completion.text for completion in texts)
    assert set(found) <= set(wanted)
    for text, share in wanted.items():
        sigma = np.sqrt(share * (1 - share) / draws)
        assert abs(found[text] / draws - share) < 4.5 * sigma + 1e-3, text


@pytest.mark.parametrize(
    "found", [("a", False), ("ab", False), (" ", False), ("", True)]
)
def test_a_continuation_is_as_likely_as_all_its_spellings(monkeypatch, found):
    monkeypatch.setattr(healing, "PASSED_OVER", 1e-12)
    model, prompt, (words, ends) = pieces_model(kind="lines"), "ab", found
    wanted = prompt + words + "\n" * ends
    shares = [
        sum(
            share
            for _, text, share in spelled(model, (0,), len(start))
            if text.startswith(start)
        )
        for start in (wanted, prompt)
    ]
    openings = openings_of(model, prompt, strict=True)
    (log,) = _of_all_spellings(model, openings, [found])
    assert np.exp(log) == pytest.approx(shares[0] / shares[1])


def test_continuations_differ_and_begin_what_is_drawn():
    model = pieces_model(("\n", " ", *"abc", "ab", " a", " ab", " bc", " ca"))
    config = CompletionConfig(temperature=1)
    found = continuations(model, "ab", 12, 3, config)
    assert found == continuations(model, "ab", 12, 3, config)
    shares = [each.probability for each in found]
    assert shares == sorted(shares, reverse=True)
    assert min(shares) > 0
    assert len({each.text for each in found}) == len(found) > 6
    assert sum(shares) < 1


@pytest.mark.parametrize("level", ["word", "bpe"])
def test_what_needs_single_characters_is_refused_in_a_line(level):
    model = pieces_model(level=level)
    kinds = {"word": "symbols are words", "bpe": "symbols are pieces of words"}
    pytest.importorskip("pronouncing")
    wanted = f"^`form` needs a model of characters; this one's {kinds[level]}$"
    for write in (generate_form, stream_form):
        with pytest.raises(OptionError, match=wanted):
            write(model, "couplet")


def test_texts_may_have_to_differ():
    model, how = pieces_model(spread=3), {"length": 3, "temperature": 1, "seed": 0}
    assert len({each.text for each in generate_many(model, 20, **how)}) < 20
    texts = generate_many(model, 20, **how, distinct=True)
    assert len({each.text for each in texts}) == len(texts) == 20


def test_a_word_goes_on_whose_beginning_the_prompt_has():
    symbols = ("\n", " ", *"Icompare", " compare", " I", " comp")
    symbols = tuple(dict.fromkeys(symbols))
    whole = symbols.index(" compare")
    model = FakeModel(
        symbols,
        lambda read: np.where(np.arange(len(symbols)) == whole, 5.0, 0.0),
        level="word",
    )
    text = generate_output(model, "I I comp", length=3, temperature=0)
    assert text == "I I compare"
    assert model.decoders[0].read[0][:2] == (symbols.index("I"), symbols.index(" I"))
    assert generate_output(model, "I ", length=9, temperature=0) == "I compare c"


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0}, {"temperature": (0.5, 1.5), "top_p": 0.9},
     {"min_p": 0.1, "repetition_penalty": 2, "no_repeat_ngram": 3}, {"beam": 3},
     {"stop": "ca"}, {"stop": " bca"}, {"stop": "b", "length": 3}, {"length": 1},
     {"beam": 2, "stop": "c a", "length": 9}],
)  # fmt: skip
def test_alone_and_among_many_a_text_is_the_same_and_of_the_exact_length(
    prompt, options
):
    options = {"length": 17, "temperature": 1, **options}
    if "beam" in options:
        del options["temperature"]
    model = pieces_model()
    many = generate_many(model, [prompt] * 5 + ["b"], seed=3, **options)
    for each in many:
        alone = generate_output(model, each.prompt, seed=each.seed, **options)
        assert alone == each.prompt + each.text
        pieces = list(stream_output(model, each.prompt, seed=each.seed, **options))
        assert "".join(pieces) == each.text
        assert all(len(x) == 1 for x in pieces)
        if stop := options.get("stop"):
            free = generate_output(
                model, each.prompt, seed=each.seed, **{**options, "stop": None}
            )[len(each.prompt) :]
            if "beam" not in options:
                assert each.text == free.partition(stop)[0]
            assert stop not in each.text
        else:
            assert len(each.text) == options["length"]


def test_lines_end_within_their_length():
    model = pieces_model(kind="lines")
    texts = generate_many(model, 30, length=40, seed=1, temperature=1)
    assert all("\n" not in each.text and len(each.text) <= 40 for each in texts)
    assert len({len(each.text) for each in texts}) > 5
    for each in texts[:5]:
        assert each.text == generate_output(
            model, "", length=40, seed=each.seed, temperature=1
        )


def test_many_short_texts_share_the_threads_of_two_halves():
    model = pieces_model()
    prompts = [PROMPTS[number % len(PROMPTS)] for number in range(150)]
    many = generate_many(model, prompts, length=5, seed=9, stop="ab")
    for each in many[::30]:
        alone = generate_output(model, each.prompt, length=5, seed=each.seed, stop="ab")
        assert alone == each.prompt + each.text


def test_symbols_are_made_only_when_their_characters_are_asked_for():
    model = pieces_model()
    characters = stream_output(model, "\n", length=100_000_000)
    list(itertools.islice(characters, 5))
    assert len(model.decoders[-1].read[0]) <= 6


@pytest.mark.parametrize(
    ("text", "place"),
    [("", 0), ("abc\n", 4), ("ab c", 2), ("a bb", 1), ("aa ", 2), ("a  ", 1),
     ("ab" * 100, 136)],
)  # fmt: skip
def test_what_may_be_spelled_otherwise_is_the_last_word(text, place):
    assert unsettled(pieces_model().vocabulary, text) == place


def test_nothing_is_spelled_anew_where_no_symbol_reaches_beyond_the_end():
    model = pieces_model(("\n", *"abc", "ab"))
    openings = openings_of(model, "aabc", strict=True)
    assert openings.rest == ""
    assert not openings.scores.size
    begin = openings.drawn(PLAIN, 1)
    assert begin.ids.tolist() == [1, 1, 2, 3]
    assert begin.text == ""


def test_an_endless_search_for_openings_is_given_up(monkeypatch):
    monkeypatch.setattr(healing, "MOST_STEPS", 3)
    model = pieces_model(("\n", " ", *"abc", "ca"))
    begin = openings_of(model, "abcabc", strict=True).drawn(PLAIN, 1)
    assert begin.ids.tolist() == [0, 2, 3, 4, 2, 3, 4]
    # What goes on is then as likely as after a prompt that is spelled so.
    shares = [x.probability for x in continuations(model, "abcabc", 9, 1, PLAIN)]
    assert all(0 <= share <= 1 for share in shares)


def test_a_windowed_model_reads_no_more_than_its_window():
    windows = WindowConfig(seq_length=4, targets="last")
    model = pieces_model(windows=windows)
    openings = openings_of(model, "cbcbcb ca", strict=True)
    assert openings.rest == " ca"
    assert len(openings.read) == 4
    text = generate_output(model, "cbcbcb ca", length=6, seed=1)
    assert len(text) == len("cbcbcb ca") + 6


@pytest.mark.parametrize("targets", ["all", "last"])
def test_a_network_goes_on_from_where_its_opening_was_read(targets):
    """Its decoders' states are arrays, other than those of the fakes."""
    network = random_network((6, 5), len(PIECES), scale=1.5)
    config = replace(Config(), windows=WindowConfig(seq_length=5, targets=targets))
    vocabulary = Vocabulary(PIECES, "word")
    model = TrainedModel(network, vocabulary, "text", config, {}, None)
    for each in generate_many(model, PROMPTS, length=12, temperature=1, seed=5):
        how = {"length": 12, "temperature": 1, "seed": each.seed}
        assert generate_output(model, each.prompt, **how) == each.prompt + each.text
        begin = openings_of(model, each.prompt, True).drawn(PLAIN, each.seed)
        anew, going_on = model.decoder(), model.decoder()
        for place in range(len(begin.ids) - 1):
            anew.step(begin.ids[place : place + 1])
        if begin.state is not None:
            going_on.set_state([0], begin.state)
            last = begin.ids[-1:]
            np.testing.assert_allclose(going_on.step(last), anew.step(last), rtol=1e-5)


def test_a_seed_repeats_and_without_one_texts_differ():
    model = pieces_model()
    texts = [generate_output(model, "ab", length=30, seed=s) for s in (0, 0, 4)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("text", "stops", "left"),
    [("abcabc", [], "abcab"), ("abcabc", ["c"], "ab"), ("abcabc", ["bca", "c"], "ab"),
     ("abcabc", ["abc", "bc"], ""), ("abcabc", ["abcabc", ""], "abcab")],
)  # fmt: skip
def test_a_text_is_cut_before_what_is_complete_first(text, stops, left):
    assert cut(text, 5, stops) == left


@pytest.mark.parametrize(
    ("options", "read"),
    [({"length": 9}, 3), ({"length": 40, "stop": "e"}, 2),
     ({"length": 40, "stop": "ha"}, 2), ({"length": 40}, 34)],
)  # fmt: skip
def test_what_an_opening_has_of_a_text_is_not_drawn_again(options, read):
    symbols = ("\n", *"abcdefgh", "abcdefgh")
    reads = []

    def rule(read):
        reads.append(read)
        return np.where(np.arange(10) == (9 if len(read) == 1 else 1), 0, -1e4)

    model = FakeModel(symbols, rule, level="word")
    (made,) = generate_many(model, ["a"], **options)
    whole = "bcdefgh" + 33 * "a"
    assert (
        made.text == whole[: options["length"]].partition(options.get("stop", "!"))[0]
    )
    assert len(reads) == read  # what stands before the prompt, and before each symbol


def test_a_search_counts_what_its_opening_has_of_a_text():
    symbols, chances = ("\n", *"abc", "ab"), np.full((5, 5), -9.0)
    chances[0, 4] = chances[1, 1] = 0  # "ab" comes first, and a after a
    chances[4, 1:4] = np.log([0.4, 1e-9, 0.6])
    chances[3] = np.log(0.2)
    model = FakeModel(symbols, lambda read: chances[read[-1]], level="word")
    assert generate_output(model, "a", length=2, beam=4) == "abc"
    assert generate_output(model, "a", length=3, beam=4) == "abaa"


def test_a_search_finds_several_texts_with_the_likeliest_opening():
    model = pieces_model(kind="lines", spread=3)
    texts = generate_many(model, 3, length=6, beam=4)
    assert len(texts) == 3
    assert all(len(each.text) <= 6 for each in texts)
    assert len({each.text for each in texts}) == 3


def test_the_likeliest_text_of_a_wide_search_is_that_of_all():
    model = pieces_model(spread=2)
    ways = {ids: share for ids, _, share in spelled(model, (0,), 3)}
    best = max(ways, key=ways.get)
    wanted = "".join(PIECES[number] for number in best)[:3]
    assert generate_output(model, "\n", length=3, beam=200) == "\n" + wanted


def test_a_prompt_at_fault_is_refused_as_ever():
    model = pieces_model()
    with pytest.raises(OptionError, match="prompt"):
        list(complete_many(model, [3], [1], PLAIN))
