"""The held-out text during and after a training: measured, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from textgen.evaluation.nats import MAX_SEGMENTS, SEGMENT_CHARS, held_out_nats
from textgen.saving.trained_model import TrainedModel

MAX_MEASURED_SYMBOLS = 200_000
MIN_MEASURED_SYMBOLS = 1_000
FIRST_TIMED_SYMBOLS = 500
# A smaller sample takes as long as this one, of all the segments that are read at once.
FIRST_SAMPLED_SYMBOLS = MAX_SEGMENTS * SEGMENT_CHARS
TIMED_S = 0.2  # a part that takes so long tells how long the whole takes
RISE_WORTH_TELLING = 1.03  # of the held-out loss, above its lowest
MEASURED_SHARE = 0.002  # symbols measured after an epoch, per symbol trained on in it


class HeldOut:
    """Measures a model on ids (M,) that it is never trained on; there may be none.

    After each epoch a five hundredth as many symbols are measured as were trained on
    in it, since that goes symbol by symbol. At the end all are if ``whole`` says so, a
    text as one stream; otherwise at most `MAX_MEASURED_SYMBOLS` spread over the ids.
    """

    def __init__(self, ids: np.ndarray, training_symbols: int, *, whole: bool) -> None:
        self._ids = ids
        self._most = None if whole else MAX_MEASURED_SYMBOLS
        share = int(training_symbols * MEASURED_SHARE)
        self._brief = min(max(share, MIN_MEASURED_SYMBOLS), MAX_MEASURED_SYMBOLS)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held out."""
        return not len(self._ids)

    def measure(self, model: TrainedModel, *, briefly: bool = False) -> float | None:
        """Return the mean nats per character, ``briefly`` as after each epoch.

        None if too little is held out: nothing, or for targets ``last`` less than a
        window and the symbol after it.
        """
        if not len(self._ids):
            return None
        most = self._brief if briefly else self._most
        nats = held_out_nats(model, self._ids, max_symbols=most)
        return None if math.isnan(nats) else nats

    @property
    def extent(self) -> str:
        """The end of the line with the final figure, if it isn't of all; else ""."""
        total = len(self._ids)
        if self._most is None or total <= self._most:
            return ""
        return f" (of {self._most:,} of its {total:,} characters)"

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


def shorter_is_better(figures: Sequence[float], part: str) -> list[str]:
    """Say in one line if a part's figure after each epoch clearly rose again."""
    if not figures or figures[-1] <= RISE_WORTH_TELLING * min(figures):
        return []
    lowest, latest = min(figures), figures[-1]
    return [
        f"the {part} part was predicted best at about epoch "
        f"{figures.index(lowest) + 1:,}, {lowest:.3f}, and at the end less well, "
        f"{latest:.3f}: a shorter training may serve better"
    ]
