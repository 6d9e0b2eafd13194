"""Writing a text by hand: what may come next is shown, and a number takes it.

Shall I compare
  1   0.48 %   thee to thy
  2   0.31 %   thee to my
1 to 2 takes one, Enter draws another, /undo takes back: ▮
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from textgen.config import CompletionConfig
from textgen.errors import OptionError, shown
from textgen.generation.continuations import Continuation, continuations
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number
from textgen.system.terminal import one_line, tell

USUAL_COUNT, MOST_COUNT = 5, 9  # a digit takes one
DRAWS_EACH = 8  # the likeliest of so many draws for each that is shown
SHOWN_LINES, SHOWN_CHARS = 2, 400  # of the text so far: its end


class Picker:
    """Offers what may come next in a text, the same as long as nothing else is set."""

    def __init__(self, count: int) -> None:
        """Offer ``count``, or fewer where not so many different ones are drawn."""
        self.count = check_number("pick", count, 1, MOST_COUNT, whole=True)
        self._offered: list[Continuation] = []
        self._offers: dict[tuple[str, CompletionConfig], list[Continuation]] = {}
        self._is_explained = False

    def offer(
        self,
        model: TrainedModel,
        text: str,
        config: CompletionConfig,
        seeds: Iterator[int],
    ) -> None:
        """Show the end of a text and what may come next, by lines on stderr.

        What was offered there before is offered again, since it was taken back.
        """
        config = replace(config, length=1, stop=None)  # what doesn't count here
        if (text, config) not in self._offers:
            draws = DRAWS_EACH * self.count
            drawn = continuations(model, text, draws, next(seeds), config)
            self._offers[text, config] = drawn[: self.count]
        self._offered = self._offers[text, config]
        tell_end(text)
        for number, each in enumerate(self._offered, 1):
            ends = " (ends)" if each.ends else ""
            share = _percentage(each.probability)
            tell(f"  {number}  {share:>7} %  {one_line(each.text)}{ends}")

    def question(self) -> str:
        """Return what is asked below an offer, in full once."""
        numbers = "1" if len(self._offered) == 1 else f"1-{len(self._offered)}"
        if self._is_explained:
            return f"{numbers}> "
        self._is_explained = True
        return f"{numbers} takes one, Enter draws another, /undo takes back: "

    def chosen(self, line: str) -> Continuation | None:
        """Return the continuation that a line names by its number; None for none.

        Raises:
            OptionError: for a number that isn't offered.
        """
        if not re.fullmatch("[0-9]+", line):
            return None
        numbered = {str(number): each for number, each in enumerate(self._offered, 1)}
        if line not in numbered:
            expected = f"expected a number of 1 to {len(numbered)}"
            raise OptionError(f"{expected}, but received {shown(line)}")
        return numbered[line]


def tell_end(text: str) -> None:
    """Show the last lines of a text, and of a long one only their end."""
    for line in text[-SHOWN_CHARS:].split("\n")[-SHOWN_LINES:]:
        tell(line)


def _percentage(probability: float) -> str:
    """Write two digits of a probability in percent, where it isn't too small."""
    percent = 100 * probability
    if percent < 1e-4:
        return "<0.0001"
    return f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
