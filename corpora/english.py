"""Mix prose, verse and plays into one text, for a base model of English.

    python corpora/english.py verse.txt prose.txt.xz prose-2.txt.xz

All of the prose, every third block of the verse and the first nine tenths of
``shakespeare.txt`` go into ``english.txt``, in turns, so that whatever share of its end
is held out has something of each. Every third block of the prose is wrapped, as the
texts that people bring often are. Paragraphs that share 16 letters running with the
sonnets are left out, as such lines of the verse were before: nothing of the sonnets is
in it, and a model of them may begin from this text. `prepare.py` makes the verse;
README.md in this folder says what the prose is. They, and what is written, are checked
against their SHA-256 sums. Standard library only.
"""

from __future__ import annotations

import argparse
import lzma
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from overlap import letters_of, stretches_of
from prepare import RECIPES, PrepareError, check_sha256, committed, run
from verse import STRETCH, shares_stretch

CORPUS = "english.txt"
SHA256 = "ea20cdcf26c6b44128315f54f501b4869709de27202bd637f1e6897be6ddaa05"
PROSE_SHA256 = (
    "2ddea5c3fcca3ade64d6a339a160d6f418f633ca55f64fe5f0135f7646a19e55",
    "7a0e73afbd76bd055c8b5e98f1fc36fbd46510ae35e97d655f8d8b27aab2636f",
)
(VERSE_SHA256,) = (recipe.sha256 for recipe in RECIPES if recipe.corpus == "verse.txt")

# Characters in a block: some pages of a novel, a long poem or a dozen short ones.
BLOCK = 20_000
# One block of verse in so many is taken: half as much verse as there is prose.
VERSE_TAKEN = 3
# One block of prose in so many is wrapped, to each of these widths in turn.
WRAPPED, WIDTHS = 3, (64, 68, 72, 76)
# What follows is never trained on, so that a model may be measured on it.
SHAKESPEARE_SHARE = 0.9


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


def wrapped(blocks: Iterable[str]) -> list[str]:
    """Return blocks of paragraphs, one in so many of them wrapped at words."""
    result = []
    for number, block in enumerate(blocks):
        if number % WRAPPED == 0:
            width = WIDTHS[number // WRAPPED % len(WIDTHS)]
            paragraphs = block.split("\n\n")
            block = "\n\n".join(
                textwrap.fill(paragraph, width, break_on_hyphens=False)
                for paragraph in paragraphs
            )
        result.append(block)
    return result


def mix(verse: str, prose: str, plays: str, sonnets: str) -> str:
    """Return prose, plays and a part of the verse in turns, parted by empty lines.

    Args:
        verse: lines.
        prose: paragraphs with an empty line between them.
        plays: the works whose last tenth is left out.
        sonnets: no paragraph of the prose or the plays that shares `STRETCH` letters
            running with them stays.
    """
    of_sonnets = stretches_of(letters_of(sonnets), STRETCH)

    def paragraphs_of(text: str) -> list[str]:
        return [
            paragraph
            for paragraph in text.strip("\n").split("\n\n")
            if not shares_stretch(letters_of(paragraph), of_sonnets)
        ]

    prose_blocks = wrapped(blocks_of(paragraphs_of(prose), "\n\n"))
    plays = plays[: int(SHAKESPEARE_SHARE * len(plays))]
    plays_blocks = blocks_of(paragraphs_of(plays), "\n\n")
    verse_blocks = blocks_of(verse.rstrip("\n").split("\n"), "\n")[::VERSE_TAKEN]
    mixed = in_turns(prose_blocks, [block.strip("\n") for block in verse_blocks])
    mixed = in_turns(mixed, plays_blocks)
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
    parser.add_argument("more_prose", type=Path, help="prose-2.txt, or packed")

    def make(options: argparse.Namespace) -> dict[str, bytes]:
        verse = read_text(options.verse, VERSE_SHA256)
        files = (options.prose, options.more_prose)
        prose = "\n\n".join(
            read_text(file, sha256).strip("\n")
            for file, sha256 in zip(files, PROSE_SHA256, strict=True)
        )
        plays, sonnets = committed("shakespeare.txt"), committed("sonnets.txt")
        corpus = mix(verse, prose, plays, sonnets).encode("utf-8")
        check_sha256(CORPUS, corpus, SHA256)
        return {CORPUS: corpus}

    return run(parser, make, arguments)


if __name__ == "__main__":
    sys.exit(main())
