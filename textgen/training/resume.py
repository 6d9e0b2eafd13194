"""Whether a checkpoint and what the user asks for now belong to the same training.

Options that are not given are taken from the checkpoint; those that are given must be
what they were. The length alone may grow, and patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from textgen.config import LENGTHS, PRESETS, Config
from textgen.data.corpus import Corpus
from textgen.errors import CheckpointError, ModelFileError, shown
from textgen.saving.model_file import load_model
from textgen.system.checks import check_choice
from textgen.training.checkpoint import (
    BEGIN_ANEW,
    Checkpoint,
    TrainingState,
    library_versions,
)
from textgen.training.history import read_rows
from textgen.training.schedule import total_steps

SHOWN_DIGITS = 12  # of a SHA-256


def finished_training(output: Path) -> Checkpoint | None:
    """Return what a finished training's model tells of it, as a checkpoint of no state.

    None if there is no model, or one that isn't known to be of a finished training.
    """
    try:
        model = load_model(output)
    except ModelFileError:
        return None
    run, steps = model.record.get("run"), model.record.get("steps")
    corpus = model.metadata["corpus"]
    if not isinstance(run, str) or not isinstance(steps, int):
        return None
    if model.is_unfinished or not {"name", "sha256"} <= corpus.keys():
        return None
    return Checkpoint(
        run=run,
        config=model.config,
        corpus=corpus,
        texts=model.texts[:-1],
        vocabulary=model.vocabulary,
        total_steps=steps,
        lengthened_at=(),
        seconds=0.0,
        versions={},
        state=TrainingState(steps, 1.0, 0.0, 1, np.zeros(0, np.float32), ()),
        history=read_rows(model.record),
    )


def holds(
    saved: Checkpoint | None, checkpoint: Checkpoint, *, more: bool = False
) -> bool:
    """Tell whether a finished training has all steps of a checkpoint, or ``more``."""
    if saved is None or saved.run != checkpoint.run:
        return False
    ahead = saved.state.global_step - checkpoint.state.global_step
    return ahead > 0 if more else ahead >= 0


def end_of(checkpoint: Checkpoint, path: Path) -> str:
    """Say that a training is finished, at the step of its checkpoint."""
    done = checkpoint.state.global_step
    return f"this training is finished, all its {done:,} steps are in {str(path)!r}"


def finished_note(
    checkpoint: Checkpoint, path: Path, *, no_better: bool, gone: bool
) -> str:
    """Say that nothing is left to do, and how there may be more.

    It is out of patience if there was ``no_better`` epoch. Where the checkpoint is
    ``gone``, only the model can be gone on from.
    """
    end = f"{end_of(checkpoint, path)}: "
    more = f"give a greater length, `steps` {2 * checkpoint.state.global_step} say"
    if no_better:
        end = (
            f"this training is finished, it is in {str(path)!r}: none of its last "
            f"{checkpoint.config.training.patience:,} epochs was better than before; "
        )
        more = "give a greater `patience`"
    return f"{end}for more {'go on from it with `init_from`' if gone else more}"


def check_corpus(checkpoint: Checkpoint, corpus: Corpus, kind: str | None) -> None:
    """Raise `CheckpointError` unless text and kind are what the training began with."""
    began = checkpoint.corpus
    if kind not in (None, began["kind"]):
        raise _differs("kind", began["kind"], kind)
    if corpus.label_column != began.get("label_column"):
        was = began.get("label_column", "none")
        raise _differs("label_column", was, corpus.label_column)
    if corpus.sha256 != began["sha256"]:
        raise CheckpointError(
            f"expected the text that this training began with, {began['name']!r} of "
            f"SHA-256 {began['sha256'][:SHOWN_DIGITS]}…, but {corpus.name!r} has "
            f"{corpus.sha256[:SHOWN_DIGITS]}…{_changed_part(began, corpus)}",
            f"bring that text back, or {BEGIN_ANEW}",
        )


def _changed_part(began: Mapping[str, Any], corpus: Corpus) -> str:
    """Return the end of a line that names the first part that isn't as it was."""
    then, now = (
        {part["name"]: part["sha256"] for part in identity.get("parts", ())}
        for identity in (began, corpus.identity)
    )
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            change = "is missing" if name not in now else "has changed"
            return f" ({shown(name)} {change if name in then else 'is new'})"
    return ""


