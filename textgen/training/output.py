"""Where a trained model goes: checked before training, never over a better day."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from textgen.errors import ModelFileError, OptionError, OutputError, shown_path
from textgen.saving.model_file import load_model, save_model
from textgen.saving.trained_model import is_unfinished
from textgen.system.files import make_writable, output_error
from textgen.training.checkpoint import checkpoint_paths
from textgen.training.history import history_path
from textgen.training.plots import picture_path

# What the system says of a disk on which no file can be locked.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
ANOTHER = "choose another `output`"
RESERVED = {  # for other models
    "-pretrained": "a pretrained",
    r"\.previous": "an earlier",
    r"\.step-\d+": "a snapshot",
}


def prepare_output(output: str | os.PathLike[str] | None, corpus_name: str) -> Path:
    """Return the file to write, with a symbolic link followed; make its folder.

    `OutputError` says before training that it can't be written, or must not be.
    """
    path = Path("models", f"{corpus_name}.h5") if output is None else Path(output)
    if path.suffix != ".h5":
        raise OutputError(f"`output` must end in .h5, but was {shown_path(path)}")
    if os.path.islink(path):
        path = Path(os.path.realpath(path))
    for ending, what in RESERVED.items():
        if re.search(f"{ending}$", path.stem):
            raise OutputError(
                f"`output` must not be {what} model, but was {shown_path(path)}",
                "choose another name",
            )
    longest = checkpoint_paths(path)[1].name  # of what will be written
    make_writable(path.parent, "`output`", longest, ANOTHER)
    for file in (path, _previous(path), *checkpoint_paths(path)):
        if file.exists() and not file.is_file():
            raise OutputError(
                f"expected to write the file {shown_path(file)}, but it is a folder or "
                "device",
                ANOTHER,
            )
    return path


def check_apart(csv: str | os.PathLike[str] | None, output: Path) -> None:
    """Raise `OptionError` if the log would be a file that the training writes."""
    own = (
        output, _previous(output), *checkpoint_paths(output), history_path(output),
        picture_path(output),
    )  # fmt: skip
    if csv is not None and os.path.realpath(csv) in map(os.path.realpath, own):
        raise OptionError(
            "`csv` must write another file than the training's own, but was "
            f"{shown_path(csv)}",
            "choose another name",
        )


@contextlib.contextmanager
def locked(output: Path) -> Iterator[list[str]]:
    """Let no other training write this model file meanwhile.

    The lock is on an empty file beside it. It vanishes with its process, however that
    ends, and the file is removed when the lock is released. The list that is yielded
    has a note where files can't be locked, as on some network disks.

    Raises:
        OutputError: another training holds it, or the folder can't be written.
    """
    path = output.with_name(f".{output.name}.lock")
    lock, notes = FileLock(path, timeout=0), []
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"expected to be the only training of {shown_path(output)}, but another is "
            "running",
            f"wait for it, or {ANOTHER}",
        ) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise output_error(path, error) from error
        notes.append(
            f"{shown_path(path.parent)} knows no locks: start no other training of "
            f"{output.name} meanwhile"
        )
    try:
        yield notes
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()
        lock.release()


def save_keeping_previous(
    keras_model: Any, metadata: dict[str, Any], path: Path
) -> Path | None:
    """Save a model; an earlier file of that name becomes ``NAME.previous.h5``.

    What the same training saved when it was interrupted or diverged is no earlier
    model: it is replaced, and a ``NAME.previous.h5`` stays as it is. That stays, too,
    when it is a finished model and the one to be replaced is not, of whatever training.

    Returns:
        Where the earlier file is now, or None.
    """
    if not path.exists() or _is_worth_nothing(metadata.get("training", {}), path):
        save_model(keras_model, metadata, path)
        return None
    save_model(keras_model, metadata, path, previous=_previous(path))
    return _previous(path)


def _is_worth_nothing(new: dict[str, Any], path: Path) -> bool:
    """Return whether the model to be replaced need not be kept as the previous one."""
    old = _record_of(path)
    if new.get("run") is not None and new["run"] == old.get("run"):
        return is_unfinished(old) or new["steps"] == old.get("steps")
    previous = _previous(path)
    return (
        is_unfinished(old)
        and previous.exists()
        and not is_unfinished(_record_of(previous))
    )


def remove_checkpoints(output: Path, *, keep_newest: bool = False) -> None:
    """Remove the checkpoints of a model file whose training is finished.

    One that can't be removed stays, since the model is what counts.
    """
    newest, previous = checkpoint_paths(output)
    for path in (previous, newest)[: 1 if keep_newest else 2]:
        with contextlib.suppress(OSError):
            path.unlink()


def _record_of(path: Path) -> dict[str, Any]:
    """Return the training record of a model file, empty if there is none."""
    try:
        record = load_model(path).metadata.get("training")
    except ModelFileError:
        return {}
    return record if isinstance(record, dict) else {}


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous.h5")
