"""Show that no line of one corpus stands in another, however it is punctuated.

    python corpora/overlap.py                    sonnets.txt in shakespeare.txt
    python corpora/overlap.py PART.txt WHOLE.txt

The part should be the smaller one: its stretches of letters are held in memory.

Only letters are compared, lower-cased and with everything between them left out: case,
punctuation, spaces and line ends make no difference. So a line is found even where it
goes over a line end, or is part of a longer line. Every line counts, however short, and
the longest stretch of letters that both have is shown, for the reader to judge. The
held-out part is the last tenth, from the beginning of the line in which it begins.
Standard library only.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
HELD_OUT = 0.1
SHOWN = 3


def letters_of(text: str) -> str:
    """Return a text's letters in lower case, and nothing between them."""
    return re.sub(r"[\W\d_]", "", text.lower())


def held_out_part(text: str, held_out: float = HELD_OUT) -> str:
    """Return a text's last share, from the beginning of its first line."""
    cut = int(len(text) * (1 - held_out))
    return text[text.rfind("\n", 0, cut) + 1 :]


def lines_within(part: str, whole_letters: str) -> list[str]:
    """Return the lines of a text whose letters stand in another one.

    Args:
        part: the text; lines without a letter are left out.
        whole_letters: the other one's `letters_of`.
    """
    lines = filter(letters_of, part.split("\n"))
    return [line for line in lines if letters_of(line) in whole_letters]


def stretches_of(letters: str, length: int) -> set[str]:
    """Return all stretches of so many letters running."""
    return {letters[i : i + length] for i in range(len(letters) - length + 1)}


def shared_stretches(part_letters: str, whole_letters: str, length: int) -> set[str]:
    """Return the stretches of so many letters that stand in both texts."""
    wanted = stretches_of(part_letters, length)
    starts = range(len(whole_letters) - length + 1)
    return {
        stretch for i in starts if (stretch := whole_letters[i : i + length]) in wanted
    }


def longest_shared(part_letters: str, whole_letters: str) -> list[str]:
    """Return the longest stretches of letters that two texts share, sorted.

    Args:
        part_letters: `letters_of` the smaller text.
        whole_letters: of the larger one.
    """
    shared, unshared = 0, min(len(part_letters), len(whole_letters)) + 1
    longest: set[str] = set()
    while unshared - shared > 1:
        # What shares n letters shares n - 1, so lengths can be halved in on; most
        # texts that have nothing to do with each other share some 20 letters.
        length = min((shared + unshared) // 2, 2 * shared + 16)
        found = shared_stretches(part_letters, whole_letters, length)
        if found:
            shared, longest = length, found
        else:
            unshared = length
    return sorted(longest)


def describe(name: str, part: str, whole_letters: str) -> str:
    """Say in one line how much of a text stands in another.

    Args:
        name: of the text.
        part: the text.
        whole_letters: the other one's `letters_of`.
    """
    lengths = [len(letters_of(line)) for line in part.split("\n") if letters_of(line)]
    found = lines_within(part, whole_letters)
    stretches = longest_shared(letters_of(part), whole_letters)
    size = len(stretches[0]) if stretches else 0
    shortest, longest = min(lengths, default=0), max(lengths, default=0)
    shown = ", ".join(stretches[:SHOWN])
    if len(stretches) > SHOWN:
        shown += f" and {len(stretches) - SHOWN} more"
    return (
        f"{name}: {len(found)} of {len(lengths):,} lines ({shortest} to "
        f"{longest} letters) are found{''.join(f'; {line!r}' for line in found)}; "
        f"longest stretch in common: {size} letters ({shown})"
    )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, corpus in (("part", "sonnets.txt"), ("whole", "shakespeare.txt")):
        parser.add_argument(name, nargs="?", type=Path, default=FOLDER / corpus)
    options = parser.parse_args()
    part = options.part.read_text(encoding="utf-8")
    whole_letters = letters_of(options.whole.read_text(encoding="utf-8"))
    for name, text in (("held out", held_out_part(part)), ("all", part)):
        print(describe(f"{options.part.name}, {name}", text, whole_letters))


if __name__ == "__main__":
    main()
