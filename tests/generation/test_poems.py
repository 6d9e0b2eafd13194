"""Poems of a form, by a model of few words: metre, rhyme, seeds, and what is read."""

import math
import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from fakes import ENGLISH as SYMBOLS
from fakes import WORDS, whimsical_model, words_model

from textgen.config import CompletionConfig
from textgen.errors import FormError, OptionError, VocabularyError
from textgen.generation import poems, verse
from textgen.generation.forms import FORMS, find_form
from textgen.generation.poems import generate_form, stream_form
from textgen.generation.streaming import UnknownSymbolsWarning
from textgen.generation.verse import Wanted

pronouncing = pytest.importorskip("pronouncing")


@pytest.fixture(autouse=True)
def _few_rows(monkeypatch):
    monkeypatch.setattr(poems, "HALF_ROWS", 12)


def syllable_counts(line: str) -> set[int]:
    """Count the syllables of a line by the dictionary alone."""
    counts = {0}
    for word in re.findall("[a-z']+", line.lower()):
        each = {
            pronouncing.syllable_count(x) for x in pronouncing.phones_for_word(word)
        }
        counts = {a + b for a in counts for b in each}
    return counts


def last_word(line: str) -> str:
    return re.findall("[a-z']+", line.lower())[-1]


@pytest.mark.parametrize("name", FORMS)
def test_a_poem_keeps_its_form(name):
    poem = generate_form(words_model(), name, seed=1)
    lines = poem.split("\n")
    form = FORMS[name].lines
    assert len(lines) == len(form)
    for line, wanted in zip(lines, form, strict=True):
        assert syllable_counts(line) & {len(metre) for metre in wanted.metres}, line
        assert re.fullmatch(wanted.indent + r"[A-Z][A-Za-z' ,.:;!?-]*", line)
    assert poem[-1] in ".!?"
    for (line, one), (other, two) in combinations(zip(lines, form, strict=True), 2):
        assert line.strip(" ,.") != other.strip(" ,.")
        do_rhyme = last_word(other) in pronouncing.rhymes(last_word(line))
        if one.rhyme:
            assert do_rhyme == (one.rhyme == two.rhyme), (line, other)
            assert last_word(line) != last_word(other)


def test_a_sonnet_is_abab_cdcd_efef_gg_in_iambs():
    form = FORMS["sonnet"].lines
    assert "".join(line.rhyme for line in form) == "ABABCDCDEFEFGG"
    assert {line.metres for line in form} == {("wswswswsws",)}
    assert [len(FORMS[x].lines) for x in ("couplet", "quatrain", "haiku")] == [2, 4, 3]
    assert [len(line.metres[0]) for line in FORMS["haiku"].lines] == [5, 7, 5]
    assert "".join(line.rhyme for line in FORMS["limerick"].lines) == "AABBA"


def test_a_form_of_ones_own():
    poem = generate_form(
        words_model(), rhyme_scheme="ab-ba", syllables=7, temperature=1.0, seed=4
    )
    lines = poem.split("\n")
    assert all(7 in syllable_counts(line) for line in lines)
    words = [last_word(line) for line in lines]
    a, b, _, c, d = words
    assert d in pronouncing.rhymes(a)
    assert c in pronouncing.rhymes(b)
    assert b not in pronouncing.rhymes(a)
    assert find_form(None, "AA", 7).lines[0].metres == ("swswsws",)
    assert find_form(None, "AA").lines[0].metres == ("wswswswsws",)


def test_the_same_seed_gives_the_same_poem_and_streams_it():
    model = words_model()
    poem = generate_form(model, "quatrain", "Love", seed=5)
    pieces = list(stream_form(model, "quatrain", "Love", seed=5))
    assert "Love" + "".join(pieces) == poem
    assert [piece.count("\n") for piece in pieces] == [0, 1, 1, 1]
    assert generate_form(model, "quatrain", "Love", seed=6) != poem


@pytest.mark.parametrize(
    ("prompt", "lines_given"),
    [
        ("", 0),
        ("My sweet", 0),  # the beginning of a line
        ("My sweet bea", 0),  # within a word
        ("The beauty of the light and of the way", 1),
        ("The beauty of the light and of the way\n", 1),
        ("Making the sweet and fair eternal night,\nMy lo", 1),
        ("There is a whole line of the users own words of a day", 1),
    ],
)
def test_the_poem_begins_with_the_prompt(prompt, lines_given):
    poem = generate_form(words_model(), "quatrain", prompt, seed=2)
    assert poem.startswith(prompt)
    lines = poem.split("\n")
    assert len(lines) == 4
    assert lines[:lines_given] == prompt.split("\n")[:lines_given]
    assert all(10 in syllable_counts(line) for line in lines[lines_given:])
    assert last_word(lines[2]) in pronouncing.rhymes(last_word(lines[0]))


def test_a_word_of_two_syllables_is_rhymed_by_two():
    model = words_model([*WORDS, "never", "sever", "clever"])
    poem = generate_form(
        model, "couplet", "My love is of the sweetest light for ever", seed=1
    )
    second = poem.split("\n")[1]
    assert last_word(second) in {"never", "sever", "clever"}
    assert 11 in syllable_counts(second)


def test_the_text_so_far_is_read_once():
    model = words_model()
    first = "The beauty of the light and of the way,\n"
    steps = []
    make = model.decoder

    def counting(batch_size=1):
        decoder = make(batch_size)
        step, place = decoder.step, len(steps)
        steps.append(0)

        def counted(ids):
            steps[place] += 1
            return step(ids)

        decoder.step = counted
        return decoder

    model.decoder = counting
    poem = generate_form(model, "sonnet", first, seed=1)
    _, *halves = sorted(model.decoders, key=lambda each: len(each.read))
    assert sorted(steps)[0] == len(first) + 1  # the prompt but for its last symbol
    longest = max(map(len, poem.split("\n"))) * 2
    assert all(count < 13 * longest for count in sorted(steps)[1:])
    before = "\n\n" + poem.rpartition("\n")[0]
    for half in halves:
        for read in half.read:
            assert "".join(SYMBOLS[x] for x in read).startswith(before)


