"""Small recurrent text generators: train on your text, complete a prompt in a second.

    train(corpus, **options) -> path            from a text to one saved .h5 file
    load_model(path) -> TrainedModel            opens it, without TensorFlow
    generate_output(model, prompt, …) -> str    completes a prompt
    stream_output(model, prompt, …)             yields the new characters one by one

Each is imported when it is first used: only `train` needs TensorFlow.
"""

import importlib
from typing import Any

_HOMES = {
    "generate_output": "textgen.generation.streaming",
    "load_model": "textgen.saving.model_file",
    "stream_output": "textgen.generation.streaming",
    "train": "textgen.training.pipeline",
}

__all__ = ["generate_output", "load_model", "stream_output", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
