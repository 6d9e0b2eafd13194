"""How a saved model is trained on: rules for the text, and what it has seen of it.

The rules were fitted to trainings that went on from models of English
(docs/experiments.md), none of which is reported. They speak of

    n  characters of the training part
    r  peak rate of the model's first training, as that of a cosine

1. **Rate.** A cosine from 0.375·r·(n / 90,000)^¼, from 0.375·r to 1.5·r: a short text
   says little that the model doesn't know, and at a high rate it forgets the rest.
2. **Length.** 5·(90,000 / n)^¼ epochs, from 3 to 16. Minutes are a limit, too.
3. **Regularisation.** Dropout 0.2·(90,000 / n)^¼, from 0.05 to 0.4, and a weight decay
   of 0.1.
4. **Batches** of 32 windows; of 16 where an epoch would have less than 40 steps.

A text that was trained on before is gone on with as the last training left it, with
its dropout, decay and batches, and from 0.1·r.

None of it looks at the held-out part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from textgen.config import CHOOSING, Config, TrainingConfig
from textgen.data.corpus import Corpus
from textgen.errors import OptionError, shown
from textgen.evaluation.seen import unseen_share
from textgen.saving.trained_model import TrainedModel, TrainedText
from textgen.training import schedule
from textgen.training.budget import RATE_FACTOR, peak_rate

REFERENCE_CHARS = 90_000
FEWEST_EPOCHS, USUAL_EPOCHS, MOST_EPOCHS = 3, 5, 16
LEAST_RATE_SHARE, MOST_RATE_SHARE, RATE_SHARE_OF_SEEN_TEXT = 0.375, 1.5, 0.1
LEAST_DROPOUT, USUAL_DROPOUT, MOST_DROPOUT = 0.05, 0.2, 0.4
WEIGHT_DECAY = 0.1
BATCH_SIZE, SMALL_BATCH_SIZE = 32, 16
FEWEST_STEPS_PER_EPOCH = 40
NETWORK = ("layers", "units", "cell", "embedding", "level", "vocabulary_size")
KEPT_FOR_SEEN_TEXT = ("dropout", "input_dropout", "weight_decay", "batch_size")


def continued_config(
    start: TrainedModel, corpus: Corpus, overrides: Mapping[str, Any]
) -> Config:
    """Return the configuration with which a saved model is trained on.

    Its network and windows are kept; what ``overrides`` don't say is left to the rules.

    Raises:
        OptionError: a network that differs from the saved one; a part held out that
            was trained on before.
    """
    saved = start.config
    for name in NETWORK:
        ours, wanted = getattr(saved.model, name), overrides.get(name)
        if wanted not in (None, ours):
            kept = "own" if ours is None else ours  # None: by its text's length
            raise OptionError(
                f"`{name}` must be the saved model's {kept}, but was {wanted}: "
                "leave it out, or train without `init_from`"
            )
    unseen = unseen_share(start.texts, corpus)
    held_out = _held_out(unseen, overrides.get("held_out"))
    choosing = {name: overrides.get(name) for name in CHOOSING}
    asked = Config().override(held_out=held_out, **choosing)
    chars = max(1, round(len(corpus.ids) * asked.training.trained_share))
    per_batch = BATCH_SIZE * saved.windows.seq_length
    many_steps = chars >= FEWEST_STEPS_PER_EPOCH * per_batch
    by_rule = Config().override(
        **{name: getattr(saved.model, name) for name in NETWORK},
        **vars(replace(saved.windows, stateful=False)),
        dropout=round(_by_size(LEAST_DROPOUT, USUAL_DROPOUT, MOST_DROPOUT, chars), 2),
        batch_size=BATCH_SIZE if many_steps else SMALL_BATCH_SIZE,
        learning_rate=_rounded(_rate_share(chars) * first_rate(start)),
        weight_decay=WEIGHT_DECAY,
        epochs=epochs_worth(chars, start.texts),
        held_out=held_out,
    )
    if unseen is not None:
        flat = saved.flat()
        by_rule = by_rule.override(
            **{name: flat[name] for name in KEPT_FOR_SEEN_TEXT},
            learning_rate=_rounded(RATE_SHARE_OF_SEEN_TEXT * first_rate(start)),
        )
    return by_rule.override(**overrides)


def epochs_worth(chars: int, texts: Sequence[TrainedText]) -> int:
    """Return how many epochs a text is worth to weights that were trained on others."""
    if not texts:
        return schedule.BUDGET_EPOCHS
    return round(_by_size(FEWEST_EPOCHS, USUAL_EPOCHS, MOST_EPOCHS, chars))


def first_rate(start: TrainedModel) -> float:
    """Return the peak rate of a model's first training, as that of a cosine.

    One that isn't known is taken from the rule for networks of its size.
    """
    first, model = start.texts[0], start.config.model
    if first.learning_rate is None:
        return peak_rate(model.layers, model.units, "cosine", model.cell)
    averaged = first.schedule == "averaged"
    return first.learning_rate / (RATE_FACTOR if averaged else 1)


def seen_remark(corpus: Corpus, texts: Sequence[TrainedText]) -> str:
    """Return what the line with the held-out figure must add; mostly nothing."""
    if seen := _seen_parts(corpus, texts):
        return f" (a part of it was trained on before: {shown(seen[0])})"
    if any(text.sha256 is None for text in texts):
        return " (perhaps trained on before: the saved model's own text isn't known)"
    if any(t.name == corpus.name and t.sha256 != corpus.sha256 for t in texts):
        return f" (perhaps trained on before: {corpus.name} was, with other contents)"
    return ""


def _seen_parts(corpus: Corpus, texts: Sequence[TrainedText]) -> list[str]:
    """Return the names of a corpus' files that were trained on by themselves."""
    known = {text.sha256 for text in texts}
    several = corpus.parts if len(corpus.parts) > 1 else ()
    return [part.name for part in several if part.sha256 in known]


def validation_remark(
    start: TrainedModel, corpus: Corpus, training: TrainingConfig
) -> list[str]:
    """Say in one line if the validation part was trained on by the saved model.

    It wasn't if that had one training on this text, which left the same part out.
    """
    if training.validation is None:
        return []
    same = [text for text in start.texts if text.sha256 == corpus.sha256]
    if not same and not _seen_parts(corpus, start.texts):
        return []
    before = start.config.training
    only_time = same == [start.texts[-1]] and start.kind == corpus.kind
    if only_time and training.trained_share >= before.trained_share:
        return []
    return [
        "the saved model was trained on what is now the validation part: its figures "
        "are better than they would be of new text, and choose less well"
    ]


def _held_out(unseen: float | None, asked: float | None) -> float:
    if asked is None:
        return Config().training.held_out if unseen is None else unseen
    if unseen is not None and asked > unseen:
        raise OptionError(
            f"`held_out` must be at most {unseen:g}, but was {asked:g}: the saved "
            "model was trained on the rest of this text"
        )
    return asked


def _rounded(rate: float) -> float:
    """Return a rate as people read it, 0.0003 and not 2.9999999999999997e-04."""
    return float(f"{rate:.3g}")


def _rate_share(chars: int) -> float:
    """Return which share of a model's first rate a text is gone on with at."""
    share = LEAST_RATE_SHARE * (chars / REFERENCE_CHARS) ** 0.25
    return min(max(LEAST_RATE_SHARE, share), MOST_RATE_SHARE)


def _by_size(least: float, usual: float, most: float, chars: int) -> float:
    """Return a number that is larger for shorter texts, within bounds."""
    return min(max(least, usual * (REFERENCE_CHARS / chars) ** 0.25), most)