def resumed_config(
    checkpoint: Checkpoint, preset: str | None, overrides: Mapping[str, Any]
) -> Config:
    """Return the checkpoint's configuration, with the length asked for, if any.

    A preset that is asked for stands for what it sets. Whether the length is enough is
    for `planned_steps` to say.

    Raises:
        CheckpointError: an option differs from what it was; it is named.
        OptionError: a value out of bounds.
    """
    began = checkpoint.config
    was, wanted = began.flat(), began.override(**overrides).flat()
    for name in was:
        chosen_then = name == "precision" and wanted[name] == "auto"
        grows = name == "patience" and was[name] and wanted[name] > was[name]
        may_differ = name in LENGTHS or chosen_then or grows
        if wanted[name] != was[name] and not may_differ:
            raise _differs(name, was[name], wanted[name])
    if preset is not None:
        check_choice("preset", preset, tuple(PRESETS))
        usual = Config().flat()
        for name, value in PRESETS[preset].flat().items():
            given = overrides.get(name) is not None or name in LENGTHS
            if not given and value not in (was[name], usual[name]):
                raise CheckpointError(
                    f"`{name}` must be what this training began with, {was[name]}, "
                    f"but `preset` {preset} sets {value}",
                    f"leave `preset` out to go on, or {BEGIN_ANEW}",
                )
    may_grow = (*LENGTHS, "patience")
    return began.override(**{name: overrides.get(name) for name in may_grow})


def planned_steps(
    checkpoint: Checkpoint, config: Config, steps_per_epoch: int, most_epochs: int
) -> tuple[int | None, list[str]]:
    """Return the steps planned, or more if they are asked for, and notes on them.

    Minutes are worth ``most_epochs`` at the most. The steps are None for more minutes,
    if how many fit into them is yet to be measured.

    Raises:
        CheckpointError: less than planned is asked for, or minutes of a training
            that was planned in steps.
    """
    began, asked = checkpoint.config.training, config.training
    planned = checkpoint.total_steps
    if all(getattr(asked, name) == getattr(began, name) for name in LENGTHS):
        return planned, []
    if asked.minutes is None:
        steps = total_steps(asked, steps_per_epoch)
        if steps < planned:
            raise _too_short(
                f"at least the {planned:,} steps planned", f"{steps:,} were"
            )
        return steps, []
    minutes = f"`minutes` {asked.minutes:g} was"
    if began.minutes is None:
        raise _too_short(
            "`steps` or `epochs`, since this training was planned as "
            f"{planned:,} steps",
            minutes,
        )
    if asked.minutes < began.minutes:
        raise _too_short(f"at least the {began.minutes:g} minutes planned", minutes)
    if planned < most_epochs * steps_per_epoch:
        return None, []
    return planned, [
        f"more minutes add nothing: the text is short, and {most_epochs} epochs are "
        "all that a budget comes to"
    ]


def _too_short(expected: str, asked: str) -> CheckpointError:
    return CheckpointError(
        f"expected {expected}, but {asked} asked for",
        "leave the length out to go on as planned",
    )


def version_notes(checkpoint: Checkpoint) -> list[str]:
    """Say in one line which libraries are others now, since results may be too."""
    now = library_versions()
    changed = [
        f"{name} {was}, now {now.get(name, 'none')}"
        for name, was in checkpoint.versions.items()
        if now.get(name) != was
    ]
    note = (
        f"the checkpoint was written by {'; '.join(changed)}: the training goes on, "
        "but not bit for bit as it would have"
    )
    return [note] if changed else []


def _differs(name: str, was: object, now: object) -> CheckpointError:
    was, now = (("off", "on")[x] if isinstance(x, bool) else x for x in (was, now))
    return CheckpointError(
        f"`{name}` must be what this training began with, {was}, but was {now}",
        f"leave it out to go on, or {BEGIN_ANEW}",
    )
