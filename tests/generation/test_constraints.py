"""Lines and texts that have to fit: all do, as likely as the model would have them."""

import itertools
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import FakeModel, alphabet_model, pieces_model, whimsical_model

from textgen.config import CompletionConfig, ConstraintConfig
from textgen.data.corpus import load_corpus
from textgen.data.sources import named_corpora
from textgen.errors import OptionError
from textgen.generation import batch, fitting, novel
from textgen.generation.batch import distinct_lines, generate_many
from textgen.generation.constraints import Constraint
from textgen.generation.samplers import Texts

SYMBOLS = "\nabcd"
WISHES = [
    ({"starts_with": "ca"}, "ca.*"),
    ({"ends_with": "dab"}, ".*dab"),
    ({"contains": "."}, "x"),
    ({"contains": "bb"}, ".*bb.*"),
    ({"matching": "[abc]*d[^b]+"}, "[abc]*d[^b]+"),
    ({"min_length": 7}, ".{7,}"),
    ({"max_length": 2}, ".{1,2}"),
    ({"min_length": 3, "max_length": 4}, ".{3,4}"),
    ({"starts_with": "d", "ends_with": "cc", "contains": "aba"}, "d.*aba.*cc"),
    ({"starts_with": "ab", "matching": ".*", "length": 2}, "ab"),
]


@pytest.fixture(autouse=True)
def _short_sample(monkeypatch):
    monkeypatch.setattr("textgen.generation.contexts.SAMPLE_SYMBOLS", 16)


def markov_model(seed: int = 0, **options) -> FakeModel:
    """Return a model of lines in which only the last symbol counts."""
    table = np.random.default_rng(seed).normal(size=(5, 5), scale=1.5)
    table[0, 0] = -9
    return FakeModel(SYMBOLS, lambda read: table[read[-1]], kind="lines", **options)


def lines_up_to(length: int) -> list[str]:
    return ["".join(x) for n in range(length + 1)
            for x in itertools.product(SYMBOLS[1:], repeat=n)]  # fmt: skip


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits)


def log_probability(model, line: str, temperature: float, constraint=None) -> float:
    """Return that of a line with its end, by a slow loop."""
    read, total = [0], 0.0
    for symbol in [*model.vocabulary.encode(line).tolist(), 0]:
        logits = np.array(model.rule(tuple(read)), float)
        if constraint is not None:
            texts = Texts(np.array([read]), np.array([1]), np.array([len(read)]))
            (logits,) = constraint(logits[None], texts)
        total += log_softmax(logits / temperature)[symbol]
        read.append(symbol)
    return total


@pytest.mark.parametrize(("wish", "expression"), WISHES)
def test_every_line_fits(wish, expression):
    if "." in wish.get("contains", ""):
        with pytest.raises(OptionError, match="never seen"):
            generate_many(whimsical_model(SYMBOLS, kind="lines"), 3, **wish)
        return
    options = {"length": 30, "temperature": 1.5} | wish
    model = whimsical_model(SYMBOLS, kind="lines")
    lines = [x.text for x in generate_many(model, [""] * 20, seed=1, **options)]
    assert [x for x in lines if not re.fullmatch(expression, x)] == []


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("wish", [{"ends_with": "ad"}, {"contains": "bb"},
    {"min_length": 4}, {"max_length": 3}, {"matching": "a.*|d"}])  # fmt: skip
def test_of_a_markov_chain_lines_are_as_likely_as_among_those_that_fit(
    wish, temperature, monkeypatch
):
    monkeypatch.setattr("textgen.generation.contexts.MAX_ORDER", 1)
    monkeypatch.setattr("textgen.generation.contexts.PRIOR", 1e-9)
    model, config = markov_model(), CompletionConfig(temperature=temperature)
    constraint = Constraint(model, ConstraintConfig(**wish), config)
    lines = [line for line in lines_up_to(5) if constraint.fits(line)]
    by_model = np.array([log_probability(model, x, temperature) for x in lines])
    drawn = [log_probability(model, x, temperature, constraint) for x in lines]
    ratios = np.array(drawn) - by_model  # all by the chance that a line fits
    assert np.ptp(ratios) < 0.02
    assert ratios.mean() > 0


