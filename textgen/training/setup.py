"""Everything about a training that needs no TensorFlow: read, checked and cut.

What a user can put right is found here, before the seconds that TensorFlow takes to
start and long before anything is trained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textgen.config import DEFAULT_CORPUS, Config
from textgen.data.corpus import Corpus, corpus_name, load_corpus
from textgen.data.vocabulary import END_SYMBOL, Vocabulary
from textgen.data.windows import Windows, make_windows
from textgen.errors import CheckpointError, OptionError
from textgen.saving.model_file import load_trainable
from textgen.saving.trained_model import TrainedModel
from textgen.system.files import remove_leftovers
from textgen.system.lock import OutputLock
from textgen.training.checkpoint import Checkpoint, checkpoint_paths, read_checkpoint
from textgen.training.held_out import HeldOut
from textgen.training.output import check_room, is_model_of, prepare_output
from textgen.training.recipe import checkpoint_bytes, choose_config
from textgen.training.resume import (
    LENGTHS,
    check_corpus,
    length_notes,
    planned_steps,
    resumed_config,
    version_notes,
)
from textgen.training.schedule import BUDGET_EPOCHS, most_steps, total_steps


@dataclass(frozen=True)
class Preparation:
    """A training that is ready to start; made by `prepare`.

    Attributes:
        corpus: what it trains on.
        config: how.
        windows: the training part, cut into windows.
        held_out: the part that is only measured.
        start: the saved model to go on from, or None.
        path: the file to write; its folder exists and can be written.
        total_steps: length of the training; None if it is yet to be measured how many
            steps fit into the time.
        lock: keeps other trainings from the file; released if it is finished.
        checkpoint: the training to resume, or None.
        finished: there is nothing left to do.
        notes: lines worth telling.
    """

    corpus: Corpus
    config: Config
    windows: Windows
    held_out: HeldOut
    start: TrainedModel | None
    path: Path
    total_steps: int | None
    lock: OutputLock
    checkpoint: Checkpoint | None = None
    finished: bool = False
    notes: tuple[str, ...] = ()


def prepare(
    corpus: str | os.PathLike = DEFAULT_CORPUS,
    *,
    preset: str | None = None,
    kind: str | None = None,
    output: str | os.PathLike | None = None,
    init_from: str | os.PathLike | None = None,
    resume: bool = False,
    **overrides: Any,
) -> Preparation:
    """Read and check everything that a training needs.

    Args:
        corpus: a named corpus or the path of a UTF-8 text file.
        preset: name in `textgen.config.PRESETS`; None means the corpus' own.
        kind: ``lines`` or ``text``; None means the saved model's, or the guess.
        output: the file to write; None means ``models/NAME.h5``.
        init_from: a saved model to go on from.
        resume: go on with the training whose checkpoint is beside ``output``, with
            its options; start afresh if there is none.
        **overrides: fields of `textgen.config.Config`, flat.

    Raises:
        TextgenError: one line about what the caller can put right.
    """
    options = {"preset": preset, "kind": kind, "overrides": overrides}
    if not resume:
        return _afresh(corpus, output=output, init_from=init_from, **options)
    if init_from is not None:
        raise OptionError(
            "give --resume or --init-from, not both: a checkpoint brings its own "
            "weights"
        )
    lock = OutputLock(prepare_output(output, corpus_name(corpus)))
    try:
        checkpoint, notes = read_checkpoint(lock.output)
        if checkpoint is not None:
            return _resumed(checkpoint, corpus, lock, notes, **options)
        path = checkpoint_paths(lock.output)[0]
        note = f"there is no checkpoint {str(path)!r} yet: starting afresh"
        return _afresh(corpus, output=output, lock=lock, notes=[note], **options)
    except BaseException:
        lock.release()
        raise


def _afresh(
    corpus: str | os.PathLike,
    *,
    preset: str | None,
    kind: str | None,
    overrides: dict[str, Any],
    output: str | os.PathLike | None,
    init_from: str | os.PathLike | None = None,
    lock: OutputLock | None = None,
    notes: list[str] | None = None,
) -> Preparation:
    start = None if init_from is None else load_trainable(init_from)
    if start is None:
        text = load_corpus(corpus, kind)
    else:
        text = load_corpus(corpus, kind or start.kind, start.vocabulary)
        if kind is None:
            text = replace(text, kind_reason="as the saved model's")
    config = choose_config(text, preset, start, overrides)
    windows, held_out = _cut(text, config)
    path = prepare_output(output, text.name)
    config, capped = _capped(config, windows.steps_per_epoch, overrides)
    steps = None
    if config.training.minutes is None:
        steps = total_steps(config.training, windows.steps_per_epoch)
    lock = lock or OutputLock(path)
    try:
        _remove_leftovers(path)
        check_room(path, checkpoint_bytes(config, len(text.vocabulary)))
        notes = [*(notes or _unfinished(path)), *capped]
    except BaseException:
        lock.release()
        raise
    return Preparation(
        text, config, windows, held_out, start, path, steps, lock, notes=tuple(notes)
    )


def _capped(
    config: Config, steps_per_epoch: int, overrides: dict[str, Any]
) -> tuple[Config, list[str]]:
    """Limit a length that wasn't asked for to what a short text is worth."""
    training = config.training
    asked = any(overrides.get(name) is not None for name in LENGTHS)
    # Minutes, of a model that was trained for so many, are limited as they are planned.
    if asked or training.minutes is not None:
        return config, []
    if total_steps(training, steps_per_epoch) <= most_steps(steps_per_epoch):
        return config, []
    note = (
        f"the text is short, {BUDGET_EPOCHS} epochs are all that it is worth (unless "
        "--steps or --epochs say otherwise)"
    )
    return config.override(epochs=BUDGET_EPOCHS), [note]


