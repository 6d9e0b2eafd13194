"""Where a trained model goes: checked before training, never over a better day."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from textgen.errors import ModelFileError, OutputError, shown_path
from textgen.saving.model_file import load_model, save_model
from textgen.training.checkpoint import checkpoint_paths


def prepare_output(output: str | os.PathLike | None, corpus_name: str) -> Path:
    """Find out before training whether its result can be written.

    Args:
        output: the file asked for; None means ``models/NAME.h5``.
        corpus_name: NAME.

    Returns:
        The file to write, with a symbolic link followed; its folder exists.

    Raises:
        OutputError: naming the file or folder and the reason.
    """
    path = Path(output) if output is not None else Path("models", f"{corpus_name}.h5")
    if path.suffix != ".h5":
        raise OutputError(f"--output must end in .h5, but was {shown_path(path)}")
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name at least as long as any that will be written.
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".previous.h5"
        ):
            pass
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        is_file = isinstance(error, FileExistsError)
        reason = "it is a file" if is_file else getattr(error, "strerror", None)
        raise OutputError(
            f"expected a folder to write the model to, but {shown_path(path.parent)} "
            f"can't be written ({reason or error}); choose another with --output"
        ) from error
    return path


def check_room(path: Path, checkpoint_bytes: int) -> None:
    """Find out before training whether there is room for all that it will write.

    At the most that is three checkpoints: the newest, the one before it, and the next,
    which is written beside them. The model is no larger than one, and comes later.

    Args:
        path: of `prepare_output`.
        checkpoint_bytes: about what a checkpoint takes.

    Raises:
        OutputError: the disk is too full.
    """
    needed = 3 * checkpoint_bytes
    for file in checkpoint_paths(path):
        if file.exists():  # and will be replaced
            needed -= min(file.stat().st_size, checkpoint_bytes)
    try:
        room = shutil.disk_usage(path.parent)
    except OSError:
        return
    if room.total and room.free < needed:  # some disks don't tell, and say 0
        raise OutputError(
            f"expected about {needed:,} bytes free in {shown_path(path.parent)} for "
            f"the model and its checkpoints, but there are {room.free:,}: make room, "
            "or choose another folder with --output"
        )


def _check_replaceable(path: Path) -> None:
    if path.name.endswith("-pretrained.h5"):
        raise OutputError(
            f"--output must not be a pretrained model, but was {shown_path(path)}; "
            "choose another name"
        )
    if path.name.endswith(".previous.h5"):
        raise OutputError(
            f"--output must not be an earlier model, but was {shown_path(path)}: "
            "choose another name, without '.previous'"
        )
    for file in (path, _previous(path), *checkpoint_paths(path)):
        if file.exists() and not file.is_file():
            raise OutputError(
                f"expected to write the file {shown_path(file)}, but it is a folder or "
                "device; choose another with --output"
            )


def save_keeping_previous(
    keras_model: Any, metadata: dict[str, Any], path: Path
) -> Path | None:
    """Save a model; an earlier file of that name becomes ``NAME.previous.h5``.

    At any moment the earlier model is under one of the two names. What the same
    training saved when it was interrupted or diverged is no earlier model: it is
    replaced, and a ``NAME.previous.h5`` stays as it is. So it does when it is a
    finished model and the one to be replaced is not, of whatever training.

    Args:
        keras_model: a `keras.Model` of `textgen.modeling.model`.
        metadata: see `textgen.saving.model_file.save_model`.
        path: the file to write.

    Returns:
        Where the earlier file is now, or None.

    Raises:
        OutputError: the file can't be written; the earlier one is intact, and so is
            an earlier ``NAME.previous.h5``.
    """
    previous = None
    if path.exists():
        record = _record_of(path)
        if not (
            _is_earlier_self(record, metadata)
            or _is_worth_less(record, than=_previous(path))
        ):
            previous = _previous(path)
    save_model(keras_model, metadata, path, previous=previous)
    return previous


def is_model_of(path: Path, run: str, steps: int) -> bool:
    """Return whether a file is the model that a training ended with.

    Args:
        path: the file; it may be missing or anything else.
        run: name of the training, see `textgen.training.checkpoint.Checkpoint`.
        steps: how many it took.
    """
    record = _record_of(path)
    return (record.get("run"), record.get("steps")) == (run, steps) and not record.get(
        "interrupted"
    )


def _is_earlier_self(theirs: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a record is of what this training saved on its way, or just now."""
    ours = metadata.get("training", {})
    if ours.get("run") is None or ours["run"] != theirs.get("run"):
        return False
    return _is_unfinished(theirs) or theirs.get("steps") == ours["steps"]


def _is_worth_less(record: dict[str, Any], than: Path) -> bool:
    """Whether a record is of an unfinished model, and a file a finished one."""
    return (
        _is_unfinished(record)
        and than.exists()
        and not _is_unfinished(_record_of(than))
    )


def _is_unfinished(record: dict[str, Any]) -> bool:
    return bool(record.get("interrupted") or record.get("diverged"))


def _record_of(path: Path) -> dict[str, Any]:
    """Return the training record of a model file, empty if there is none."""
    try:
        record = load_model(path).metadata.get("training")
    except ModelFileError:
        return {}
    return record if isinstance(record, dict) else {}


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous.h5")
