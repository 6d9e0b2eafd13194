"""Which files a corpus is made of: names, paths, folders, patterns, standard input.

A folder stands for all files in it and below it, a pattern such as ``chapters/*.txt``
for the files that fit. Files and folders whose names begin with a dot are left out. All
files together are put in order, so that it doesn't matter how they were named. What is
named first gives the corpus its name.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from textgen.data.compression import STANDARD_INPUT, SUFFIXES, opened
from textgen.data.text_file import existing_file, text_pieces, unreadable
from textgen.errors import CorpusError, did_you_mean, shown, shown_path

Given = str | os.PathLike[str]
OF_STANDARD_INPUT = "stdin"  # the name of a corpus that comes from there
PARQUET_SUFFIX, PARQUET_MAGIC = ".parquet", b"PAR1"
STRINGS_ARE_TEXTS = "name a corpus or a file, or give strings as `texts`"


class Source:
    """A file, or standard input, that is a corpus or a part of one."""

    def __init__(self, path: Path, name: str, encoding: str | None = None) -> None:
        self.path = path
        self.name = name  # told to people: of a part, relative to the common folder
        self._encoding = encoding
        self._begun: Iterator[str] | None = None  # of standard input

    @property
    def suffix(self) -> str:
        """The name's ending without that of a compression, in lower case."""
        return Path(_uncompressed(self.path.name)).suffix.lower()

    @property
    def is_parquet(self) -> bool:
        """Whether its name or its first bytes say that it is a Parquet file."""
        if self.path == STANDARD_INPUT:
            return False
        try:
            with opened(self.path) as file:
                magic = file.peek(len(PARQUET_MAGIC))[: len(PARQUET_MAGIC)]
        except OSError as error:
            raise unreadable(self.path, error) from None
        return magic == PARQUET_MAGIC or self.suffix == PARQUET_SUFFIX

    def beginning(self) -> tuple[str, bool]:
        """Return the first piece, and whether that is all there is."""
        pieces = self._begun or text_pieces(self.path, self._encoding)
        first = list(itertools.islice(pieces, 2))
        if self.path == STANDARD_INPUT:
            self._begun = itertools.chain(first, pieces)
        return first[0] if first else "", len(first) < 2

    def pieces(self) -> Iterator[str]:
        """Yield the normalised text in pieces; of standard input it can be had once."""
        pieces, self._begun = self._begun, None
        yield from pieces or text_pieces(self.path, self._encoding)


@dataclass(frozen=True)
class Sources:
    """All files of a corpus, in order, and what it is called."""

    name: str
    files: tuple[Source, ...]
    named: bool = False  # a named corpus, not a file that happens to be called so
    path: str | None = (
        None  # of the file, or the folder of all, from the current folder
    )


def data_folder(kind: str) -> Path:
    """Return the folder of ``corpora`` or ``models`` that come with the program."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "assets" / kind
    return installed if installed.is_dir() else package.parent / kind


def named_corpora() -> dict[str, Path]:
    """Return the named corpora, by name: every text file of the corpora's folder."""
    return {path.stem: path for path in sorted(data_folder("corpora").glob("*.txt"))}


def find_sources(
    corpus: Given | Sequence[Given], encoding: str | None = None
) -> Sources:
    """Find the files of a corpus, without reading them.

    `CorpusError` for what can't be found, and for a folder or pattern without a file.
    """
    given = [corpus] if isinstance(corpus, str | os.PathLike) else corpus
    if not isinstance(given, Sequence) or isinstance(given, bytes) or not given:
        problem = f"`corpus` must be a name or a path, but was {shown(corpus)}"
        raise CorpusError(problem, STRINGS_ARE_TEXTS)
    groups = list(map(_files_of, given))
    found = {os.path.realpath(path): path for files in groups for path in files}
    paths = sorted(found.values(), key=lambda path: Path(os.path.abspath(path)).parts)
    folder, names = _common_folder(paths)
    sources = (Source(*each, encoding) for each in zip(paths, names, strict=True))
    named = len(given) == 1 and _is_named(given[0])
    path = None
    if folder is not None and not named:
        is_file = len(paths) == 1 and not os.path.isdir(os.path.expanduser(given[0]))
        path = _from_here(os.path.join(folder, names[0]) if is_file else folder)
    return Sources(_name(given[0], groups[0]), tuple(sources), named, path)


