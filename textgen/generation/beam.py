"""Beam search: the likeliest completion of a prompt, instead of one that is drawn.

Of the texts that are written so far, the B likeliest are kept; each is lengthened by
every symbol, and of all these the B likeliest are kept again. Nothing is random. The
likeliest text of a language model is seldom its best, as it repeats itself (Holtzman et
al., 2020), but it is what the model takes for most certain: the commonest names, say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textgen.config import CompletionConfig
from textgen.errors import OptionError, shown
from textgen.generation.samplers import Sampler, Texts, apply, log_probabilities
from textgen.saving.trained_model import TrainedModel
from textgen.system.checks import check_number


@dataclass(frozen=True)
class BeamSearch:
    """Searches for the likeliest text; as the last of a list of samplers.

    The samplers before it change the logits of whose softmax a text's probability is
    the product.

    Args:
        width: how many texts are kept at each symbol, 1 to 1024. 1 always takes the
            likeliest symbol.
        length_penalty: texts of different lengths are compared by their log-probability
            divided by length ** length_penalty, 0 to 10. 0 compares probabilities, so
            that short texts win; 1 compares the mean of a symbol.
    """

    width: int
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        if self.width is None:
            raise OptionError(f"`beam` must be a number, but was {shown(self.width)}")
        CompletionConfig(beam=self.width)
        check_number("length_penalty", self.length_penalty, 0, 10)


def search(
    model: TrainedModel,
    prompt_ids: np.ndarray,
    config: CompletionConfig,
    samplers: Sequence[Sampler],
    beam: BeamSearch,
) -> list[np.ndarray]:
    """Return the likeliest completions that are found, at most `width`, best first.

    Each is what comes after the prompt (N,), without an end symbol or the stop text.
    """
    if beam.width > model.max_batch_size:
        most = f"at most {model.max_batch_size} with this model"
        raise OptionError(f"`beam` must be {most}, but was {beam.width}")
    stop_ids: list[int] = []
    if config.stop and all(symbol in model.vocabulary for symbol in config.stop):
        stop_ids = model.vocabulary.encode(config.stop).tolist()
    last_symbols = {model.end_id, *stop_ids[-1:]}
    live = _Live(model, prompt_ids, beam.width)
    found: list[tuple[float, np.ndarray]] = []
    for length in range(1, config.length + 1):
        parents, symbols, scores = live.likeliest(samplers, 3 * beam.width)
        goes_on = np.ones(len(scores), bool)
        for place, (parent, symbol) in enumerate(zip(parents, symbols, strict=True)):
            if symbol not in last_symbols and length < config.length:
                continue
            ids = np.append(live.drawn(parent), symbol)
            rest = _without_end(ids, model.end_id, stop_ids)
            if len(rest) < length or length == config.length:
                goes_on[place] = False
                if place < beam.width:
                    found.append((scores[place] / length**beam.length_penalty, rest))
        found = sorted(found, key=lambda each: -each[0])[: beam.width]
        kept = goes_on.nonzero()[0][: beam.width]
        if not len(kept):
            break
        # No longer text's score is above this, since each symbol can only lower it.
        highest = scores[kept[0]] / config.length**beam.length_penalty
        if len(found) == beam.width and highest <= found[-1][0]:
            break
        live.go_on(parents[kept], symbols[kept], scores[kept])
    return [ids for _, ids in found]


def _without_end(
    ids: np.ndarray, end_id: int | None, stop_ids: Sequence[int]
) -> np.ndarray:
    """Return drawn ids (N,) without the end symbol or stop text that they end with."""
    if ids[-1] == end_id:
        return ids[:-1]
    if stop_ids and ids[-len(stop_ids) :].tolist() == stop_ids:
        return ids[: -len(stop_ids)]
    return ids


class _Live:
    """The likeliest texts that haven't ended, the likeliest first."""

    def __init__(self, model: TrainedModel, prompt_ids: np.ndarray, width: int) -> None:
        """Begin with one text, a prompt (N,)."""
        alone = model.decoder()
        for place in range(len(prompt_ids) - 1):
            alone.step(prompt_ids[place : place + 1])
        self._decoder = model.decoder(width)
        self._decoder.set_state(list(range(width)), alone.state())
        self._prompt_length = self._length = len(prompt_ids)
        self._ids = np.tile(prompt_ids, (width, 2))
        self._scores = np.zeros(1)  # log-probabilities, one for each text

    def drawn(self, text: int) -> np.ndarray:
        """Return the ids that follow a text's prompt."""
        return self._ids[text, self._prompt_length : self._length]

    def likeliest(
        self, samplers: Sequence[Sampler], count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the likeliest texts of one more symbol: at most ``count``.

        That is (parents, symbols, scores), each (count,), the likeliest first; equal
        ones are in the order of their parents and symbols.
        """
        number = len(self._scores)
        logits = self._decoder.step(self._ids[:, self._length - 1])[:number]
        lengths = np.full(number, self._length)
        prompt_lengths = np.full(number, self._prompt_length)
        texts = Texts(self._ids[:number], prompt_lengths, lengths)
        log_p = log_probabilities(apply(samplers, logits, texts))
        scores = (self._scores[:, None] + log_p).ravel()
        order = np.argsort(-scores, kind="stable")[:count]
        order = order[np.isfinite(scores[order])]
        return *np.divmod(order, log_p.shape[1]), scores[order]

    def go_on(
        self, parents: np.ndarray, symbols: np.ndarray, scores: np.ndarray
    ) -> None:
        """Go on with texts that are a parent and a symbol each, at most `width`."""
        number = len(parents)
        self._decoder.reorder(parents)
        if self._length == self._ids.shape[1]:
            self._ids = np.concatenate([self._ids, self._ids], axis=1)
        self._ids[:number] = self._ids[parents]
        self._ids[:number, self._length] = symbols
        self._length += 1
        self._scores = scores
