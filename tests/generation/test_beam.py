import itertools

import numpy as np
import pytest
from fakes import FakeModel, whimsical_model

from textgen.config import CompletionConfig
from textgen.errors import OptionError
from textgen.generation.batch import distinct_lines, generate_many
from textgen.generation.beam import BeamSearch
from textgen.generation.samplers import Greedy, NoRepeatNgram, Temperature
from textgen.generation.streaming import generate_output, stream_output


def log_p(model, read: tuple[int, ...], symbol: int) -> float:
    """Return a symbol's log-probability after what was read, by itself."""
    logits = model.rule(read)
    return float(logits[symbol] - np.log(np.sum(np.exp(logits))))


def every_text(model, start, length, stop="") -> list[tuple[str, float]]:
    """Return every completion and its log-probability."""
    texts = []

    def go_on(read, text, score, left):
        for symbol, written in enumerate(model.symbols):
            new = score + log_p(model, read, symbol)
            if symbol == model.end_id:
                texts.append((text, new))
            elif stop and (text + written).endswith(stop):
                texts.append(((text + written).removesuffix(stop), new))
            elif left == 1:
                texts.append((text + written, new))
            else:
                go_on((*read, symbol), text + written, new, left - 1)

    go_on(start, "", 0.0, length)
    return texts


def ranked(texts) -> list[str]:
    """Return the texts, the best first; a text may end in two ways."""
    texts = sorted(texts, key=lambda each: -each[1])
    return list(dict.fromkeys(text for text, _ in texts))


@pytest.mark.parametrize("kind", ["text", "lines"])
@pytest.mark.parametrize("stop", ["", "b", "bc"])
def test_a_wide_beam_finds_what_a_search_of_every_text_finds(kind, stop):
    model = whimsical_model("\nabc", kind=kind)
    texts = every_text(model, (0, 1), 5, stop)
    assert len(texts) > 80
    best = ranked(texts)
    options = {"length": 5, "sampler": BeamSearch(1000)}
    options |= {"stop": stop} if stop else {}
    prompt = "a"
    if kind == "text":
        prompt = "\na"  # what a model of lines reads before
    assert generate_output(model, prompt, **options) == prompt + best[0]
    config = CompletionConfig(**options)
    found = [c.text for c in distinct_lines(model, prompt, 9, 0, config)]
    assert found == best[:9]


def naive_beam(model, start, length, width) -> list[str]:
    """Keep the likeliest texts in lists, as a textbook says it; the best first."""
    live, ended = [((), 0.0)], []
    for left in reversed(range(length)):
        longer = [
            ((*drawn, symbol), score + log_p(model, start + drawn, symbol))
            for drawn, score in live
            for symbol in range(len(model.symbols))
        ]
        longer.sort(key=lambda each: -each[1])
        ended += [
            each for each in longer[:width] if not left or each[0][-1] == model.end_id
        ]
        live = [each for each in longer if each[0][-1] != model.end_id][:width]
    ended.sort(key=lambda each: -each[1])
    texts = ["".join(model.symbols[x] for x in drawn) for drawn, _ in ended[:width]]
    return [text.removesuffix("\n") for text in texts]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_narrow_beam_keeps_what_the_textbook_keeps(width):
    differ = set()
    for symbols, start in [(x, y) for x in ("\nabc", "\nabcdefgh") for y in x[1:]]:
        model = whimsical_model(symbols, kind="lines")
        ids = (0, model.symbols.index(start))
        expected = naive_beam(model, ids, 7, width)
        options = {"length": 7, "sampler": BeamSearch(width)}
        assert generate_output(model, start, **options) == start + expected[0]
        config = CompletionConfig(**options)
        found = distinct_lines(model, start, width, 0, config)
        assert [completion.text for completion in found] == expected
        differ.add(expected[0])
    assert len(differ) > 2


def test_a_beam_of_one_is_greedy_and_no_seed_matters():
    model = whimsical_model()
    greedy = generate_output(model, "ab", length=90, sampler=Greedy())
    for seed in (1, 2):
        options = {"length": 90, "beam": 1, "seed": seed}
        assert generate_output(model, "ab", **options) == greedy
    assert "".join(stream_output(model, "ab", length=90, beam=1)) == greedy[2:]
    many = generate_many(model, ["ab", "c", "ab"], length=90, beam=3, seed=5)
    alone = [generate_output(model, p, length=90, beam=3) for p in ("ab", "c")]
    assert [c.prompt + c.text for c in many] == [*alone, alone[0]]


def test_a_wider_beam_finds_likelier_texts():
    model, scores = whimsical_model(), []
    for width in (1, 4, 64):
        text, read, score = generate_output(model, "a", length=30, beam=width), (1,), 0
        for symbol in map(model.symbols.index, text[1:]):
            score += log_p(model, read, symbol)
            read += (symbol,)
        scores.append(score)
    assert scores == sorted(scores)
    assert len(set(scores)) > 1


def test_samplers_before_a_search_change_what_is_searched():
    model = FakeModel("abc", lambda read: np.log([0.7, 0.2, 0.1]))
    text = generate_output(model, "", length=6, sampler=BeamSearch(4))
    assert text == "aaaaaa"
    for options in (
        {"sampler": [NoRepeatNgram(2), BeamSearch(8)]},
        {"no_repeat_ngram": 2, "beam": 8},
    ):
        text = generate_output(model, "", length=6, **options)
        pairs = ["".join(pair) for pair in itertools.pairwise(text)]
        assert len(set(pairs)) == len(pairs)


def test_the_likeliest_names_are_those_of_a_count():
    model = whimsical_model(kind="lines")
    options = {"length": 4, "beam": 1000}
    names = [name.text for name in generate_many(model, 20, **options)]
    assert names == [n for n in ranked(every_text(model, (0,), 4)) if n][:20]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: BeamSearch(0), "`beam` must be a whole number of at least 1"),
        (lambda: BeamSearch(None), "`beam` must be a number"),
        (lambda: CompletionConfig(beam=2, top_p=0.9), "takes the place of `top_p`"),
        (lambda: CompletionConfig(beam=2, temperature=1), "the place of `temperature`"),
        (
            lambda: generate_output(whimsical_model(), "", beam=1001),
            "at most 1000 with",
        ),
        (
            lambda: generate_output(
                whimsical_model(), "", sampler=[BeamSearch(2), Temperature(1)]
            ),
            "only as the last",
        ),
        (
            lambda: generate_many(whimsical_model(), 9, beam=4),
            "`count` must be at most",
        ),
    ],
)
def test_what_a_search_can_not_do_is_told(call, said):
    with pytest.raises(OptionError, match=said):
        call()
