"""The held-out text after a training: measured, and nothing else."""

from __future__ import annotations

import math

import numpy as np

from textgen.evaluation.nats import held_out_nats
from textgen.saving.trained_model import TrainedModel

MAX_MEASURED_CHARS = 200_000


class HeldOut:
    """Measures a model on ids (M,) that it is never trained on; there may be none.

    All of them are measured if ``whole`` says so; otherwise at most about
    `MAX_MEASURED_CHARS` characters, spread over the ids.
    """

    def __init__(
        self, ids: np.ndarray, *, whole: bool, characters_per_symbol: float = 1.0
    ) -> None:
        self._ids = ids
        self._each = characters_per_symbol
        self._most = len(ids) if whole else round(MAX_MEASURED_CHARS / self._each)

    def limit(self, symbols: int) -> None:
        """Let no more than so many symbols, at least one, be measured."""
        self._most = max(1, min(symbols, self._most))

    @property
    def symbols(self) -> int:
        """How many symbols are measured, about."""
        return min(self._most, len(self._ids))

    def measure(self, model: TrainedModel) -> float | None:
        """Return the mean nats per character.

        None if too little is held out: nothing, or for targets ``last`` less than a
        window and the symbol after it.
        """
        if not len(self._ids):
            return None
        nats = held_out_nats(model, self._ids, max_symbols=self._most)
        return None if math.isnan(nats) else nats

    @property
    def extent(self) -> str:
        """The end of the line with the final figure, if it isn't of all; else ""."""
        total = len(self._ids)
        if self.symbols == total:
            return ""
        unit = "characters" if self._each == 1 else "symbols"
        return f" (of {self._most:,} of its {total:,} {unit})"
