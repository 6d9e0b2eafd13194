"""Whether a checkpoint and what the user asks for now belong to the same training.

Options that are not given are taken from the checkpoint; those that are given must be
what they were. The length alone may grow.
"""

from __future__ import annotations

from typing import Any

from textgen.config import PRESETS, Config
from textgen.data.corpus import Corpus
from textgen.errors import CheckpointError
from textgen.system.checks import check_choice
from textgen.training.checkpoint import Checkpoint, library_versions
from textgen.training.schedule import most_steps, total_steps

LENGTHS = ("minutes", "steps", "epochs")
OPTION_NAMES = {"seq_length": "window"}
SHOWN_DIGITS = 12  # of a SHA-256


def check_corpus(checkpoint: Checkpoint, corpus: Corpus, kind: str | None) -> None:
    """Raise unless a text is the one that the training began with.

    Args:
        checkpoint: of the training.
        corpus: the text as it is now.
        kind: as asked for, or None.

    Raises:
        CheckpointError: it differs.
    """
    began = checkpoint.corpus
    if kind not in (None, began["kind"]):
        raise CheckpointError(_differs("--kind", began["kind"], kind))
    if corpus.sha256 != began["sha256"]:
        raise CheckpointError(
            f"expected the text that this training began with, {began['name']!r} of "
            f"SHA-256 {began['sha256'][:SHOWN_DIGITS]}…, but {corpus.name!r} has "
            f"{corpus.sha256[:SHOWN_DIGITS]}…: bring that text back, or leave out "
            "--resume to train anew"
        )


def resumed_config(
    checkpoint: Checkpoint, preset: str | None, overrides: dict[str, Any]
) -> Config:
    """Return the configuration to go on with.

    It is the checkpoint's, with the length asked for, if any; whether that is long
    enough is for `planned_steps` to say.

    Args:
        checkpoint: of the training.
        preset: name of a preset asked for, or None; it stands for what it sets.
        overrides: fields of the configuration, flat; None means not given.

    Raises:
        CheckpointError: an option differs from what it was; it is named.
        OptionError: a value out of bounds.
    """
    began = checkpoint.config
    wanted = _flat(began.override(**overrides))
    for name, was in _flat(began).items():
        chosen_then = name == "precision" and wanted[name] == "auto"
        if name not in LENGTHS and wanted[name] != was and not chosen_then:
            raise CheckpointError(_differs(_option(name), was, wanted[name]))
    if preset is not None:
        check_choice("preset", preset, tuple(PRESETS))
        given = {name for name, value in overrides.items() if value is not None}
        _check_preset(preset, began, given)
    return began.override(**{name: overrides.get(name) for name in LENGTHS})


def _check_preset(preset: str, began: Config, given: set[str]) -> None:
    """Raise unless a training began with what a preset sets and isn't given."""
    was, usual = _flat(began), _flat(Config())
    for name, value in _flat(PRESETS[preset]).items():
        if name in given or name in LENGTHS or value in (was[name], usual[name]):
            continue
        raise CheckpointError(
            f"{_option(name)} must be what this training began with, {was[name]}, but "
            f"--preset {preset} sets {value}: leave --preset out to go on, or leave "
            "out --resume to train anew"
        )


def planned_steps(
    checkpoint: Checkpoint, config: Config, steps_per_epoch: int
) -> int | None:
    """Return the length to go on to: the one planned, or a greater one asked for.

    Args:
        checkpoint: of the training.
        config: of `resumed_config`.
        steps_per_epoch: steps that see each training window once.

    Returns:
        Steps in all; None if it is a greater number of minutes that may come to
        more, which is yet to be measured.

    Raises:
        CheckpointError: less than planned is asked for, or minutes of a training
            that was planned in steps.
    """
    began, asked = checkpoint.config.training, config.training
    if asked == began:
        return checkpoint.total_steps
    if asked.minutes is None:
        steps = total_steps(asked, steps_per_epoch)
        if steps < checkpoint.total_steps:
            raise CheckpointError(
                f"expected at least the {checkpoint.total_steps:,} steps planned, but "
                f"{steps:,} were asked for: leave the length out to go on as planned"
            )
        return steps
    if began.minutes is None:
        raise CheckpointError(
            "expected --steps or --epochs, since this training was planned as "
            f"{checkpoint.total_steps:,} steps, but --minutes {asked.minutes:g} was "
            "asked for: leave it out to go on as planned"
        )
    if asked.minutes < began.minutes:
        raise CheckpointError(
            f"expected at least the {began.minutes:g} minutes planned, but --minutes "
            f"{asked.minutes:g} was asked for: leave it out to go on as planned"
        )
    if checkpoint.total_steps >= most_steps(steps_per_epoch):
        return checkpoint.total_steps  # more minutes add nothing
    return None


def length_notes(
    checkpoint: Checkpoint, config: Config, steps: int | None, steps_per_epoch: int
) -> list[str]:
    """Say in one line that a greater number of minutes comes to no more steps.

    Args:
        checkpoint: of the training.
        config: of `resumed_config`.
        steps: of `planned_steps`.
        steps_per_epoch: steps that see each training window once.
    """
    asked, began = config.training.minutes, checkpoint.config.training.minutes
    if steps is None or asked in (None, began):
        return []
    return [
        f"more minutes add nothing: the text is short, and {steps // steps_per_epoch} "
        "epochs are all that a budget comes to"
    ]


def version_notes(checkpoint: Checkpoint) -> list[str]:
    """Say in one line which libraries are others now, since results may be too."""
    now = library_versions()
    changed = [
        f"{name} {was}, now {now.get(name, 'none')}"
        for name, was in checkpoint.versions.items()
        if now.get(name) != was
    ]
    if not changed:
        return []
    return [
        f"the checkpoint was written by {'; '.join(changed)}: the training goes on, "
        "but not bit for bit as it would have"
    ]


def _option(name: str) -> str:
    return "--" + OPTION_NAMES.get(name, name.replace("_", "-"))


def _differs(option: str, was: object, now: object) -> str:
    return (
        f"{option} must be what this training began with, {was}, but was {now}: leave "
        "it out to go on, or leave out --resume to train anew"
    )


def _flat(config: Config) -> dict[str, Any]:
    return {
        name: value
        for part in config.to_dict().values()
        for name, value in part.items()
    }
