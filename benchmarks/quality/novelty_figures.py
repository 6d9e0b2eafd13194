"""How much of a text is recited, and how good names are: the figures of `novelty`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

STRETCH_CHARS = 40


@dataclass(frozen=True)
class Recital:
    """How much of a text stands in others.

    Attributes:
        characters: of the text.
        share: of its stretches that stand there.
        longest: characters in the longest run of such stretches; 0 without any.
    """

    characters: int
    share: float
    longest: int

    def cells(self, name: str) -> list[str]:
        """Return the figures as the table shows them."""
        longest = f"{self.longest:,}" if self.longest else f"below {STRETCH_CHARS}"
        return [name, f"{self.characters:,}", f"{self.share:.3%}", longest]


@dataclass(frozen=True)
class Names:
    """Shares of a sample of names; `novelty` says of which.

    Attributes:
        draws: number of names in the sample.
        distinct, novel, well_formed, all_three: shares of the draws.
        held_out_hits: different held-out names in the sample.
    """

    draws: int
    distinct: float
    novel: float
    well_formed: float
    all_three: float
    held_out_hits: int

    def cells(self, name: str) -> list[str]:
        """Return the figures as the table shows them."""
        shares = (self.distinct, self.novel, self.well_formed, self.all_three)
        hits = f"{self.held_out_hits:,}"
        return [name, f"{self.draws:,}", *(f"{x:.1%}" for x in shares), hits]


def recitals(
    texts: Sequence[str], sources: Iterable[str], size: int = STRETCH_CHARS
) -> list[Recital]:
    """Find how much of each of some texts stands in others.

    Args:
        texts: the texts.
        sources: the others, gone through once; what goes from the end of one to the
            beginning of the next doesn't count.
        size: characters in a stretch.
    """
    wanted = {stretch for text in texts for stretch in _stretches(text, size)}
    found = {s for source in sources for s in _stretches(source, size) if s in wanted}
    return [_recital(text, found, size) for text in texts]


def _stretches(text: str, size: int) -> Iterator[str]:
    return (text[i : i + size] for i in range(len(text) - size + 1))


def _recital(text: str, found: set[str], size: int) -> Recital:
    recited = [stretch in found for stretch in _stretches(text, size)]
    longest = run = 0
    for is_recited in recited:
        run = run + 1 if is_recited else 0
        longest = max(longest, run)
    return Recital(
        characters=len(text),
        share=sum(recited) / max(len(recited), 1),
        longest=longest + size - 1 if longest else 0,
    )


def is_well_formed(name: str) -> bool:
    """Tell whether a name could be one; `novelty` has the rule."""
    return (
        4 <= len(name) <= 30
        and name.isalpha()
        and re.search("[aeiouy]", name.lower()) is not None
        and re.search(r"(.)\1\1", name.lower()) is None
    )


def judge_names(draws: Sequence[str], training: set[str], held_out: set[str]) -> Names:
    """Work out the shares of a sample.

    Args:
        draws: names as they were drawn.
        training: the names trained on.
        held_out: those held out.
    """
    different = set(draws)
    good = {name for name in different - training if is_well_formed(name)}
    count = len(draws)
    return Names(
        draws=count,
        distinct=len(different) / count,
        novel=sum(name not in training for name in draws) / count,
        well_formed=sum(map(is_well_formed, draws)) / count,
        all_three=len(good) / count,
        held_out_hits=len(different & held_out),
    )
