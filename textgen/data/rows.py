"""The rows of a table, CSV, TSV, JSON or Parquet: one column of them is the text.

    refuse_table   says in one line that a file is a table, and names its columns
    rows           yields the strings of one column
    labelled_rows  yields them with the labels of another

CSV and TSV begin with a line of the columns' names; a column of a file without one is
given by its number, which may also stand for a name. JSON is a list of objects, or has
an object on each line.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from textgen.data.compression import shown_file
from textgen.data.labels import MOST_LABEL_CHARS, label_name
from textgen.data.sources import Source
from textgen.errors import CorpusError, OptionError, did_you_mean, shortened, shown

CSV, JSON, JSON_LINES, PARQUET = "CSV", "JSON", "JSON lines", "Parquet"
DELIMITERS = {".csv": ",;\t|", ".tsv": "\t", ".tab": "\t"}
ANY_DELIMITER = "\t,;|"
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
LIST_OF_OBJECTS = re.compile(r'\s*\[\s*\{\s*["}]')
# What heads a column, in a file whose name doesn't say that it is a table.
COLUMN_NAME = re.compile(r"[^\W\d_][\w#@$%()/.+-]*( [\w#@$%()/.+-]+){0,4}")
# Of those, the ones by which a row of names is known though all below are like names.
USUAL_NAME = re.compile(
    "author|body|comment|content|date|description|id|label|language|message|name|number|"
    "quote|response|review|sentence|source|subject|summary|target|text|title|tweet|word",
    re.IGNORECASE,
)
LOOKED_AT_OBJECTS, FEWEST_ROWS = 50, 3
QUOTED_IN_TSV = re.compile(r'(^|\t)"', re.MULTILINE)
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
    delimiter: str = ","
    quoted: bool = True
    is_headed: bool = False  # of CSV: whether the first row surely names the columns

    def __str__(self) -> str:
        named = shortened(", ".join(map(shown, self.columns)), SHOWN_COLUMNS_CHARS)
        columns = f" with the columns {named}" if named else ""
        tabs = self.form == CSV and self.delimiter == "\t"
        return f"{'TSV' if tabs else self.form}{columns}"


def refuse_table(source: Source) -> None:
    """Raise a `CorpusError` with the columns if a file looks like a table."""
    if (table := _table_of(source)) is None:
        return
    advice = NAME_IT
    if table.form == CSV:
        advice += ", or its number, from 1 on, where they have no names"
    if table.form != PARQUET:
        advice += AS_IT_IS
    problem = f"expected a text, but {shown_file(source.path)} looks like {table}"
    raise CorpusError(problem, advice)


def rows(source: Source, column: str) -> Iterator[str]:
    """Return an iterator over the strings of a column; rows without one are left out.

    `CorpusError` at once for a file that is no table or has no such column, and later
    for a row of another form or a value that is no string.
    """
    file = shown_file(source.path)
    values = _values(source, _expected_table(source, column), (column,))
    return (
        text
        for place, (value,) in values
        if (text := _text(value, column, file, place)) is not None
    )


def labelled_rows(
    source: Source, column: str, label_column: str
) -> Iterator[tuple[str, str]]:
    """Return an iterator over the strings of a column, each with its row's label.

    Errors are as for `rows`, and a `CorpusError` for a row with a string and no label.
    """
    table = _expected_table(source, column)
    one, other = (_index_of(table, name) for name in (column, label_column))
    if one == other:
        problem = "`label_column` must be another column than that of the texts, but"
        raise OptionError(f"{problem} both are {shown(column)}")
    values = _values(source, table, (column, label_column))
    return _labelled(values, column, label_column, shown_file(source.path))


def _labelled(
    values: Placed, column: str, label_column: str, file: str
) -> Iterator[tuple[str, str]]:
    for place, (value, label) in values:
        if (text := _text(value, column, file, place)) is None:
            continue
        name = label_name(label)
        if name is None:
            wanted = f"a label of 1 to {MOST_LABEL_CHARS} printable characters"
            where = f"column {shown(label_column)} of {file}"
            problem = f"expected {wanted} in {where}, but {place} has {shown(label)}"
            advice = "give the row one, such as unknown, or leave it out"
            raise CorpusError(problem, advice)
        yield text, name


def _text(value: Any, column: str, file: str, place: str) -> str | None:
    """Return a value that is a string or nothing; else raise a `CorpusError`."""
    if value is None or isinstance(value, str):
        return value
    expected = f"expected text in column {shown(column)} of {file}"
    raise CorpusError(f"{expected}, but {place} has {shown(value)}", NAME_ANOTHER)


def _expected_table(source: Source, column: str) -> Table:
    if (table := _table_of(source, expected=True)) is not None:
        return table
    file = shown_file(source.path)
    problem = f"expected rows with a column {shown(column)}, but {file} has none"
    advice = "give CSV, TSV, JSON or Parquet, or neither `column` nor `label_column`"
    raise CorpusError(problem, advice)


def _values(source: Source, table: Table, columns: tuple[str, ...]) -> Placed:
    by_number = [column for column in columns if _is_number(table, column)]
    for column in columns:
        is_known = column in table.columns or column in by_number
        if not is_known and (table.columns or table.form == CSV):
            file, meant = shown_file(source.path), did_you_mean(column, table.columns)
            problem = f"expected a column {shown(column)}, but {file} is {table}{meant}"
            raise CorpusError(problem, "" if meant else "name one of its columns")
    if table.form == PARQUET:
        return _parquet_values(source, columns)
    if table.form != CSV:
        return _json_values(source, table, columns)
    values = _csv_values(source, table, [_index_of(table, x) for x in columns])
    if len(by_number) == len(columns) and not table.is_headed:
        return values
    for column in by_number:
        warnings.warn(
            f"the first row of {shown_file(source.path)} is taken for the columns' "
            f"names: column {column} is {shown(table.columns[int(column) - 1])}",
            stacklevel=2,
        )
    return islice(values, 1, None)  # without the columns' names


def _is_number(table: Table, column: str) -> bool:
    """Tell whether a column of CSV is named by its number, from 1 on."""
    is_number = column not in table.columns and column.isdecimal()
    return table.form == CSV and is_number and 0 < int(column) <= len(table.columns)


def _index_of(table: Table, column: str) -> int | str:
    """Return where a column is; of what has no order, or lacks it, its name."""
    if _is_number(table, column):
        return int(column) - 1
    return table.columns.index(column) if column in table.columns else column


def _table_of(source: Source, *, expected: bool = False) -> Table | None:
    """Return what table a file is by its name or beginning, None if it is none.

    With ``expected`` any consistent number of delimiters makes one.
    """
    if source.is_parquet:
        return Table(PARQUET, tuple(_parquet(source).schema_arrow.names))
    beginning, is_whole = source.beginning()
    if source.suffix in JSON_SUFFIXES:
        return _json_table(beginning) or Table(JSON_LINES, ())
    is_named = source.suffix in DELIMITERS
    if not is_named and (table := _json_table(beginning)) and table.columns:
        return table
    delimiters = DELIMITERS.get(source.suffix, ANY_DELIMITER)
    for table, found in _csv_tables(beginning, is_whole, delimiters):
        if is_named or (expected and len(found) > 1) or _is_surely_csv(table, found):
            return table
    if is_named:  # its rows differ in length, or it has one column
        header = beginning.lstrip("\n").partition("\n")[0]
        delimiter = max(delimiters, key=header.count)
        found = []
        with contextlib.suppress(csv.Error):
            found.extend(
                csv.reader(_lines([beginning.lstrip("\n")]), delimiter=delimiter)
            )
        return _csv_table(list(filter(None, found)), delimiter, quoted=True)
    return None


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


def _csv_tables(
    beginning: str, is_whole: bool, delimiters: str
) -> Iterator[tuple[Table, list[list[str]]]]:
    """Yield each way in which all of the first rows have as many fields, over one."""
    lines = list(_lines([beginning]))
    if not is_whole and len(lines) > 1:
        lines.pop()  # cut where the piece ends
    for delimiter in delimiters:
        quotings: tuple[bool, ...] = (True,)
        if delimiter == "\t":  # texts parted by it often have bare quotation marks
            quotings = (True, False) if QUOTED_IN_TSV.search(beginning) else (False,)
        for quoted in quotings:
            reader = _reader(lines, Table(CSV, (), delimiter, quoted))
            found: list[list[str]] = []
            try:
                found.extend(filter(None, reader))
            except csv.Error:
                is_cut = not is_whole and reader.line_num == len(lines)
                if not is_cut or len(found) < FEWEST_ROWS:
                    continue
            columns_of_rows = set(map(len, found))
            if len(columns_of_rows) == 1 and columns_of_rows != {1}:
                yield _csv_table(found, delimiter, quoted), found
                break


def _csv_table(found: Sequence[list[str]], delimiter: str, quoted: bool) -> Table:
    """Return the table of which these are the first rows."""
    columns = tuple(name.strip() for name in found[0]) if found else ()
    return Table(CSV, columns, delimiter, quoted, _are_names(columns, found[1:]))


def _are_names(columns: Sequence[str], others: Sequence[list[str]]) -> bool:
    """Tell whether the first row of a table names its columns.

    It must look like names, none of which comes again below it; and either one of them
    is a usual name, or most of a column below is not like a name. The first may be
    empty, over the index of a data frame.
    """
    likely = columns[1:] if columns and not columns[0] else columns
    if not likely or not all(map(COLUMN_NAME.fullmatch, likely)):
        return False
    values = list(zip(*others, strict=False))
    if not values or len(set(columns)) < len(columns):
        return False
    if any(name in below for name, below in zip(columns, values, strict=False)):
        return False
    if any(map(USUAL_NAME.fullmatch, likely)):
        return True
    like = (sum(map(bool, map(COLUMN_NAME.fullmatch, below))) for below in values)
    return any(2 * count < len(others) for count in like)


def _is_surely_csv(table: Table, found: list[list[str]]) -> bool:
    """Tell a table from a text whose lines all happen to have as many commas."""
    if len(found) < FEWEST_ROWS:
        return False
    if table.delimiter == "\t":
        return True
    if any(field[:1] == " " for row in found for field in row[1:]):
        return False  # as after a comma in a sentence
    names = set(filter(COLUMN_NAME.fullmatch, table.columns))
    return len(names) == len(table.columns)


def _reader(lines: Iterable[str], table: Table) -> Any:
    quoting: Any = csv.QUOTE_MINIMAL if table.quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=table.delimiter, quoting=quoting, strict=True)


def _csv_values(source: Source, table: Table, indices: Sequence[Any]) -> Placed:
    """Yield the fields of columns, their names among them."""
    file, most = shown_file(source.path), len(table.columns)
    reader = _reader(_lines(source.pieces()), table)
    limit = csv.field_size_limit(MOST_FIELD_CHARS)
    try:
        for row in filter(None, reader):
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
