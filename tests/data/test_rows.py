"""Rows of CSV, TSV, JSON and Parquet: one column of them, or one line that says no."""

import csv
import gzip
import json
import re
import sys

import pandas
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from textgen.data import rows as module
from textgen.data.rows import refuse_table
from textgen.data.sources import find_sources
from textgen.errors import CorpusError

TEXTS = ["plain", "with, comma", 'says "so"', "two\nlines", "tab\there", "naïve 😀"]


def source(path):
    (file,) = find_sources(path).files
    return file


def rows(source, column):
    return [text for text, _ in module.rows(source, column)]


def failure(call, *arguments) -> str:
    with pytest.raises(CorpusError) as caught:
        list(call(*arguments) or ())
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800
    assert caught.value.advice or "did you mean" in message
    return message


@pytest.fixture
def table(tmp_path):
    """Return a function that writes the texts as a table of some form."""
    frame = pandas.DataFrame({"id": range(6), "text": TEXTS, "score": 0.5})

    def write(form, name=None):
        path = tmp_path / (name or f"table.{form}")
        if form in ("csv", "tsv"):
            frame.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t"}[form])
        elif form in ("json", "jsonl"):
            frame.to_json(path, orient="records", lines=form == "jsonl")
        else:
            parquet.write_table(pyarrow.Table.from_pandas(frame), path)
        return path

    return write


FORMS = ["csv", "tsv", "json", "jsonl", "parquet"]


@pytest.mark.parametrize("form", FORMS)
def test_a_column_of_what_pandas_writes(table, form):
    """Also when nothing of its name says what it is."""
    for path in (table(form), table(form, "table"), table(form, "table.txt")):
        assert rows(source(path), "text") == TEXTS


@pytest.mark.parametrize("form", FORMS)
def test_without_a_column_it_is_one_line_that_names_them(table, form):
    is_told_by_its_name = form in ("csv", "tsv")
    for name in [None, *([] if is_told_by_its_name else ["table", "table.txt"])]:
        path = table(form, name)
        message = failure(refuse_table, source(path))
        assert "with the columns 'id', 'text', 'score'" in message
        assert "`column`" in message
        assert ("`kind`" in message) == (form != "parquet")


@pytest.mark.parametrize("form", FORMS)
def test_a_column_that_is_not_there_or_no_text(table, form):
    path = table(form)
    assert "did you mean text?" in failure(rows, source(path), "txt")
    assert "'id', 'text', 'score'" in failure(rows, source(path), "message")
    if form not in ("csv", "tsv"):
        assert "has 0" in failure(rows, source(path), "id")


@given(st.lists(st.lists(st.text('ab,;\t"\n ', max_size=5), min_size=3, max_size=3)))
def test_csv_is_read_as_the_standard_library_writes_it(tmp_path_factory, found):
    path = tmp_path_factory.getbasetemp() / "some.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a", "b", "c"], *found])
    assert rows(source(path), "b") == [row[1] for row in found]


