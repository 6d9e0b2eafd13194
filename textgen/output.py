"""Where a trained model goes: checked before training, never over a better day."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from textgen.errors import OutputError
from textgen.model_file import save_model


def prepare_output(output: str | os.PathLike | None, corpus_name: str) -> Path:
    """Find out before training whether its result can be written.

    Args:
        output: the file asked for; None means ``models/NAME.h5``.
        corpus_name: NAME.

    Returns:
        The file to write; its folder exists.

    Raises:
        OutputError: naming the folder and the reason.
    """
    path = Path(output) if output is not None else Path("models", f"{corpus_name}.h5")
    if path.suffix != ".h5":
        raise OutputError(f"--output must end in .h5, but was {str(path)!r}")
    if path.name.endswith("-pretrained.h5"):
        raise OutputError(
            f"--output must not be a pretrained model, but was {str(path)!r}; "
            "choose another name"
        )
    if path.is_dir():
        raise OutputError(f"--output must be a file, but {str(path)!r} is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"expected a folder to write the model to, but {str(path.parent)!r} "
            f"can't be written ({error.strerror}); choose another with --output"
        ) from error
    return path


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
        OutputError: the file can't be written; the earlier one is intact.
    """
    fresh = path.with_name(f"{path.stem}.new.h5")
    save_model(keras_model, metadata, fresh)
    previous = None
    if path.exists():
        previous = path.with_name(f"{path.stem}.previous.h5")
        spare = path.with_name(f"{path.stem}.spare.h5")
        spare.unlink(missing_ok=True)
        try:
            os.link(path, spare)
        except OSError:  # a file system without hard links
            shutil.copy2(path, spare)
        os.replace(spare, previous)
    os.replace(fresh, path)
    return previous
