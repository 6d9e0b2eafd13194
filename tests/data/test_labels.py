"""Labels of rows: how tables with them are read, and what their symbols are for."""

import json

import numpy as np
import pytest

from textgen.data.corpus import load_corpus
from textgen.data.labels import (
    FIRST_CODE,
    MOST_LABELS,
    Labels,
    label_name,
    label_symbol,
)
from textgen.data.vocabulary import Vocabulary
from textgen.errors import CorpusError, OptionError, VocabularyError

ROWS = [("O joy", "Keats"), ("A cloud", "Shelley"), ("O me", "Keats")]
KEATS, SHELLEY = label_symbol(0), label_symbol(1)
TEXT = f"\n{KEATS}O joy\n{SHELLEY}A cloud\n{KEATS}O me\n"


def as_csv(rows, delimiter=",", names=("text", "author")):
    return "\n".join(delimiter.join(row) for row in [names, *rows]) + "\n"


def as_jsonl(rows):
    return "".join(json.dumps({"text": a, "author": b}) + "\n" for a, b in rows)


def load(path, **options):
    return load_corpus(path, column="text", label_column="author", **options)


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_each_row_of_any_table_begins_with_its_label(form, written, tmp_path):
    if form == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow.parquet import write_table

        texts, authors = zip(*ROWS, strict=True)
        path = tmp_path / "poems.parquet"
        # The file has the columns in another order than they are asked for.
        write_table(pyarrow.table({"author": authors, "text": texts}), path)
    else:
        content = {
            "csv": as_csv(ROWS),
            "tsv": as_csv(ROWS, "\t"),
            "jsonl": as_jsonl(ROWS),
            "json": f"[{','.join(as_jsonl(ROWS).splitlines())}]",
        }[form]
        path = written(content, f"poems.{form}")
    corpus = load(path)
    assert corpus.vocabulary.decode(corpus.ids) == TEXT
    assert corpus.vocabulary.labels == ("Keats", "Shelley")
    assert (corpus.kind, corpus.labels) == ("lines", {"Keats": 2, "Shelley": 1})
    assert corpus.identity["label_column"] == "author"
    assert corpus.identity["labels"] == {"Keats": 2, "Shelley": 1}
    json.dumps(corpus.identity)


def test_without_its_labels_a_corpus_is_what_it_is_by_its_column_alone(written):
    path = written(as_csv(ROWS), "poems.csv")
    plain, labelled = load_corpus(path, column="text"), load(path)
    known = labelled.vocabulary
    assert plain.kind == "lines"
    assert known.decode(known.without_labels(labelled.ids)) == (
        plain.vocabulary.decode(plain.ids)
    )
    assert known.symbols == (*plain.vocabulary.symbols, KEATS, SHELLEY)
    assert plain.identity.keys().isdisjoint({"labels", "label_column"})


def test_rows_with_newlines_have_another_end_and_empty_ones_no_label(written):
    rows = [("One\ntwo\n", "a"), ("\n", "never"), ("Three", "b"), (None, "never")]
    corpus = load(written(as_jsonl(rows), "rows.jsonl"))
    assert (
        corpus.vocabulary.decode(corpus.ids) == f"\0{KEATS}One\ntwo\0{SHELLEY}Three\0"
    )
    assert corpus.labels == {"a": 1, "b": 1}


def test_labels_may_be_numbers(written):
    numbered = written('{"text": "a", "author": 7}\n', "rows.jsonl")
    assert load(numbered).vocabulary.labels == ("7",)


def test_the_identity_of_a_text_has_its_labels_but_not_their_numbers(written):
    path = written(as_csv(ROWS), "poems.csv")
    known = Vocabulary(("a", KEATS, SHELLEY), labels=("Shelley", "Byron"))
    fresh, known_first = load(path), load(path, vocabulary=known)
    assert known_first.vocabulary.labels == ("Shelley", "Byron", "Keats")
    assert known_first.vocabulary.symbols[:3] == known.symbols
    assert known_first.labels == fresh.labels
    assert known_first.sha256 == fresh.sha256
    other = written(as_csv([*ROWS[:2], ("O me", "Shelley")]), "other.csv")
    assert load(other).sha256 != fresh.sha256


def test_the_copies_of_a_row_are_on_one_side_whatever_their_labels(written):
    rng = np.random.default_rng(0)
    texts = [f"row {number}" for number in range(50)] * 4
    rows = [(text, rng.choice(["a", "b", "c"])) for text in texts]
    path = written(as_csv(rows), "rows.csv")
    labelled, plain = load(path), load_corpus(path, column="text")
    known = labelled.vocabulary
    own, other = labelled.split(0.2), plain.split(0.2)
    for one, another in zip(vars(own).values(), vars(other).values(), strict=True):
        assert known.decode(known.without_labels(one)) == (
            plain.vocabulary.decode(another)
        )
    assert len(own.held_out) > 80


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([*ROWS, ("Alas", "")], "line 5 has ''"),
        ([*ROWS, ("Alas", "  ")], "line 5 has '  '"),
        ([*ROWS, ("Alas", "x" * 101)], "1 to 100 printable characters"),
        ([*ROWS, ("Alas", "bell\a")], r"has 'bell\\x07'"),
        ([(f"O {KEATS}", "Keats")], "a character that stands for a label"),
        (
            [("row", f"name {n}") for n in range(MOST_LABELS + 1)],
            "at most 1,000 labels in column 'author'",
        ),
    ],
)
def test_rows_whose_labels_are_no_use_are_refused_in_a_line(rows, expected, written):
    with pytest.raises(CorpusError, match=expected) as raised:
        load(written(as_csv(rows), "rows.csv"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("label", [None, True, 1.5, ["a"], {"a": 1}])
def test_what_is_no_name_is_no_label(label, written):
    with pytest.raises(CorpusError, match="expected a label"):
        load(written(json.dumps({"text": "a", "author": label}), "rows.jsonl"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"label_column": "author"}, "whose texts `column` names"),
        ({"column": "text", "label_column": "text"}, "another column"),
        ({"column": "text", "label_column": 2}, "`label_column` must be a name"),
        ({"column": "text", "label_column": "author", "kind": "text"}, "`kind` lines"),
    ],
)
def test_options_that_do_not_go_with_labels(options, expected, written):
    with pytest.raises(OptionError, match=expected):
        load_corpus(written(as_csv(ROWS), "poems.csv"), **options)
    with pytest.raises(OptionError, match="`texts` or `label_column`"):
        load_corpus(texts=["a"], label_column="author")


