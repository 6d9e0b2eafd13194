"""What stands beside a model's figure, against published figures and plain calls."""

import bz2
import lzma
import math

import numpy as np
import pytest

from textgen.data.corpus import load_corpus
from textgen.data.vocabulary import Vocabulary
from textgen.evaluation import references
from textgen.evaluation.ngram import (
    ngram_nats,
    readable_in_lines,
    readable_in_text,
)
from textgen.evaluation.references import reference_nats

VERSE = "Shall I compare thee to a summer's day?\nThou art more lovely.\n" * 30


def test_held_out_sonnets_are_compressed_as_published_and_counted_better():
    """The published 1.773 of bz2 and 2.010 of xz; the best Witten–Bell n-gram 1.758."""
    corpus = load_corpus("sonnets")
    split = corpus.split(0.1)
    found = reference_nats(split.held_out, corpus.vocabulary, before=split.training)
    assert list(found) == ["n-gram", "bz2", "xz"]
    assert found["bz2"] == pytest.approx(1.773, abs=2e-3)
    assert found["xz"] == pytest.approx(2.010, abs=2e-3)
    assert 1.5 < found["n-gram"] < 1.65


def test_from_nothing_a_text_takes_what_its_compressed_form_takes():
    vocabulary = Vocabulary.from_text(VERSE)
    ids = vocabulary.encode(VERSE)
    found = reference_nats(ids, vocabulary)
    sizes = {"bz2": len(bz2.compress(VERSE.encode(), 9))}
    sizes["xz"] = len(lzma.compress(VERSE.encode(), preset=9 | lzma.PRESET_EXTREME))
    for name, size in sizes.items():
        bits = 8 * size / len(VERSE)
        assert found[name] / math.log(2) == pytest.approx(bits, rel=0.02)
    nats = ngram_nats(ids, readable_in_text(ids), len(vocabulary))
    assert found["n-gram"] == pytest.approx(nats[1:].mean())
    later = reference_nats(ids, vocabulary, first=40)
    assert later["n-gram"] == pytest.approx(nats[40:].mean())


def test_bytes_count_and_not_symbols_where_utf8_takes_several():
    plain, wide = "abcd" * 400, "ábcd" * 400
    found = []
    for text in (plain, wide):
        vocabulary = Vocabulary.from_text(text)
        found.append(reference_nats(vocabulary.encode(text), vocabulary))
    expected = 8 * math.log(2) * len(bz2.compress(wide.encode())) / len(wide)
    assert found[1]["bz2"] == pytest.approx(expected)
    assert found[1]["n-gram"] == pytest.approx(found[0]["n-gram"])


def test_lines_are_read_each_from_its_beginning():
    vocabulary = Vocabulary.from_text("\nabc")
    before, ids = vocabulary.encode("\nab\ncab\n"), vocabulary.encode("\nabc\nc\n")
    alone = reference_nats(ids, vocabulary, 0)
    nats = ngram_nats(ids, readable_in_lines(ids, 0), 4)
    assert alone["n-gram"] == pytest.approx(nats[1:].mean())
    assert alone["bz2"] == 8 * math.log(2) * len(bz2.compress(b"abc\nc\n")) / 6
    after = reference_nats(ids, vocabulary, 0, before=before)
    joined = np.concatenate([before, ids[1:]])
    nats = ngram_nats(joined, readable_in_lines(joined, 0), 4)
    assert after["n-gram"] == pytest.approx(nats[len(before) :].mean())
    assert after["n-gram"] < alone["n-gram"]


def test_of_a_long_text_the_beginning_is_read_and_of_what_was_before_the_end(
    monkeypatch,
):
    vocabulary = Vocabulary.from_text(VERSE)
    ids = vocabulary.encode(VERSE)
    first = reference_nats(ids[:200], vocabulary)
    near = reference_nats(ids[300:360], vocabulary, before=ids[160:300])
    monkeypatch.setattr(references, "MOST_CHARS", 200)
    assert reference_nats(ids, vocabulary) == first
    assert reference_nats(ids[300:360], vocabulary, before=ids[:300]) == near
    assert reference_nats(ids, vocabulary, before=ids) == first


def test_xz_loses_nothing_by_a_smaller_dictionary():
    data = VERSE.encode() * 9
    compressed = references.COMPRESSORS["xz"](data)
    assert lzma.decompress(compressed) == data
    usual = len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    assert len(compressed) <= usual
    assert lzma.decompress(references.COMPRESSORS["xz"](b"a")) == b"a"
