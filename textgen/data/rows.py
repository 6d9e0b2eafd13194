"""The rows of a table, CSV, TSV, JSON or Parquet: one column of them is the text.

    refuse_table   says in one line that a file is a table, and names its columns
    rows           yields the strings of one column, and the labels of another

The first row of CSV and TSV names the columns. JSON is a list of objects, or has an
object on each line.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from textgen.data.compression import shown_file
from textgen.data.labels import MOST_LABEL_CHARS, label_name
from textgen.data.sources import Source
from textgen.errors import CorpusError, OptionError, did_you_mean, shortened, shown

JSON, JSON_LINES, PARQUET = "JSON", "JSON lines", "Parquet"
DELIMITERS = {".csv": ",;", ".tsv": "\t", ".tab": "\t"}
ANY_DELIMITER = ",;\t"
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
LIST_OF_OBJECTS = re.compile(r'\s*\[\s*\{\s*["}]')
LOOKED_AT_OBJECTS = 50
MOST_FIELD_CHARS = 1 << 24  # more means that a quotation mark is never closed
SHOWN_COLUMNS_CHARS = 240
ROWS_AT_ONCE = 4096
INSTALL_PYARROW = "install it with: pip install 'textgen-lstm[parquet]'"
NAME_IT = "name the one to read by `column`"
AS_IT_IS = "; or give `kind` to train on the file as it is"
NAME_ANOTHER = "name another `column`"

# Values of some columns, and where each row of them stands.
Placed = Iterator[tuple[str, tuple[Any, ...]]]


@dataclass(frozen=True)
class Table:
    """What the beginning of a file says of its rows."""

    form: str
    columns: tuple[str, ...]  # of JSON those that its first rows have
    delimiter: str = ""  # of CSV and TSV

    def __str__(self) -> str:
        named = shortened(", ".join(map(shown, self.columns)), SHOWN_COLUMNS_CHARS)
        return f"{self.form} with the columns {named}" if named else self.form


def refuse_table(source: Source) -> None:
    """Raise a `CorpusError` with the columns if a file is a table."""
    if (table := _table_of(source)) is None:
        return
    advice = NAME_IT if table.form == PARQUET else NAME_IT + AS_IT_IS
    problem = f"expected a text, but {shown_file(source.path)} looks like {table}"
    raise CorpusError(problem, advice)


def rows(
    source: Source, column: str, label_column: str | None = None
) -> Iterator[tuple[str, str]]:
    """Return an iterator over a column's strings, each with its row's label, if any.

    Rows without a string are left out. `CorpusError` at once where there is no such
    column, and later for a row of another form, a value that is no string, or a string
    without a label in the ``label_column``.
    """
    if column == label_column:
        problem = "`label_column` must be another column than that of the texts, but"
        raise OptionError(f"{problem} both are {shown(column)}")
    columns = (column,) if label_column is None else (column, label_column)
    table = _table_of(source) or _csv_table(source)
    file = shown_file(source.path)
    for name in columns:
        _check_column(table, name, file)
    if table.delimiter:
        values = _csv_values(source, table, columns)
    elif table.form == PARQUET:
        values = _parquet_values(source, columns)
    else:
        values = _json_values(source, table, columns)
    return _texts(values, columns, file)


def _check_column(table: Table, column: str, file: str) -> None:
    """Raise a `CorpusError` with the columns that there are if this is none of them."""
    if column in table.columns or not (table.columns or table.delimiter):
        return
    advice = "name one of its columns"
    if table.delimiter:
        advice += "; its first row must name them"
    meant = did_you_mean(column, table.columns)
    problem = f"expected a column {shown(column)}, but {file}, read as {table}, has"
    raise CorpusError(f"{problem} none{meant}", "" if meant else advice)


def _texts(
    values: Placed, columns: tuple[str, ...], file: str
) -> Iterator[tuple[str, str]]:
    """Yield the strings among the values, with their labels; check what they are."""
    for place, (text, *label) in values:
        if text is None:
            continue
        if not isinstance(text, str):
            expected = f"expected text in column {shown(columns[0])} of {file}"
            problem = f"{expected}, but {place} has {shown(text)}"
            raise CorpusError(problem, NAME_ANOTHER)
        name = label_name(label[0]) if label else ""
        if name is None:
            wanted = f"a label of 1 to {MOST_LABEL_CHARS} printable characters"
            where = f"column {shown(columns[1])} of {file}"
            problem = f"expected {wanted} in {where}, but {place} has {shown(label[0])}"
            advice = "give the row one, such as unknown, or leave it out"
            raise CorpusError(problem, advice)
        yield text, name


def _table_of(source: Source) -> Table | None:
    """Return what table a file is by its ending or as JSON begins, None if it is none.

    Whether a file of another name is CSV can't be told.
    """
    if source.is_parquet:
        return Table(PARQUET, tuple(_parquet(source).schema_arrow.names))
    if source.suffix in DELIMITERS:
        return _csv_table(source)
    table = _json_table(source.beginning()[0])
    if source.suffix in JSON_SUFFIXES:
        return table or Table(JSON_LINES, ())
    return table if table and table.columns else None


# JSON


def _json_table(beginning: str) -> Table | None:
    """Return the table of a text that begins with a JSON object or a list of them."""
    if LIST_OF_OBJECTS.match(beginning):
        found = _objects(beginning[beginning.index("[") + 1 :], separator=",")
        return Table(JSON, _keys(found))
    if beginning.lstrip()[:1] == "{":
        return Table(JSON_LINES, _keys(_objects(beginning, separator="")))
    return None


def _objects(text: str, separator: str) -> Iterator[Any]:
    """Yield the JSON values at the beginning of a text, as far as they are whole."""
    decoder = json.JSONDecoder()
    for _ in range(LOOKED_AT_OBJECTS):
        text = text.lstrip().removeprefix(separator).lstrip()
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            return
        yield value
        text = text[end:]


def _keys(values: Iterable[Any]) -> tuple[str, ...]:
    objects = (value for value in values if isinstance(value, dict))
    return tuple(dict.fromkeys(chain.from_iterable(objects)))


def _json_values(source: Source, table: Table, columns: tuple[str, ...]) -> Placed:
    file = shown_file(source.path)
    for place, text in _json_texts(source, table.form):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = f"{place} is none ({error or 'it has no end'})"
            problem = f"expected JSON, an object for each row, but of {file} {reason}"
            raise CorpusError(problem, "mend it, or leave it out") from None
        listed = value if table.form == JSON else [value]
        for number, row in enumerate(listed, 1):
            if table.form == JSON:
                place = f"row {number:,}"
            if not isinstance(row, dict):
                problem = f"expected an object for each row, but {place} of {file} is"
                raise CorpusError(f"{problem} {shown(row)}", "mend it, or leave it out")
            yield place, tuple(map(row.get, columns))


def _json_texts(source: Source, form: str) -> Iterator[tuple[str, str]]:
    """Yield each JSON text of a file, and what it is: the whole, or its lines."""
    if form == JSON:
        yield "the whole", "".join(source.pieces())
        return
    for number, line in enumerate(_lines(source.pieces()), 1):
        if line.strip():
            yield f"line {number:,}", line


# CSV and TSV


def _csv_table(source: Source) -> Table:
    """Return the table whose columns the first row of a file names.

    Of the delimiters that its ending allows, the one that this row has most often is
    taken: German spreadsheets write CSV with semicolons.
    """
    beginning = source.beginning()[0].lstrip("\n")
    allowed = DELIMITERS.get(source.suffix, ANY_DELIMITER)
    delimiter = max(allowed, key=beginning.partition("\n")[0].count)
    names: list[str] = []
    with contextlib.suppress(csv.Error):
        names = next(_reader([beginning], delimiter), [])
    form = "TSV" if delimiter == "\t" else "CSV"
    return Table(form, tuple(name.strip() for name in names), delimiter)


def _reader(pieces: Iterable[str], delimiter: str) -> Any:
    return csv.reader(_lines(pieces), delimiter=delimiter, strict=True)


def _csv_values(source: Source, table: Table, columns: tuple[str, ...]) -> Placed:
    file, most = shown_file(source.path), len(table.columns)
    indices = [table.columns.index(column) for column in columns]
    reader = _reader(source.pieces(), table.delimiter)
    limit = csv.field_size_limit(MOST_FIELD_CHARS)
    try:
        found = filter(None, reader)  # without empty lines
        next(found, None)  # the names of the columns
        for row in found:
            place = f"line {reader.line_num:,}"
            if not max(indices) < len(row) <= most:
                received = f"{place} has {len(row)}, {shown(table.delimiter.join(row))}"
                problem = (
                    f"expected {most} fields in each row of {file}, but {received}"
                )
                raise CorpusError(problem, "mend it, or leave it out")
            yield place, tuple(row[index] for index in indices)
    except csv.Error as error:
        problem = f"{file} has something else up to line {reader.line_num:,} ({error})"
        advice = "quote a field that holds quotation marks, and double these"
        raise CorpusError(f"expected rows of {table}, but {problem}", advice) from None
    finally:
        csv.field_size_limit(limit)


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text, each with its newline."""
    begun: list[str] = []
    for piece in pieces:
        *lines, rest = piece.split("\n")
        for line in lines:
            yield "".join([*begun, line, "\n"])
            begun = []
        begun.append(rest)
    if last := "".join(begun):
        yield last


# Parquet


def _parquet(source: Source) -> Any:
    """Open a Parquet file, for which pyarrow is needed."""
    file = shown_file(source.path)
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        problem = f"{file} is a Parquet file, and pyarrow is not installed"
        raise CorpusError(problem, INSTALL_PYARROW) from None
    try:
        return ParquetFile(source.path)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        problem = f"expected a Parquet file, but {file} can't be read ({reason})"
        raise CorpusError(problem, "copy or make it anew") from error


def _parquet_values(source: Source, columns: tuple[str, ...]) -> Placed:
    file = _parquet(source)
    number = 0
    wanted = list(columns)
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=wanted, use_threads=False):
        names = batch.schema.names  # in the file's order
        values = (batch.column(names.index(x)).to_pylist() for x in columns)
        for row in zip(*values, strict=True):
            number += 1
            yield f"row {number:,}", row
