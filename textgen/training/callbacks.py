"""Keras' callbacks in a training: what can't work is refused before it.

Most work as they do with `fit`. Their model is the network that is measured and saved
(`textgen.training.loop.Training.run`), and what they save of it opens here with its
vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras

from textgen.errors import OptionError, shown

# Of Keras' own, which change weights behind the training's back: what does it here.
REFUSED = {
    "BackupAndRestore": "a training keeps checkpoints; go on from them with `resume`",
    "SwapEMAWeights": "`schedule` averaged saves averaged weights",
}


def checked_callbacks(
    callbacks: Iterable[keras.callbacks.Callback] | keras.callbacks.Callback | None,
) -> list[keras.callbacks.Callback]:
    """Return the callbacks, one or none as a list; `OptionError` for what is none."""
    if callbacks is None:
        return []
    given = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise OptionError(
                f"`callbacks` must be Keras callbacks, but one was {shown(callback)}"
            )
        for name, instead in REFUSED.items():
            if isinstance(callback, getattr(keras.callbacks, name, ())):
                raise OptionError(f"`callbacks` can't have {name}", instead)
        watched = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if watched == ("val_accuracy", "auto"):
            callback.mode = "max"  # Keras would look for it in the compiled model
    return given