def test_a_line_is_given_out_once_its_rhyme_is_found_and_a_step_back_helps(monkeypatch):
    """The first two tries for a third line fail, so that the second is drawn anew."""
    drawn = []
    draw = poems._Poet._draw

    def failing(self, pool, standing, wanted):
        found = draw(self, pool, standing, wanted)
        drawn.append(len(wanted.taken))
        return [] if drawn.count(2) in (1, 2) and drawn[-1] == 2 else found

    monkeypatch.setattr(poems._Poet, "_draw", failing)
    pieces = stream_form(words_model(), "quatrain", seed=3)
    next(pieces)
    assert drawn == [0, 1, 2, 2, 1, 2]
    assert len(list(pieces)) == 3


def test_tries_are_bounded_and_one_line_says_so():
    model = words_model(["month", "sweet", "light"])
    with pytest.raises(
        FormError, match=r"line 2 came .* rhymes with 'month' in 8 tries"
    ):
        generate_form(
            model, "couplet", "My sweet the light of sweet the light of month"
        )
    with pytest.raises(FormError, match="no line 1 came"):
        generate_form(words_model(["xq"]), "haiku", seed=1)


def test_no_line_comes_twice():
    model = words_model(["day", "way", "may", "the", "my"])
    for seed in range(3):
        poem = generate_form(
            model, rhyme_scheme="--------", syllables=2, seed=seed, temperature=0.3
        )
        lines = [re.sub("[^a-z]", "", line.lower()) for line in poem.split("\n")]
        assert len(set(lines)) == 8


def test_a_word_without_enough_rhymes_bears_none():
    model = words_model(["month", "sweet", "the", "and", "feet", "of"])
    for seed in range(3):
        poem = generate_form(model, "couplet", seed=seed, temperature=2.0)
        assert {last_word(x) for x in poem.split("\n")} <= {"sweet", "feet"}


def test_symbols_that_are_new_to_the_model_are_told_and_strict_refuses():
    with pytest.warns(UnknownSymbolsWarning, match="é"):
        poem = generate_form(words_model(), "couplet", "My café", seed=1)
    assert poem.startswith("My café")
    with pytest.raises(VocabularyError):
        generate_form(words_model(), "couplet", "My café", strict=True)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"form": "sonet"}, "sonnet, couplet, quatrain"),
        ({"form": 3}, "sonnet"),
        ({"form": "haiku", "rhyme_scheme": "AA"}, "leave out"),
        ({"syllables": 8}, "needs a `rhyme_scheme`"),
        ({"rhyme_scheme": ""}, "letter"),
        ({"rhyme_scheme": "A1"}, "'A1'"),
        ({"rhyme_scheme": 5}, "ABBA"),
        ({"rhyme_scheme": "AA", "syllables": 1}, "at least 2"),
        ({"rhyme_scheme": "AA", "syllables": 2.5}, "whole"),
        ({"form": "couplet", "prompt": "One\nTwo\n"}, "has them all"),
        ({"form": "couplet", "prompt": "\n"}, "must have a word"),
        ({"form": "couplet", "prompt": "One\n…\n"}, "must have a word"),
        ({"form": "couplet", "prompt": 7}, "must be text"),
        ({"temperature": 0}, "above 0"),
        ({"seed": -1}, "`seed`"),
        ({"sylables": 8}, "`syllables`"),
    ],
)
def test_bad_requests_are_one_line(options, word):
    with pytest.raises(OptionError, match=re.escape(word)) as told:
        stream_form(words_model(), **options)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "model", [whimsical_model(), words_model(symbols=SYMBOLS, kind="lines")]
)
def test_models_that_can_not_write_verse_are_refused(model):
    with pytest.raises(OptionError, match="running English text"):
        generate_form(model, "couplet")


def test_a_line_loses_for_what_came_before_and_never_stammers():
    before = ("My love is fair,", "the love of night")
    wanted = Wanted(FORMS["sonnet"].lines[2], before=before)
    word, pair = verse.WORD_NATS, verse.PAIR_NATS
    assert wanted.repetition_nats("A sweet day") == 0
    assert wanted.repetition_nats("Love, the night!") == pytest.approx(4 * word)
    expected = pytest.approx(4 * word + 2 * pair)
    assert wanted.repetition_nats("the love is so") == expected
    poem = generate_form(words_model(["love", "night", "light"]), "couplet", seed=1)
    for line in poem.lower().split("\n"):
        assert all(one != other for one, other in pairwise(re.findall("[a-z]+", line)))


@pytest.mark.parametrize("word", ["un" * 1000, "a" + "'s" * 1000, "x" * 2000])
def test_any_word_of_the_users_may_be_long(word):
    poem = generate_form(words_model(), "haiku", f"{word}\n", seed=1)
    assert poem.startswith(f"{word}\n")


@pytest.mark.filterwarnings("error")
def test_the_share_that_is_allowed_is_known_at_any_temperature():
    logits, allowed = np.array([[100.0, 200.0, 0.0]]), np.array([[True, False, True]])
    e = math.e
    for temperature, share in ((1e-308, 0), (100, (e + 1) / (e + e**2 + 1))):
        config = CompletionConfig(temperature=temperature)
        assert verse._left(logits, config, allowed) == pytest.approx([share])
