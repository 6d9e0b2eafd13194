"""The held-out text after a training: measured, and nothing else."""

from __future__ import annotations

import math
import time

import numpy as np

from textgen.evaluation.nats import MAX_SEGMENTS, SEGMENT_CHARS, held_out_nats
from textgen.saving.trained_model import TrainedModel

MAX_MEASURED_CHARS = 200_000
FIRST_TIMED_SYMBOLS = 500
# A smaller sample takes as long as this one, of all the segments that are read at once.
FIRST_SAMPLED_SYMBOLS = MAX_SEGMENTS * SEGMENT_CHARS
TIMED_S = 0.2  # a part that takes so long tells how long the whole takes


class HeldOut:
    """Measures a model on ids (M,) that it is never trained on; there may be none.

    All of them are measured if ``whole`` says so, a text as one stream; otherwise at
    most about `MAX_MEASURED_CHARS` characters, spread over the ids.
    """

    def __init__(
        self, ids: np.ndarray, *, whole: bool, characters_per_symbol: float = 1.0
    ) -> None:
        self._ids = ids
        self._each = characters_per_symbol
        self._most = None if whole else round(MAX_MEASURED_CHARS / self._each)

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
        if self._most is None or total <= self._most:
            return ""
        unit = "characters" if self._each == 1 else "symbols"
        return f" (of {self._most:,} of its {total:,} {unit})"

    def cost_s(self, model: TrainedModel) -> float:
        """Estimate the seconds of the final measuring, from ever larger parts of it."""
        total = min(len(self._ids), self._most or len(self._ids))
        in_one_stream = total == len(self._ids)
        symbols, seconds = 0, 0.0
        least = FIRST_TIMED_SYMBOLS
        if not in_one_stream and model.windows.targets == "all":
            least = FIRST_SAMPLED_SYMBOLS
        while symbols < total and seconds < TIMED_S:
            symbols = min(2 * symbols or least, total)
            started = time.perf_counter()
            if in_one_stream:
                held_out_nats(model, self._ids[: symbols + model.windows.seq_length])
            else:
                held_out_nats(model, self._ids, max_symbols=symbols)
            seconds = time.perf_counter() - started
        return seconds * total / symbols if symbols else 0.0