def _resumed(
    checkpoint: Checkpoint,
    corpus: str | os.PathLike,
    lock: OutputLock,
    notes: list[str],
    *,
    preset: str | None,
    kind: str | None,
    overrides: dict[str, Any],
) -> Preparation:
    _remove_leftovers(lock.output)
    config = resumed_config(checkpoint, preset, overrides)
    vocabulary = Vocabulary(checkpoint.symbols)
    text = load_corpus(corpus, checkpoint.corpus["kind"], vocabulary)
    check_corpus(checkpoint, text, kind)
    text = replace(text, kind_reason="as before")
    windows, held_out = _cut(text, config)
    steps = planned_steps(checkpoint, config, windows.steps_per_epoch)
    notes = [*notes, *length_notes(checkpoint, config, steps, windows.steps_per_epoch)]
    done, path = checkpoint.state.step, lock.output
    finished = done == steps and is_model_of(path, checkpoint.run, done)
    if finished:
        lock.release()
        notes = [
            *notes,
            f"this training is finished, all its {done:,} steps are in {str(path)!r}: "
            f"for more give a greater length, --steps {2 * done} say",
        ]
    else:
        check_room(path, checkpoint_bytes(config, len(checkpoint.symbols)))
    return Preparation(
        text,
        config,
        windows,
        held_out,
        None,
        path,
        steps,
        lock,
        checkpoint,
        finished,
        (*notes, *version_notes(checkpoint)),
    )


def _unfinished(path: Path) -> list[str]:
    """Say what is about to be replaced, if it could still be resumed."""
    try:
        checkpoint, _ = read_checkpoint(path)
    except CheckpointError:
        return []
    if checkpoint is None or checkpoint.state.step >= checkpoint.total_steps:
        return []
    return [
        f"an unfinished training, {checkpoint.state.step:,} of "
        f"{checkpoint.total_steps:,} steps, is about to be replaced in "
        f"{str(checkpoint_paths(path)[0])!r}: press Ctrl-C now and add --resume to go "
        "on with it instead"
    ]


def _remove_leftovers(path: Path) -> None:
    """Remove what killed trainings of this output left, now that it is locked."""
    for file in (path, *checkpoint_paths(path)):
        remove_leftovers(file)


def _cut(text: Corpus, config: Config) -> tuple[Windows, HeldOut]:
    """Split the held-out part off and cut the rest into windows."""
    split = text.split(config.training.held_out)
    end_id = None
    if text.kind == "lines":
        end_id = int(text.vocabulary.encode(END_SYMBOL)[0])
    windows = make_windows(
        split.training,
        text.kind,
        config.windows,
        config.training.batch_size,
        config.training.seed,
        end_id,
    )
    # All of a named text is measured, so that figures compare; not within a budget.
    whole = text.named and config.training.minutes is None
    return windows, HeldOut(split.held_out, len(split.training), whole=whole)
