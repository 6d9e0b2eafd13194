"""What was understood of a model file, and what had to be assumed, for people to read.

Files of other programs leave out settings that had their default, and don't say what
their symbols are. `textgen.saving.keras_network` builds a network of them all the same;
here stands as what.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from textgen.errors import shown_path
from textgen.inference.weights import (
    BidirectionalWeights,
    GRUWeights,
    LSTMWeights,
    OneDirection,
    Recurrent,
)
from textgen.saving.container import Contents
from textgen.saving.find_model import is_model_name
from textgen.saving.keras_config import Layer, Version, read_config, read_version
from textgen.saving.keras_network import KerasModel, build_model
from textgen.saving.keras_schema import IDLE_LAYERS, RECURRENT_LAYERS
from textgen.saving.model_file import load_model_for, named, read_file
from textgen.saving.sandbox import Reader
from textgen.saving.trained_model import (
    TrainedModel,
    assumptions_of,
    model_of_contents,
)

# Two functions that had the same name.
HARD_SIGMOIDS = {
    "hard_sigmoid": "hard_sigmoid of Keras 2",
    "hard_sigmoid_3": "hard_sigmoid of Keras 3",
}
GATES, RESET = "recurrent_activation", "reset_after"


@dataclass(frozen=True)
class Summary:
    """A network as it was understood."""

    keras: str  # version of the Keras that wrote it
    layers: tuple[str, ...]  # from input to output
    weights: int
    vocabulary_size: int
    targets: str  # ``all``, or ``last`` if it is shown windows from zero state
    seq_length: int | None  # symbols in a window, if the file says it
    notes: tuple[str, ...]  # what else is to be known of it
    assumed: tuple[str, ...]  # what the file doesn't say


def summarize(contents: Contents, model: KerasModel) -> Summary:
    """Describe a file's contents and the model that was built of them."""
    version = read_version(contents.keras_version)
    layers = read_config(contents.config)
    parts = iter([part for part in model.network.layers if isinstance(part, Recurrent)])
    lines: list[str] = []
    defaults: dict[str, list[str]] = {}  # each with the layers that have it
    for layer in layers:
        if layer.kind in RECURRENT_LAYERS:
            part = next(parts)
            lines.append(_recurrent_line(layer, part))
            for default in _defaults(layer, part, version):
                defaults.setdefault(default, []).append(layer.name)
        elif layer.kind != "InputLayer":
            lines.append(_line(layer))
    return Summary(
        contents.keras_version,
        tuple(lines),
        sum(array.size for arrays in contents.weights.values() for array in arrays),
        model.network.vocabulary_size,
        model.targets,
        model.seq_length,
        notes=tuple(_notes(layers, model)),
        assumed=(
            *_assumed(contents, layers, model),
            *(f"{default} (layer {', '.join(x)})" for default, x in defaults.items()),
        ),
    )


@dataclass(frozen=True)
class Inspected:
    """A model file, and what was understood of it."""

    path: Path
    size_bytes: int
    summary: Summary
    model: TrainedModel | None  # None where its vocabulary isn't known


def inspect_model(
    model: str | os.PathLike[str],
    vocabulary_from: str | os.PathLike[str] | None = None,
    *,
    reader: Reader | None = None,
) -> Inspected:
    """Open a model to tell about it; without a vocabulary there is less to tell.

    Arguments and errors are those of `load_model`. What that warns of, of the file
    itself, is among what the summary says to be assumed.
    """
    if isinstance(model, str) and is_model_name(model):
        path = load_model_for(model, vocabulary_from, reader=reader).path
        assert path is not None
        return inspect_model(path, vocabulary_from)
    path, opened = Path(model), None
    with named(path):
        contents = read_file(path, reader)
        summary = summarize(contents, build_model(contents))
        if contents.metadata is not None or vocabulary_from is not None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                opened = model_of_contents(contents, path, vocabulary_from)
            assumed = [*summary.assumed, *(str(each.message) for each in caught)]
            if vocabulary_from is not None and Path(vocabulary_from).suffix != ".json":
                text = shown_path(vocabulary_from)
                assumed.append(f"its symbols are those of {text}, sorted")
            summary = replace(summary, assumed=tuple(dict.fromkeys(assumed)))
    return Inspected(path, path.stat().st_size, summary, opened)