def test_a_compressed_table(table):
    path = table("csv")
    packed = path.with_name("table.csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert rows(source(packed), "text") == TEXTS
    assert "CSV with the columns" in failure(refuse_table, source(packed))


@pytest.mark.parametrize(
    ("name", "content", "column", "expected"),
    [("x.csv", "a;b\n1,5;x\n2;y\n", "b", ["x", "y"]),
     ("x.csv", "text\nx\n\ny\n", "text", ["x", "y"]),
     ("x.csv", "\ufeffid, text \r\n1,x\r\n", "text", ["x"]),
     ("x.csv", "a,b\nx\n,y\n", "a", ["x", ""]), ("x.csv", "a,b", "b", []),
     ("x.tsv", 'a\tb\n1\tHe, "Bo"; ""\n', "b", ['He, "Bo"; ""']),
     ("x.tsv", 'a\tb\n1\t"two\nlines"\n', "b", ["two\nlines"]),
     ("x.txt", "en\tfr\nGo.\tVa !\nHi.\tSalut !", "fr", ["Va !", "Salut !"]),
     ("x.json", '[{"a": "x"}, {"a": null}, {"b": 1}, {"a": ""}]', "a", ["x", ""]),
     ("x.json", '{"a": "x"}\n{"a": "y"}\n', "a", ["x", "y"]),
     ("x.ndjson", '\n{"a": "x"}\n\n{"a": "\\u00e9\\n"}', "a", ["x", "é\n"])],
)  # fmt: skip
def test_forms_that_people_have(written, name, content, column, expected):
    assert rows(source(written(content, name)), column) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("x.csv", "1,x\n2,y\n", "columns '1', 'x'.* first row must name them"),
     ("x.csv", "a,b\n1,x\n2,y,z\n", "2 fields in each row of .*line 3 has 3"),
     ("x.csv", "a,b\n1,x\n2\n", "line 3 has 1"),
     ("x.csv", 'a,b\n1,"x\n2,y\n', "unexpected end of data"),
     ("x.csv", 'a,b\n1,"x" y\n', "line 2 .*quote a field"),
     ("x.tsv", 'a\tb\n1\t"Hi," he said.\n', "line 2 .*quote a field"),
     ("x.jsonl", '{"b": "x"}\n{"b": "y"\n', "line 2 is none"),
     ("x.jsonl", '{"b": "x"}\n["y"]\n', "line 2 of .* is .'y'."),
     ("x.jsonl", '{"b": "x"}\n{"b": 7}\n', "line 2 has 7"),
     ("x.jsonl", '{"b": ' + "[" * 9000 + "\n", "line 1 is none"),
     ("x.json", '[{"b": "x"}, {"b": "y"', "the whole is none"),
     ("x.json", '[{"b": "x"}, 7]', "row 2 of .* is 7"),
     ("x.json", '[{"b": "x"}, {"b": ["y"]}]', "row 2 has .'y'."),
     ("x.json", '{\n "b": "x"\n}', "line 1 is none"),
     ("x.parquet", "abc", "can't be read"), ("x.csv", "", "read as CSV, has none"),
     ("x.txt", "just a text, no more\n", "columns 'just a text', 'no more'")],
)  # fmt: skip
def test_rows_of_another_form_are_told_with_their_place(written, name, content, said):
    message = failure(rows, source(written(content, name)), "b")
    assert re.search(said, message), message


@pytest.mark.parametrize(
    "content",
    ["Smith, John\nDoe, Jane\nRoe, Richard\n" * 9,
     "[Intro]\nHey, hey\n[Verse]\nla, la\n",
     "{ this is no JSON }\n", "One, two,\nthree, four,\nfive, six,\n" * 5, "a,b\n",
     "I came, saw; and won.\nYou came, lost; and left.\nWe, too; yes.\n", "name\n" * 50,
     "x = f(a, b)\ny = g(c, d)\nz = h(e, f)\n", "[1, 2, 3]\n", '"quoted"\n' * 20],
)  # fmt: skip
def test_texts_that_are_no_tables_are_let_pass(written, content):
    refuse_table(source(written(content)))


@pytest.mark.parametrize("name", ["sonnets", "dinos", "shakespeare"])
def test_named_corpora_are_no_tables(name):
    refuse_table(source(name))


def test_a_field_without_end_is_refused_and_the_module_left_as_it_was(
    written, monkeypatch
):
    monkeypatch.setattr(module, "MOST_FIELD_CHARS", 1000)
    limit = csv.field_size_limit()
    content = "a,b\n" + "1,x\n" * 9 + '2,"' + "y" * 2000
    assert "field limit (1000)" in failure(rows, source(written(content, "x.csv")), "b")
    assert csv.field_size_limit() == limit
    long = "a,b\n1," + "y" * 200_000 + "\n"
    monkeypatch.undo()
    assert len(rows(source(written(long, "x.csv")), "b")[0]) == 200_000


def test_parquet_without_pyarrow_is_told_with_what_to_install(table, monkeypatch):
    path = table("parquet", "table")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for call in (refuse_table, rows):
        arguments = (source(path), "text")[: 1 + (call is rows)]
        message = failure(call, *arguments)
        assert "pip install 'textgen-lstm[parquet]'" in message


def test_strings_of_a_parquet_file_in_any_of_its_forms(tmp_path):
    values = ["x", None, "y", "x"]
    path = tmp_path / "x.parquet"
    for form in (pyarrow.string(), pyarrow.large_string(),
                 pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):  # fmt: skip
        column = pyarrow.array(values, pyarrow.string()).cast(form)
        parquet.write_table(pyarrow.table({"a": column}), path)
        assert rows(source(path), "a") == ["x", "y", "x"]


def test_a_long_file_is_read_in_pieces(written):
    """Its rows are longer than a piece, and pieces end within rows."""
    texts = ["x" * 300_000, "y\n" * 200_000, "z"]
    lines = "".join(json.dumps({"a": text}) + "\n" for text in texts)
    assert rows(source(written(lines, "x.jsonl")), "a") == texts