def test_a_text_without_rows_is_refused_with_all_that_labels_need(written):
    plain = written("one line\nand another\n", "plain.txt")
    with pytest.raises(OptionError, match="rows of CSV, TSV, JSON"):
        load_corpus(plain, label_column="author")


def test_a_column_that_is_not_there(written):
    with pytest.raises(CorpusError, match="did you mean author"):
        load_corpus(written(as_csv(ROWS), "a.csv"), column="text", label_column="autor")


# The vocabulary


@pytest.mark.parametrize("level", ["character", "word", "bpe"])
def test_an_alphabet_of_labels_only_is_none(level):
    Vocabulary(("a", KEATS, SHELLEY), level, labels=("Keats", "Shelley"))
    with pytest.raises(VocabularyError, match=r"symbols of a text.* labels only"):
        Vocabulary((KEATS, SHELLEY), level, labels=("Keats", "Shelley"))


def test_a_text_is_never_made_of_labels():
    known = Vocabulary(("\n", "a", KEATS), labels=("Keats",))
    assert KEATS not in known
    assert known.fit(f"a{KEATS}").text == "a"
    assert known.fit(f"a{KEATS}", labels=True).text == f"a{KEATS}"
    with pytest.raises(VocabularyError):
        known.encode(f"a{KEATS}")
    assert known.encode(f"a{KEATS}", labels=True).tolist() == [1, 2]
    assert known.decode([1, 2]) == f"a{KEATS}"
    assert known.is_label.tolist() == [False, False, True]
    assert known.extended("ab").labels == ("Keats",)


def test_without_labels_their_symbols_are_characters_as_others():
    known = Vocabulary.from_text(f"a{KEATS}")
    assert KEATS in known
    assert known.encode(f"{KEATS}a").tolist() == [1, 0]
    assert known.without_labels(np.array([0, 1])).tolist() == [0, 1]


def test_a_label_is_found_by_its_name():
    known = Vocabulary(("\n", SHELLEY, KEATS), labels=("John Keats", "Shelley"))
    assert known.label_id("John Keats") == known.label_id(" John  Keats ") == 2
    assert known.label_id("Shelley") == 1
    with pytest.raises(OptionError, match=r"one of 'John Keats', 'Shelley', but.*mean"):
        known.label_id("Shelly")
    for wrong in (7, None, ["Shelley"], ""):
        with pytest.raises(OptionError, match="`label` must be one of"):
            known.label_id(wrong)
    with pytest.raises(OptionError, match="knows no labels"):
        Vocabulary(("a",)).label_id("Keats")


@pytest.mark.parametrize(
    ("symbols", "labels"),
    [
        (("a",), ("Keats",)),
        (("a", KEATS, SHELLEY), ("Keats",)),
        (("a", KEATS, SHELLEY), ("Keats", "Keats")),
        (("a", KEATS), ("",)),
        (("a", KEATS), (" Keats",)),
        (("a", KEATS), ("x" * 101,)),
        (("a", KEATS), (7,)),
        (("a", KEATS), (["Keats"],)),
        (("a", chr(FIRST_CODE + MOST_LABELS)), ("Keats",)),
        (("a",), tuple(map(str, range(MOST_LABELS + 1)))),
    ],
)
def test_labels_without_a_symbol_or_a_name_of_their_own_are_none(symbols, labels):
    with pytest.raises(VocabularyError, match="labels"):
        Vocabulary(symbols, labels=labels)


def test_names_have_single_spaces():
    assert label_name(" William\tShakespeare\n") == "William Shakespeare"
    assert label_name(12) == "12"
    assert [label_name(x) for x in (None, True, 1.5, "", "a\0b", [])] == [None] * 6


def test_labels_are_numbered_as_they_appear():
    labels = Labels("author", known=("b",))
    assert labels.marked("a", "text") == f"{SHELLEY}text"
    assert labels.marked("b", "text") == f"{KEATS}text"
    assert labels.names == ("b", "a")
    assert labels.counts == {"a": 1, "b": 1}


def test_more_labels_than_symbols_for_them_are_refused():
    symbols = ("a", *map(label_symbol, range(MOST_LABELS)))
    names = tuple(map(str, range(MOST_LABELS + 1)))
    assert len(Vocabulary(symbols, labels=names[:-1]).label_ids) == MOST_LABELS
    with pytest.raises(VocabularyError, match="at most 1,000 different names"):
        Vocabulary(symbols, labels=names)