def _line(layer: Layer) -> str:
    """Describe a layer that isn't recurrent."""
    name, settings = f"{layer.name}: {layer.kind}", layer.settings
    if layer.kind in IDLE_LAYERS:
        return f"{name}, for training only"
    if layer.kind == "Embedding":
        return f"{name}, {settings['input_dim']:,} × {settings['output_dim']:,}"
    facts = [f"{settings['units']:,} units"] if layer.kind == "Dense" else []
    if layer.kind in ("Dense", "Activation"):
        facts.append(settings.get("activation") or "linear")
    if layer.distributed:
        facts.append("at each step")
    return ", ".join([name, *facts])


def _recurrent_line(layer: Layer, part: Recurrent) -> str:
    name = f"{layer.name}: {layer.kind}"
    if isinstance(part, BidirectionalWeights):
        inner = _cell(part.forward)
        return f"{name}, {layer.directions[0].kind} {inner} each way, {part.merge}"
    return f"{name}, {_cell(part)}"


def _cell(part: OneDirection) -> str:
    facts = [f"{part.units:,} units", _named(part.activation)]
    if isinstance(part, LSTMWeights | GRUWeights):
        facts.append(f"gates {_named(part.recurrent_activation)}")
    if isinstance(part, GRUWeights) and part.recurrent_bias is not None:
        facts.append("reset after the product")
    return ", ".join(facts)


def _named(activation: str) -> str:
    return HARD_SIGMOIDS.get(activation, activation)


def _defaults(layer: Layer, part: Recurrent, version: Version) -> list[str]:
    """Return what a recurrent layer's description leaves to the Keras that wrote it."""
    if isinstance(part, BidirectionalWeights):
        both = zip(layer.directions, (part.forward, part.backward), strict=True)
        lines = [line for one in both for line in _defaults(*one, version)]
        return list(dict.fromkeys(lines))
    meant = {"activation": _named(part.activation)}
    if isinstance(part, LSTMWeights | GRUWeights):
        meant[GATES] = _named(part.recurrent_activation)
    if isinstance(part, GRUWeights):
        meant[RESET] = str(part.recurrent_bias is not None)
    if layer.kind.startswith("CuDNN"):  # which leaves no choice
        return []
    by = ".".join(map(str, version.number))
    return [
        f"{setting} isn't in the file: {value}, as by default in Keras {by}"
        for setting, value in meant.items()
        if setting not in layer.settings
    ]


def _notes(layers: Sequence[Layer], model: KerasModel) -> Iterator[str]:
    policies = {_policy(layer) for layer in layers} - {None, "float32"}
    if floats := sorted(x for x in policies if x and "float" in x):
        yield f"its {', '.join(floats)} is computed in float32"
    embeds = any(layer.kind == "Embedding" for layer in layers)
    if not embeds and not model.divides_ids:
        yield f"a symbol is one of {model.network.vocabulary_size:,} inputs (one-hot)"


def _assumed(
    contents: Contents, layers: Sequence[Layer], model: KerasModel
) -> Iterator[str]:
    if contents.metadata is None:  # what we wrote says how it is to be shown a text
        yield from assumptions_of(model)
    if not _ends_with_softmax(layers):
        yield "no softmax is at the end: what comes out are logits"


def _policy(layer: Layer) -> str | None:
    policy = layer.settings.get("dtype")
    return policy["config"]["name"] if isinstance(policy, dict) else policy


def _ends_with_softmax(layers: Sequence[Layer]) -> bool:
    last = [layer for layer in layers if layer.kind not in IDLE_LAYERS][-1]
    return last.kind == "Softmax" or last.settings.get("activation") == "softmax"