def _is_named(given: Given) -> bool:
    return isinstance(given, str) and given in named_corpora()


def _files_of(given: Given) -> list[Path]:
    """Return the files that one name, path, folder or pattern stands for."""
    if not isinstance(given, str | os.PathLike):
        problem = f"`corpus` must be names or paths, but one was {shown(given)}"
        raise CorpusError(
            problem, "name a corpus or a file, or give strings as `texts`"
        )
    if _is_named(given):
        return [named_corpora()[str(given)]]
    if os.fspath(given) == str(STANDARD_INPUT):
        return [STANDARD_INPUT]
    path = os.path.expanduser(given)
    if os.path.isdir(path):
        return _files_below(path)
    if (file := existing_file(path)) is not None:
        return [file]
    if glob.has_magic(path):
        fitting = []
        with contextlib.suppress(ValueError):  # a name that no file can have
            fitting = glob.glob(path, recursive=True)
        if files := [Path(each) for each in sorted(fitting) if os.path.isfile(each)]:
            return files
        problem = f"expected files that fit {shown_path(given)}, but there are none"
        raise CorpusError(problem, "give another pattern, or the path of a text")
    names = list(named_corpora())
    meant = did_you_mean(str(given), names, quote="'")
    raise CorpusError(
        f"expected a corpus or a file, but there is no {shown_path(given)}{meant}",
        ""
        if meant
        else f"name one of the corpora ({', '.join(names)}) or the path of a text",
    )


def _files_below(folder: str) -> list[Path]:
    """Return all files in a folder and in those below it, without hidden ones."""
    files = []

    def refuse(error: OSError) -> None:
        raise unreadable(folder, error)

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        visible = (os.path.join(place, each) for each in names if each[0] != ".")
        files += [existing_file(each) for each in visible if os.path.isfile(each)]
    if not files:
        problem = f"expected a folder of texts, but {shown_path(folder)} has no file"
        raise CorpusError(problem, "give another folder, or the path of a text")
    return list(filter(None, files))


def _name(given: Given, files: list[Path]) -> str:
    """Return what a folder is called, or else the first file, without its suffixes."""
    folder = os.path.expanduser(given)
    if os.path.isdir(folder) and not _is_named(given):
        return os.path.basename(os.path.abspath(folder)) or files[0].stem
    if files[0] == STANDARD_INPUT:
        return OF_STANDARD_INPUT
    return Path(_uncompressed(files[0].name)).stem


def _common_folder(paths: list[Path]) -> tuple[str | None, list[str]]:
    """Return the folder that holds all files, if one does, and their paths from it."""
    files = [os.path.abspath(path) for path in paths if path != STANDARD_INPUT]
    folder = None
    with contextlib.suppress(ValueError):  # none, or on several drives of Windows
        folder = os.path.commonpath([os.path.dirname(file) for file in files])
    names = [
        OF_STANDARD_INPUT
        if path == STANDARD_INPUT
        else Path(path if folder is None else os.path.relpath(path, folder)).as_posix()
        for path in paths
    ]
    return folder, names


def _from_here(path: str) -> str:
    """Return a path from the current folder or, of one elsewhere, its last name."""
    with contextlib.suppress(ValueError):  # on another drive of Windows
        from_here = Path(os.path.relpath(path))
        if from_here.parts[:1] != ("..",):
            return from_here.as_posix()
    return os.path.basename(path)


def _uncompressed(name: str) -> str:
    """Return a file's name without the suffix of a compression."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name
