"""What a model file holds, read but not yet believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the process that reads starts before anything slow is imported
    import numpy as np

# How messages about such a file end.
ADVICE = "give a file written by train.py, or a Keras model saved as .h5"


@dataclass(frozen=True)
class Contents:
    """Plain text and arrays out of a model file.

    Attributes:
        config: Keras' description of the model, JSON.
        keras_version: of the program that wrote it, such as ``2.0.6``; None in the
            oldest files.
        weights: each layer's arrays, float32, in the order that Keras gave them.
        metadata: textgen's own JSON; None if there is none.
        hashed: the SHA-256 before the HDF5 part is there, and right.
    """

    config: str
    keras_version: str | None
    weights: Mapping[str, tuple[np.ndarray, ...]]
    metadata: str | None
    hashed: bool = False
