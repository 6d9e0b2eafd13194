"""How new what a model writes is: against naive counts by Python's own strings."""

import numpy as np
import pytest
from fakes import FakeModel, alphabet_model, whimsical_model

from textgen.data.corpus import Corpus, load_corpus
from textgen.errors import OptionError
from textgen.evaluation import novelty as module
from textgen.evaluation.novelty import Novelty, novelty, novelty_line, novelty_of
from textgen.generation.batch import Completion
from textgen.saving.trained_model import UNKNOWN_TEXT, TrainedText

VERSE = "the cat sat on the mat and the dog lay on the rug; " * 6
NAMES = ["anna", "annabella", "bella", "carla", "clara", "dora", "ella", "fiona"]


def corpus_of(kind: str) -> Corpus:
    if kind == "lines":
        return load_corpus(texts=NAMES)
    return load_corpus(texts=[VERSE + "now some thing else is written here, " * 2])


def model_of(corpus: Corpus, held_out: float = 0.0, **options) -> FakeModel:
    """Return a model of a corpus that draws at random."""
    model = whimsical_model("".join(corpus.vocabulary.symbols), kind=corpus.kind)
    own = {"name": corpus.name, "kind": corpus.kind, "sha256": corpus.sha256}
    model.texts = (TrainedText(**own, held_out=held_out, learning_rate=None,
        schedule="cosine"),)  # fmt: skip
    return model


def judged(monkeypatch, kind: str, texts: list[str], held_out: float = 0.0) -> Novelty:
    """Return the novelty of texts that a model is said to have drawn."""
    corpus = corpus_of(kind)
    drawn = [Completion("", text, 0) for text in texts]
    monkeypatch.setattr(module, "complete_many", lambda *_, **__: iter(drawn))
    return novelty_of(model_of(corpus, held_out), corpus, len(texts))


def stretches(texts: list[str], size: int) -> list[str]:
    return [t[i : i + size] for t in texts for i in range(len(t) - size + 1)]


def share(of: list[bool]) -> float | None:
    return sum(of) / len(of) if of else None


def longest(texts: list[str], source: str) -> int:
    parts = [x for size in range(1, 99) for x in stretches(texts, size)]
    return max((len(part) for part in parts if part in source), default=0)


TEXTS = [
    "the cat sat on the dog and then the rug; the cat sat on the mat and the",
    "on the mat and a mat",
    "",
    "dog lay on the rug; the cat sat on the mat and the dog lay; now some thing",
    "on the mat and a mat",
]


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_shares_of_a_text_are_those_of_a_naive_count(monkeypatch, held_out):
    found = judged(monkeypatch, "text", TEXTS, held_out)
    corpus = corpus_of("text")
    split = corpus.split(held_out)
    own, rest = map(corpus.vocabulary.decode, (split.training, split.held_out))
    for size in (8, 16, 40):
        drawn = stretches(TEXTS, size)
        assert found.novel[size] == share([x not in own for x in drawn])
        assert found.distinct[size] == len(set(drawn)) / len(drawn)
        expected = share([x not in own for x in stretches([rest], size)])
        assert found.novel_held_out.get(size) == (expected if held_out else None)
    assert len(found.copies[0]) == longest(TEXTS, own) > 40
    assert all(copy in own for copy in found.copies)
    assert sorted(found.copies, key=len, reverse=True) == list(found.copies)
    assert len(set(found.copies)) == 3
    assert (found.samples, found.characters) == (5, sum(map(len, TEXTS)))
    assert found.distinct_lines is found.known_lines is found.held_out_lines is None


def test_shares_of_names_are_those_of_a_naive_count(monkeypatch):
    drawn = [
        "anna",
        "anna",
        "clara",
        "dora",
        "dora",
        "annarella",
        "",
        "fella",
        "ella",
        "clara",
        "bella",
    ]
    found = judged(monkeypatch, "lines", drawn, held_out=0.5)
    corpus = corpus_of("lines")
    split = corpus.split(0.5)
    own, rest = (corpus.vocabulary.decode(x).split("\n")
                 for x in (split.training, split.held_out))  # fmt: skip
    own, rest = {*own} - {""}, {*rest} - {""}
    assert own | rest == {*NAMES}
    assert found.known_lines == share([x in own for x in drawn])
    assert found.held_out_lines == share([x in rest for x in drawn]) > 0
    assert found.distinct_lines == len({*drawn}) / len(drawn)
    names = "\n".join(own)
    assert found.novel == {8: share([x not in names for x in stretches(drawn, 8)]),
                           16: None, 40: None}  # fmt: skip
    assert all(copy in names and "\n" not in copy for copy in found.copies)


