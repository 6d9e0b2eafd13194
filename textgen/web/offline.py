"""A model as one HTML file that completes prompts in a browser, without any server.

Its network, a decoder in JavaScript and the page are all in that file, which may be
opened from the disk. As on the pages of `textgen.evaluation.pages`, what comes from the
model is data that the script makes text of, and no other script runs.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from textgen.config import MAX_SEED, CompletionConfig, PageConfig
from textgen.data.vocabulary import END_SYMBOL, TYPOGRAPHIC_FORMS
from textgen.errors import ModelFileError, shown
from textgen.evaluation.pages import policy_hash, read_template, script_data
from textgen.generation.streaming import generate_output
from textgen.inference.weights import (
    GRUWeights,
    LSTMWeights,
    Network,
    OneDirection,
    SimpleRNNWeights,
)
from textgen.saving.onnx_file import exportable_layers
from textgen.saving.trained_model import TrainedModel
from textgen.system.terminal import one_line

# A first text's words that stand within so many characters, or else so many characters.
BEGINNING = re.compile(r".{1,24}(?<=\s)|.{0,12}")
FIRST_SEED = 1
LARGEST_STEP = 127  # of 8 bits with a sign
KINDS = {LSTMWeights: "LSTM", GRUWeights: "GRU", SimpleRNNWeights: "SimpleRNN"}


def offline_page(model: TrainedModel, config: PageConfig) -> str:
    """Return a page that completes prompts by a model, and shows a first text of it.

    A `ModelFileError` says that its network can't be exported, or that its symbols are
    more than a character each.
    """
    layers = exportable_layers(model.network)
    symbols = model.vocabulary.symbols
    if longer := [symbol for symbol in symbols if len(symbol) > 1]:
        raise ModelFileError(
            "expected a model whose symbols are one character each, but received "
            f"{shown(longer[0])} among {len(symbols):,}",
            "a page can't read such models; write ONNX by `onnx`",
        )
    style = read_template("colours.css") + _static("page.css") + _static("offline.css")
    scripts = map(_static, ("decoder.js", "drawing.js", "offline.js"))
    source = "".join([read_template("characters.js"), *scripts])
    weights = b"".join(map(_encoded, _arrays(model.network, layers)))
    title = config.title or title_of(model)
    return Template(_static("offline.html")).substitute(
        title=html.escape(one_line(title)),
        style=style,
        style_hash=policy_hash(style),
        script=source,
        script_hash=policy_hash(source),
        temperature=CompletionConfig.temperature,
        length=CompletionConfig.length,
        max_seed=MAX_SEED,
        data=script_data(_form(model, layers) | _first(model)),
        weights=base64.b64encode(weights).decode(),
    )


def title_of(model: TrainedModel, name: str | None = None) -> str:
    """Return what the model was trained on, else its own or its file's name."""
    corpus = model.metadata.get("corpus", {}).get("name")
    file = model.path.stem if model.path else "a model"
    title = corpus if isinstance(corpus, str) and corpus else name or file
    return title[0].upper() + title[1:]


def _first(model: TrainedModel) -> dict[str, str]:
    """Return a first text, and its beginning as a prompt to try.

    A line is short, and is given no beginning.
    """
    text = generate_output(model, "", seed=FIRST_SEED).lstrip()
    beginning = BEGINNING.match(text)
    prompt = beginning[0] if beginning and not model.makes_lines else ""
    return {"prompt": prompt, "text": text}


def _static(name: str) -> str:
    folder = resources.files("textgen.web") / "static"
    return (folder / name).read_text(encoding="utf-8")


def _form(model: TrainedModel, layers: tuple[OneDirection, ...]) -> dict[str, Any]:
    """Return what the script has to know beside the weights."""
    symbols, windows = model.vocabulary.symbols, model.windows
    embedding = model.network.embedding
    return {
        "symbols": symbols,
        "end": model.end_id,
        # What an empty prompt begins with, as in `textgen.generation.streaming`.
        "start": symbols.index(END_SYMBOL) if END_SYMBOL in symbols else 0,
        "forms": TYPOGRAPHIC_FORMS,
        "window": windows.seq_length if windows.targets == "last" else 0,
        "embedding": 0 if embedding is None else embedding.shape[1],
        "layers": [_layer_form(layer) for layer in layers],
    }


def _layer_form(layer: OneDirection) -> dict[str, Any]:
    gate = None if isinstance(layer, SimpleRNNWeights) else layer.recurrent_activation
    return {
        "kind": KINDS[type(layer)],
        "units": layer.units,
        "activation": layer.activation,
        "gate": gate,
        "resetsAfter": getattr(layer, "recurrent_bias", None) is not None,
    }


def _arrays(network: Network, layers: tuple[OneDirection, ...]) -> Iterator[np.ndarray]:
    """Yield the arrays in the order in which the script takes them.

    A matrix has a row for each number that it gives, so that each is the product of two
    runs of memory. The first has one for each symbol: the embedding, or for one-hot
    input the first layer's kernel, which then doesn't come again.
    """
    first = layers[0]
    yield first.kernel if network.embedding is None else network.embedding
    for layer in layers:
        if layer is not first or network.embedding is not None:
            yield layer.kernel.T
        yield layer.recurrent_kernel.T
        yield layer.bias
        if isinstance(layer, GRUWeights) and layer.recurrent_bias is not None:
            yield layer.recurrent_bias
    yield network.dense_kernel.T
    yield network.drawn_bias


def _encoded(array: np.ndarray) -> bytes:
    """Return an array as little-endian bytes, a multiple of four.

    Of a matrix (R, C) they are the scales (R,) float32 of its rows, and then the rows
    in steps of them, a byte each. Vectors, which are small, are float32.
    """
    if array.ndim == 1:
        return array.astype("<f4").tobytes()
    scales = np.abs(array).max(axis=1, keepdims=True) / LARGEST_STEP
    scales[scales == 0] = 1
    steps = np.rint(array / scales).astype(np.int8).tobytes()
    return scales.astype("<f4").tobytes() + steps + bytes(-len(steps) % 4)