PIECES = ("\n", *"abcd", "ab", "dab", "bb", "aba", "cc", "abcd")


@pytest.mark.parametrize(("wish", "expression"), WISHES)
@pytest.mark.parametrize("kind", ["lines", "text"])
def test_what_symbols_of_several_characters_write_fits(wish, expression, kind):
    is_of_ends = "min_length" in wish or "max_length" in wish
    if expression == "x" or (kind == "text" and is_of_ends):
        return
    options = {"length": 9, "temperature": 1.5} | wish
    model = pieces_model(PIECES, kind=kind)
    texts = [x.text for x in generate_many(model, ["", ""] * 8, seed=1, **options)]
    assert [x for x in texts if not re.fullmatch(expression, x, re.DOTALL)] == []
    assert len(set(texts)) > (1 if "." in expression else 0)
    length = options["length"]
    assert all(len(x) == length if kind == "text" else len(x) <= length for x in texts)


def test_a_prompt_counts_in_what_a_line_of_longer_symbols_fits():
    model = pieces_model(PIECES, kind="lines")
    wish = {"matching": "ab.{3}d", "length": 20}
    texts = generate_many(model, ["abc"] * 9, seed=1, **wish)
    assert all(re.fullmatch("..d", x.text) for x in texts)
    with pytest.raises(OptionError, match="begins with `prompt` 'c'"):
        generate_many(model, ["c"], **wish)


def test_a_line_of_longer_symbols_is_whole_at_its_length_in_characters():
    logits = np.where(np.arange(11) == PIECES.index("ab"), 0, -1e4)
    model = FakeModel(PIECES, lambda read: logits, kind="lines", level="word")
    (made,) = generate_many(model, [""], length=4, starts_with="a")
    assert made.text == "abab"
    assert {len(read) for read in model.decoders[-1].read} == {2}


@pytest.mark.parametrize("wish", [{"ends_with": "ad"}, {"contains": "bb"},
    {"min_length": 4}, {"max_length": 3}, {"matching": "a.*|d"}])  # fmt: skip
def test_spellings_are_as_likely_as_among_those_that_fit(wish, monkeypatch):
    """The same of a Markov chain of longer symbols, whose lines are runs of them."""
    monkeypatch.setattr("textgen.generation.contexts.MAX_ORDER", 1)
    monkeypatch.setattr("textgen.generation.contexts.PRIOR", 1e-9)
    table = np.random.default_rng(2).normal(size=(11, 11))
    table[0, 0] = -9
    model = FakeModel(PIECES, lambda read: table[read[-1]], kind="lines", level="word")
    config = CompletionConfig(temperature=1)
    constraint = Constraint(model, ConstraintConfig(**wish), config)
    ratios = []
    for count in range(1, 4):
        for ids in itertools.product(range(1, 11), repeat=count):
            if constraint.fits(model.vocabulary.decode(ids)):
                ratios.append(_ratio(model, constraint, ids))
    assert len(ratios) > 5
    assert np.ptp(ratios) < 0.05
    assert np.mean(ratios) > 0


def _ratio(model, constraint, ids):
    """Return by how much, in nats, a constraint makes a line's ids likelier."""
    read, gain = [0], 0.0
    for symbol in [*ids, 0]:
        logits = np.array(model.rule(tuple(read)), float)
        texts = Texts(np.array([read]), np.array([1]), np.array([len(read)]))
        (bound,) = constraint(logits[None], texts)
        gain += log_softmax(bound)[symbol] - log_softmax(logits)[symbol]
        read.append(symbol)
    return gain


