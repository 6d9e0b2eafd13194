"""The probabilities that a model gave the characters of a text, while it was made."""

from __future__ import annotations

from typing import Any

import numpy as np

from textgen.generation.samplers import log_probabilities


class Scores:
    """Notes, place by place, how likely a character was, and which were likeliest.

    These are the model's own probabilities, before temperature and what else is drawn
    by. An engine's thread writes, and others read what was delivered already.
    """

    def __init__(self, symbols: tuple[str, ...], likeliest: int, begin: int) -> None:
        """Note so many likeliest characters of each place from ``begin`` on."""
        self._symbols, self._likeliest, self._begin = symbols, likeliest, begin
        self._noted: dict[int, tuple[float, dict[str, float]]] = {}

    def note(self, place: int, symbol_id: int, logits: np.ndarray) -> None:
        """Take what an engine's `Request.observe` is told."""
        if place < self._begin:
            return
        nats = log_probabilities(logits[None].astype(np.float64))[0]
        order = np.argsort(-nats, kind="stable")[: self._likeliest]
        order = order[np.isfinite(nats[order])]  # without what is never drawn
        top = {self._symbols[i]: round(float(nats[i]), 6) for i in order.tolist()}
        self._noted[place] = round(float(nats[symbol_id]), 6), top

    def of(self, text: str, place: int, offset: int) -> dict[str, list[Any]]:
        """Return the protocol's form for a text.

        ``place`` is that of its first character's id, and ``offset`` that of the
        character within prompt and completion. What was read without a prediction, as
        the first character of all, has null.
        """
        places = range(place, place + len(text))
        noted = [self._noted.get(each, (None, None)) for each in places]
        return {
            "tokens": list(text),
            "token_logprobs": [score for score, _ in noted],
            "top_logprobs": [top for _, top in noted],
            "text_offset": list(range(offset, offset + len(text))),
        }
