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
from textgen.generation.endings import completing, has_stop, longest_at_end, stop_ids
from textgen.generation.samplers import Sampler, Texts, apply, log_probabilities
from textgen.saving.trained_model import TrainedModel


@dataclass(frozen=True)
class BeamSearch:
    """Searches for the likeliest text; as the last of a list of samplers.

    The samplers before it change the logits of whose softmax a text's probability is
    the product. Texts of different lengths are compared by that, so short ones win.

    Args:
        width: how many texts are kept at each symbol, 1 to 1024. 1 always takes the
            likeliest symbol.
    """

    width: int

    def __post_init__(self) -> None:
        if self.width is None:
            raise OptionError(f"`beam` must be a number, but was {shown(self.width)}")
        CompletionConfig(beam=self.width)


def search(
    model: TrainedModel,
    prompt_ids: np.ndarray,
    config: CompletionConfig,
    samplers: Sequence[Sampler],
    beam: BeamSearch,
    begun: str = "",
) -> list[np.ndarray]:
    """Return the likeliest completions that are found, at most `width`, best first.

    Each is what comes after the prompt (N,), without an end symbol or the stop text; of
    symbols longer than characters, which may go on after that, the latter is not cut
    off. Of them the prompt may have ``begun`` the completion, which counts.
    """
    if beam.width > model.max_batch_size:
        most = f"at most {model.max_batch_size} with this model"
        raise OptionError(f"`beam` must be {most}, but was {beam.width}")
    ends = _Ends(model, config.stop, begun)
    sizes = model.vocabulary.characters
    live = _Live(model, prompt_ids, beam.width, len(begun))
    found: list[tuple[float, np.ndarray]] = []
    for _ in range(config.length):
        parents, symbols, scores = live.likeliest(samplers, 3 * beam.width)
        lengths = np.minimum(live.lengths[parents] + sizes[symbols], config.length)
        goes_on = np.ones(len(scores), bool)
        for place, (parent, symbol) in enumerate(zip(parents, symbols, strict=True)):
            is_full = lengths[place] == config.length
            if not is_full and not ends.may_be_at[symbol]:
                continue
            ids = np.append(live.drawn(parent), symbol)
            rest = ends.without(ids)
            if rest is not None or is_full:
                goes_on[place] = False
                if place < beam.width:
                    found.append((scores[place], ids if rest is None else rest))
        found = sorted(found, key=lambda each: -each[0])[: beam.width]
        kept = goes_on.nonzero()[0][: beam.width]
        if not len(kept):
            break
        # No longer text's score is above this, since each symbol can only lower it.
        if len(found) == beam.width and scores[kept[0]] <= found[-1][0]:
            break
        live.go_on(parents[kept], symbols[kept], scores[kept], lengths[kept])
    return [ids for _, ids in found]


class _Ends:
    """Where texts end: at the end symbol, and at a stop text."""

    def __init__(self, model: TrainedModel, stop: str | None, begun: str) -> None:
        """Take what the completions begin with, for a stop text that it begins."""
        self._vocabulary, self._end_id = model.vocabulary, model.end_id
        self._stop_ids = stop_ids(self._vocabulary, stop)
        self._stops, self._begun = [stop] if stop else [], begun
        self.may_be_at = np.zeros(len(self._vocabulary), bool)  # (V,)
        if model.end_id is not None:
            self.may_be_at[model.end_id] = True
        self.may_be_at[[ids[-1] for ids in self._stop_ids]] = True
        if stop and not self._is_of_characters:
            self.may_be_at[completing(self._vocabulary.symbols, stop)] = True

    @property
    def _is_of_characters(self) -> bool:
        return self._vocabulary.level == "character"

    def without(self, ids: np.ndarray) -> np.ndarray | None:
        """Return drawn ids (N,) without the end that they come to; None for none."""
        if ids[-1] == self._end_id:
            return ids[:-1]
        if self._is_of_characters:
            stop = longest_at_end(ids, self._stop_ids)
            return ids[:-stop] if stop else None
        has_one = has_stop(self._begun, ids, self._vocabulary, self._stops)
        return ids if has_one else None


class _Live:
    """The likeliest texts that haven't ended, the likeliest first."""

    def __init__(
        self, model: TrainedModel, prompt_ids: np.ndarray, width: int, begun: int
    ) -> None:
        """Begin with a prompt (N,) that has begun so many characters of a text."""
        alone = model.decoder()
        for place in range(len(prompt_ids) - 1):
            alone.step(prompt_ids[place : place + 1])
        self._decoder = model.decoder(width)
        self._decoder.set_state(list(range(width)), alone.state())
        self._prompt_length = self._length = len(prompt_ids)
        self._ids = np.tile(prompt_ids, (width, 2))
        self._scores = np.zeros(1)  # log-probabilities, one for each text
        self.lengths = np.array([begun])  # of each, in characters

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
        self,
        parents: np.ndarray,
        symbols: np.ndarray,
        scores: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        """Go on with texts that are a parent and a symbol each, at most `width`."""
        number = len(parents)
        self._decoder.reorder(parents)
        if self._length == self._ids.shape[1]:
            self._ids = np.concatenate([self._ids, self._ids], axis=1)
        self._ids[:number] = self._ids[parents]
        self._ids[:number, self._length] = symbols
        self._length += 1
        self._scores, self.lengths = scores, lengths