def test_what_is_within_a_copy_is_no_other_one(monkeypatch):
    found = judged(monkeypatch, "text", ["dog lay on the rug"])
    assert found.copies == ("dog lay on the rug",)


def test_the_end_of_one_line_and_the_beginning_of_the_next_are_no_copy(monkeypatch):
    found = judged(monkeypatch, "lines", ["anna", "annabella", "bella"])
    assert found.copies[0] == "annabella"
    assert found.novel[8] == 0
    assert found.held_out_lines is None
    assert found.novel_held_out == {}


def test_what_is_recited_is_all_known_and_a_seed_repeats_it(monkeypatch):
    corpus = load_corpus(texts=["abcdef" * 40])
    model = alphabet_model("abcdef")
    model.texts = (UNKNOWN_TEXT,)
    found = novelty_of(model, corpus, 3)
    assert found.novel == {8: 0.0, 16: 0.0, 40: 0.0}
    assert found.characters == 3 * module.TEXT_CHARS
    monkeypatch.setattr(module, "own_corpus", lambda model: corpus)
    wild = model_of(corpus)
    options = {"samples": 4, "length": 90, "temperature": 0.9}
    first = novelty(wild, seed=1, **options)
    assert (first.seed, first.temperature, first.characters) == (1, 0.9, 360)
    assert first == novelty(wild, seed=1, **options) != novelty(wild, seed=2, **options)


def test_of_the_shipped_names_some_are_real_and_most_are_not():
    found = novelty("dinos", samples=100)
    assert 0 < found.known_lines < 0.3
    assert found.distinct_lines > 0.8


@pytest.mark.parametrize(
    ("options", "match"),
    [({"samples": 0}, "`samples` must"), ({"length": 0}, "length"),
     ({"seed": -1}, "seed"),
     ({"temperature": -1}, "temperature"), ({"sample": 3}, "`samples`")],
)  # fmt: skip
def test_nonsense_is_refused(options, match):
    with pytest.raises(OptionError, match=match):
        novelty("dinos", **options)


def test_a_model_that_writes_nothing_or_whose_text_is_gone_is_one_line():
    corpus = corpus_of("lines")
    silent = FakeModel("\na", lambda read: np.array([0.0, -1e4]), kind="lines")
    silent.texts = (UNKNOWN_TEXT,)
    with pytest.raises(OptionError, match="writes nothing"):
        novelty_of(silent, corpus, 3)
    assert novelty_line(silent, corpus, seconds=60) == ""
    with pytest.raises(OptionError, match="isn't known"):
        novelty(silent)


@pytest.mark.parametrize("kind", ["lines", "text"])
def test_a_line_tells_it_at_the_end_of_a_training_that_was_not_short(kind):
    corpus = corpus_of(kind)
    model = model_of(corpus)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    line = novelty_line(model, corpus, seconds=60)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert novelty_line(model, corpus, seconds=5) == ""
    config = module.CompletionConfig(length=module.FEW_CHARS)
    count = module.FEW_LINES if kind == "lines" else module.FEW_TEXTS
    found = novelty_of(model, corpus, count, config)
    assert line.startswith("novelty: ")
    if kind == "lines":
        assert f"{found.known_lines:.0%} of 200 lines" in line
        assert f"{found.distinct_lines:.0%} are distinct" in line
    else:
        assert f"{found.novel[16]:.1%} of all stretches of 16" in line
        assert line.endswith(f"has {len(found.copies[0])}")


def test_of_a_very_long_text_the_beginning_is_looked_at(monkeypatch):
    corpus = corpus_of("text")
    model = model_of(corpus)
    usual = novelty_line(model, corpus, seconds=60)
    monkeypatch.setattr(module, "MAX_CHARS", 20)
    cut = novelty_line(model, corpus, seconds=60)
    assert "aren't in the text;" in usual
    assert "aren't in the text's first 20 characters;" in cut