def total_variation(lines: list[str], exact: dict[str, float]) -> float:
    shares = {line: lines.count(line) / len(lines) for line in exact}
    return sum(abs(shares[line] - exact[line]) for line in exact) / 2


def test_of_more_candidates_lines_come_as_often_as_among_those_that_fit(monkeypatch):
    table = np.random.default_rng(3).normal(size=(6, 5), scale=1.5)

    def rule(read):  # the beginning tells when a line ends
        early = len(read) < 3
        return table[read[1] if len(read) > 1 else 5] + [-9 if early else 1, 0, 0, 0, 0]

    model = FakeModel(SYMBOLS, rule, kind="lines")
    config = CompletionConfig(temperature=1, length=50)
    wanted = ConstraintConfig(max_length=4, matching="(..)*")
    fit = [x for x in lines_up_to(4) if x and len(x) % 2 == 0]
    exact = {x: math.exp(log_probability(model, x, 1)) for x in fit}
    exact = {line: share / sum(exact.values()) for line, share in exact.items()}
    monkeypatch.setattr("textgen.generation.contexts.MAX_ORDER", 0)
    found = {}
    for candidates in (1, 24):
        monkeypatch.setattr(fitting, "CANDIDATES", candidates)
        constraint = Constraint(model, wanted, config)
        draws = batch.complete_many(
            model, [""] * 400, range(400), config, constraint=constraint
        )
        found[candidates] = total_variation([x.text for x in draws], exact)
    drawn = np.random.default_rng(0).choice(list(exact), 400, p=list(exact.values()))
    by_chance = total_variation(drawn.tolist(), exact)
    assert found[24] < by_chance + 0.1 < found[1]


def test_a_seed_repeats_a_line_alone():
    model = whimsical_model(SYMBOLS, kind="lines")
    options = {"ends_with": "ab", "length": 40}
    many = generate_many(model, ["", "c", "dd"] * 7, seed=5, **options)
    for each in many[::4]:
        alone = generate_many(model, [each.prompt], seed=[each.seed], **options)
        assert alone == [each]
        assert re.fullmatch(".*ab", each.prompt + each.text)
    different = generate_many(model, 12, seed=5, **options)
    assert len({line.text for line in different}) == 12


@pytest.mark.parametrize(("wish", "expression"), [
    ({"contains": "bab"}, ".*bab.*"), ({"ends_with": "dd"}, ".*dd"),
    ({"starts_with": "cc"}, "cc.*"), ({"matching": "(ab|c)*"}, "(ab|c)*"),
])  # fmt: skip
def test_of_an_endless_text_what_is_drawn_fits(wish, expression, monkeypatch):
    model = whimsical_model("abcd")
    made = generate_many(model, ["dab", "c"] * 3, seed=1, length=90, **wish)
    texts = [completion.text for completion in made]
    assert {len(text) for text in texts} == {90}
    assert [x for x in texts if not re.fullmatch(expression, x)] == []
    alone = generate_many(model, ["dab"], seed=1, length=90, **wish)
    assert alone[0] == made[0]
    # The states of long texts are remembered, and found again where they aren't.
    monkeypatch.setattr("textgen.generation.constraints.LONG", 10**9)
    assert made == generate_many(model, ["dab", "c"] * 3, seed=1, length=90, **wish)


