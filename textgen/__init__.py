"""Small recurrent text generators: train on your text, complete a prompt in a second.

    train(corpus, …) -> TrainingResult          from a text to one saved .h5 file
    load_model(name_or_path) -> TrainedModel    opens it, without TensorFlow
    mix_models([a, b], [0.7, 0.3])              lets several predict as one
    generate_output(model, prompt, …) -> str    completes a prompt
    stream_output(model, prompt, …)             yields the new characters one by one
    generate_many(model, prompts_or_count, …)   completes many prompts together
    generate_form(model, form, prompt, …)       writes a sonnet, a limerick and others
    evaluate(model, text)                       tells how well it predicts a text
    surprise(model, text)                       tells how well it predicts each symbol
    activations(model, text)                    tells what its units do along a text
    novelty(model)                              tells how much of its text it copies

Each name is imported when it is first used: only training needs TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textgen.config import CompletionConfig as CompletionConfig
    from textgen.config import Config as Config
    from textgen.data.corpus import load_corpus as load_corpus
    from textgen.data.windows import make_windows as make_windows
    from textgen.errors import CheckpointError as CheckpointError
    from textgen.errors import CorpusError as CorpusError
    from textgen.errors import FormError as FormError
    from textgen.errors import ModelFileError as ModelFileError
    from textgen.errors import OptionError as OptionError
    from textgen.errors import OutputError as OutputError
    from textgen.errors import PeerError as PeerError
    from textgen.errors import TextgenError as TextgenError
    from textgen.errors import TrainingError as TrainingError
    from textgen.errors import VocabularyError as VocabularyError
    from textgen.evaluation.activations import activations as activations
    from textgen.evaluation.judging import evaluate as evaluate
    from textgen.evaluation.novelty import novelty as novelty
    from textgen.evaluation.surprise import surprise as surprise
    from textgen.generation.batch import generate_many as generate_many
    from textgen.generation.beam import BeamSearch as BeamSearch
    from textgen.generation.poems import generate_form as generate_form
    from textgen.generation.poems import stream_form as stream_form
    from textgen.generation.samplers import Greedy as Greedy
    from textgen.generation.samplers import MinP as MinP
    from textgen.generation.samplers import NoRepeatNgram as NoRepeatNgram
    from textgen.generation.samplers import RepetitionPenalty as RepetitionPenalty
    from textgen.generation.samplers import Sampler as Sampler
    from textgen.generation.samplers import Temperature as Temperature
    from textgen.generation.samplers import TemperatureSchedule as TemperatureSchedule
    from textgen.generation.samplers import Texts as Texts
    from textgen.generation.samplers import TopK as TopK
    from textgen.generation.samplers import TopP as TopP
    from textgen.generation.samplers import TypicalP as TypicalP
    from textgen.generation.streaming import (
        UnknownSymbolsWarning as UnknownSymbolsWarning,
    )
    from textgen.generation.streaming import generate_output as generate_output
    from textgen.generation.streaming import stream_output as stream_output
    from textgen.saving.mixed_model import mix_models as mix_models
    from textgen.saving.model_file import load_model as load_model
    from textgen.saving.model_file import save_model as save_model
    from textgen.training.pipeline import train as train
    from textgen.training.result import TrainingResult as TrainingResult

__version__ = "0.1.0"

# Where each public name is defined.
_MODULES = {
    "textgen.config": ["CompletionConfig", "Config"],
    "textgen.data.corpus": ["load_corpus"],
    "textgen.data.windows": ["make_windows"],
    "textgen.errors": [
        *("TextgenError", "OptionError", "CorpusError", "VocabularyError"),
        *("ModelFileError", "OutputError", "CheckpointError", "TrainingError"),
        *("PeerError", "FormError"),
    ],
    "textgen.evaluation.activations": ["activations"],
    "textgen.evaluation.judging": ["evaluate"],
    "textgen.evaluation.surprise": ["surprise"],
    "textgen.evaluation.novelty": ["novelty"],
    "textgen.generation.batch": ["generate_many"],
    "textgen.generation.beam": ["BeamSearch"],
    "textgen.generation.samplers": [
        *("Greedy", "MinP", "NoRepeatNgram", "RepetitionPenalty", "Sampler"),
        *("Temperature", "TemperatureSchedule", "Texts", "TopK", "TopP", "TypicalP"),
    ],
    "textgen.generation.poems": ["generate_form", "stream_form"],
    "textgen.generation.streaming": [
        *("UnknownSymbolsWarning", "generate_output", "stream_output"),
    ],
    "textgen.saving.mixed_model": ["mix_models"],
    "textgen.saving.model_file": ["load_model", "save_model"],
    "textgen.training.pipeline": ["train"],
    "textgen.training.result": ["TrainingResult"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
