"""Where a trained model goes: checked before training, never over a better day."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from textgen.atomic_file import output_error
from textgen.errors import OutputError
from textgen.model_file import save_model


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
        raise OutputError(f"--output must end in .h5, but was {str(path)!r}")
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
    except OSError as error:
        is_file = isinstance(error, FileExistsError)
        reason = "it is a file" if is_file else error.strerror
        raise OutputError(
            f"expected a folder to write the model to, but {str(path.parent)!r} "
            f"can't be written ({reason}); choose another with --output"
        ) from error
    return path


def _check_replaceable(path: Path) -> None:
    if path.name.endswith("-pretrained.h5"):
        raise OutputError(
            f"--output must not be a pretrained model, but was {str(path)!r}; "
            "choose another name"
        )
    for file in (path, _previous(path)):
        if file.exists() and not file.is_file():
            raise OutputError(
                f"expected to write the file {str(file)!r}, but it is a folder or "
                "device; choose another with --output"
            )


def save_keeping_previous(
    keras_model: Any, metadata: dict[str, Any], path: Path
) -> Path | None:
    """Save a model; an earlier file of that name becomes ``NAME.previous.h5``.

    At no moment is there no complete file called ``path``, if there was one before.

    Args:
        keras_model: a `keras.Model` of `textgen.model`.
        metadata: see `textgen.model_file.save_model`.
        path: the file to write.

    Returns:
        Where the earlier file is now, or None.

    Raises:
        OutputError: the file can't be written; the earlier one is intact, and so is
            an earlier ``NAME.previous.h5``.
    """
    if not path.exists():
        save_model(keras_model, metadata, path)
        return None
    previous = _previous(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".textgen-", dir=path.parent) as folder:
            spare = Path(folder, path.name)
            _keep(path, spare)
            save_model(keras_model, metadata, path)
            os.replace(spare, previous)
    except OSError as error:
        raise output_error(path, error) from error
    return previous


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous.h5")


def _keep(path: Path, spare: Path) -> None:
    """Give the file a second name, or make a copy where there are no hard links."""
    try:
        os.link(os.path.realpath(path), spare)
    except OSError:
        shutil.copy2(path, spare)
