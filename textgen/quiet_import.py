"""Importing TensorFlow without the notes that it prints on the way."""

from __future__ import annotations

import importlib
import os
from types import ModuleType


def import_quietly(name: str) -> ModuleType:
    """Import a module that needs TensorFlow; what native code says meanwhile is lost.

    TensorFlow's C++ notes go past Python's streams. ``TF_CPP_MIN_LOG_LEVEL`` holds
    back the later ones, but not those of the import itself. An import that fails
    raises as ever.

    Args:
        name: of the module, with its package.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed: there is nothing to keep quiet
        return importlib.import_module(name)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        return importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
