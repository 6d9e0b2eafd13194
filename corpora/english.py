"""Mix verse and prose into one text, for a base model of English.

    python corpora/english.py verse.txt prose.txt.xz

All of the prose and every tenth block of the verse go into ``english.txt``, in turns,
so that whatever share of its end is held out has both. Paragraphs of the prose that
share 16 letters running with the sonnets are left out, as such lines of the verse were
before: nothing of the sonnets is in it, and a model of them may begin from this text.
`prepare.py` makes the verse; README.md in this folder says what the prose is. Both, and
what is written, are checked against their SHA-256 sums. Standard library only.
"""

from __future__ import annotations

import argparse
import lzma
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from overlap import letters_of, stretches_of
from prepare import RECIPES, PrepareError, check_sha256, committed, run
from verse import STRETCH, shares_stretch

CORPUS = "english.txt"
SHA256 = "ac68c60e4d453dab1273367b423c3ea4e07e3b33d94e19222d6db018c5b96249"
PROSE_SHA256 = "2ddea5c3fcca3ade64d6a339a160d6f418f633ca55f64fe5f0135f7646a19e55"
(VERSE_SHA256,) = (recipe.sha256 for recipe in RECIPES if recipe.corpus == "verse.txt")

# Characters in a block: some pages of a novel, a long poem or a dozen short ones.
BLOCK = 20_000
# One block of verse in so many is taken: half as much verse as there is prose.
VERSE_TAKEN = 10


def blocks_of(units: Iterable[str], separator: str, size: int = BLOCK) -> list[str]:
    """Return units put together in blocks, each as soon as it has reached a size.

    >>> blocks_of(["one", "two", "three"], " ", size=7)
    ['one two', 'three']
    """
    blocks, block, length = [], [], 0
    for unit in units:
        block.append(unit)
        length += len(unit) + len(separator)
        if length >= size:
            blocks.append(separator.join(block))
            block, length = [], 0
    return [*blocks, separator.join(block)] if block else blocks


def in_turns(many: Sequence[str], few: Sequence[str]) -> list[str]:
    """Return two sequences as one, the second spread evenly over the first.

    >>> in_turns(["a", "b", "c", "d"], ["1", "2"])
    ['a', 'b', '1', 'c', 'd', '2']
    """
    mixed, taken = [], 0
    for number, one in enumerate(many, start=1):
        due = number * len(few) // len(many)
        mixed += [one, *few[taken:due]]
        taken = due
    return mixed


def mix(verse: str, prose: str, sonnets: str) -> str:
    """Return prose and a part of the verse in turns, an empty line between blocks.

    Args:
        verse: lines.
        prose: paragraphs with an empty line between them.
        sonnets: no paragraph that shares `STRETCH` letters running with them stays.
    """
    of_sonnets = stretches_of(letters_of(sonnets), STRETCH)
    paragraphs = [
        paragraph
        for paragraph in prose.rstrip("\n").split("\n\n")
        if not shares_stretch(letters_of(paragraph), of_sonnets)
    ]
    prose_blocks = blocks_of(paragraphs, "\n\n")
    verse_blocks = blocks_of(verse.rstrip("\n").split("\n"), "\n")[::VERSE_TAKEN]
    mixed = in_turns(prose_blocks, [block.strip("\n") for block in verse_blocks])
    return re.sub("\n{3,}", "\n\n", "\n\n".join(mixed)) + "\n"


def read_text(path: Path, sha256: str) -> str:
    """Return a text, unpacked if it is an xz file, having checked its sum.

    Raises:
        PrepareError: if it can't be read or isn't the text that is expected.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".xz":
            data = lzma.decompress(data)
    except (OSError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or "damaged xz file"
        raise PrepareError(
            f"expected a text, but {str(path)!r} can't be read ({reason}): "
            "check the path"
        ) from error
    check_sha256(path.name, data, sha256)
    return data.decode("utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the mix; return the exit status, as `run` does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verse", type=Path, help="verse.txt")
    parser.add_argument("prose", type=Path, help="prose.txt, or packed as prose.txt.xz")

    def make(options: argparse.Namespace) -> dict[str, bytes]:
        verse = read_text(options.verse, VERSE_SHA256)
        prose = read_text(options.prose, PROSE_SHA256)
        corpus = mix(verse, prose, committed("sonnets.txt")).encode("utf-8")
        check_sha256(CORPUS, corpus, SHA256)
        return {CORPUS: corpus}

    return run(parser, make, arguments)


if __name__ == "__main__":
    sys.exit(main())