@pytest.mark.parametrize(
    ("kind", "wish", "match"),
    [("lines", {"starts_with": "ax"}, "never seen: 'ax'"),
     ("lines", {"contains": "A"}, "try 'a'"),
     ("lines", {"matching": "[xyz]+"}, "nothing.*`matching` '\\[xyz\\]\\+'"),
     ("lines", {"starts_with": "a", "matching": "b.*"}, "nothing.*and `matching`"),
     ("lines", {"starts_with": "abc", "max_length": 2}, "nothing"),
     ("lines", {"contains": "abcd", "length": 3}, "nothing"),
     ("lines", {"min_length": 9, "length": 8}, "nothing"),
     ("lines", {"min_length": 5, "max_length": 4}, "at most `max_length`"),
     ("lines", {"contains": ""}, "at least one"),
     ("lines", {"min_length": 0}, "at least 1"),
     ("lines", {"contains": "a", "stop": "b"}, "`stop` can't"),
     ("lines", {"contains": "a", "beam": 3}, "`beam` can.t"),
     ("lines", {"contains": "a", "length": 20_000}, "at most 10,000"),
     ("lines", {"matching": "a(?!b).*"}, "knows"),
     ("text", {"matching": "a{3}", "length": 4}, "nothing"),
     ("text", {"min_length": 3}, "whose texts end")],
)  # fmt: skip
def test_what_can_not_be_is_refused_before_anything_is_drawn(kind, wish, match):
    model = alphabet_model("\nabcd", kind=kind)
    with pytest.raises(OptionError, match=match):
        generate_many(model, 3, **wish)
    assert model.decoders == []


@pytest.mark.parametrize(
    ("prompts", "wish", "match"),
    [(["ab", "b"], {"starts_with": "a"}, "begins with `prompt` 'b'"),
     (["abc"], {"max_length": 2}, "begins with `prompt`"),
     (["aXb"], {"ends_with": "b"}, "characters that the model knows"),
     (["a"], {"novel": True}, "a number of texts")],
)  # fmt: skip
def test_prompts_with_which_nothing_fits_are_refused(prompts, wish, match):
    model = whimsical_model(SYMBOLS, kind="lines")
    with pytest.raises(OptionError, match=match):
        generate_many(model, prompts, **wish)


def test_what_few_things_fit_ends_the_search(monkeypatch):
    monkeypatch.setattr(batch, "FRUITLESS_LONG_DRAWS", 20)
    model, config = whimsical_model(SYMBOLS, kind="lines"), CompletionConfig()
    wanted = ConstraintConfig(matching="ab|cd|da")
    found = distinct_lines(model, "", 9, 1, config, wanted)
    assert {line.text for line in found} <= {"ab", "cd", "da"}


def test_novel_names_are_none_of_the_list_that_the_model_has_learnt():
    known = set(named_corpora()["dinos"].read_text().lower().split())
    free = {line.text for line in generate_many("dinos", 60, seed=1, temperature=0.4)}
    found = generate_many("dinos", 60, seed=1, temperature=0.4, novel=True)
    names = {line.text for line in found}
    assert len(names) == 60
    assert not names & known
    assert free & known


def test_novel_texts_have_no_long_copy_and_distinct_ones_all_differ(monkeypatch):
    corpus = load_corpus(texts=["abcd" * 30], kind="text")
    monkeypatch.setattr(novel, "own_corpus", lambda model: corpus)
    reciting = alphabet_model("abcd")
    monkeypatch.setattr(batch, "FRUITLESS_LONG_DRAWS", 3)
    assert generate_many(reciting, 2, length=50, novel=True) == []
    assert len(generate_many(reciting, 2, length=39, novel=True)) == 2
    assert len(generate_many(reciting, 2, length=39, distinct=True)) == 1


def test_a_copy_that_is_all_the_prompts_own_is_no_copy(monkeypatch):
    corpus = load_corpus(texts=["abcd" * 20 + "dcba" * 20], kind="text")
    monkeypatch.setattr(novel, "own_corpus", lambda model: corpus)
    known = novel.known_to(alphabet_model("abcd"))
    assert not known("abcd" * 20, "bbaa" * 5)
    assert not known("abcd" * 9 + "abc", "")
    assert known("abcd" * 9 + "abc", "d")
    assert known("", "abcd" * 10)


def test_a_text_that_is_not_found_is_said_and_nothing_is_drawn():
    model = whimsical_model(SYMBOLS, kind="lines")
    model.texts = (SimpleNamespace(name="mine", sha256="0" * 64),)
    with pytest.raises(OptionError, match=r"`novel` can't be told: .* 'mine'"):
        generate_many(model, 2, novel=True)
