"""Keras' description of a model, of any version → one chain of known layers.

Keras 1 and 2.0 to 2.2 wrote a `Sequential` as a list, later ones as a mapping; a
functional model names for each layer what it is called on, in three notations. Layers
of Keras 1 have other names for their settings. What comes out is one form: today's
names, and the meaning of the time that the file is from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textgen.errors import ModelFileError, shown
from textgen.saving.container import ADVICE
from textgen.saving.keras_schema import (
    INPUT_TYPES,
    KNOWN_ITEM_KEYS,
    KNOWN_MODEL_KEYS,
    KNOWN_SETTINGS,
    LAYERS,
    POLICIES,
    RENAMED,
)

MAX_LAYERS = 100
MAX_NAME_CHARS = 200
SHAPES = ("batch_input_shape", "batch_shape")  # where a layer says that of its input


@dataclass(frozen=True)
class Layer:
    """A layer as its file describes it, checked but for its arrays.

    Attributes:
        kind: one of `textgen.saving.keras_schema.LAYERS`; what was time-distributed
        stands
            for itself.
        name: of its arrays' group.
        settings: by today's names.
        distributed: whether it was within a ``TimeDistributed``.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    distributed: bool = False

    @property
    def shown(self) -> str:
        """How messages call it."""
        return f"layer {shown(self.name)}"


@dataclass(frozen=True)
class Version:
    """Which Keras wrote a file.

    Attributes:
        number: its first two numbers.
        is_tensorflow: whether it was the one within TensorFlow, before 2.3 another.
    """

    number: tuple[int, int]
    is_tensorflow: bool = False


def read_version(version: str | None) -> Version:
    """Read a version such as ``2.2.4-tf``; None means the first ones, of Keras 1.

    Raises:
        ModelFileError: if it has no such form, or is of no Keras known here.
    """
    if version is None:
        return Version((1, 0))
    match = re.match(r"(\d{1,3})\.(\d{1,3})(?!\d)", version)
    if not match or not 1 <= int(match[1]) <= 3:
        raise ModelFileError(
            f"expected a file of Keras 1, 2 or 3, but its version is {shown(version)}: "
            f"{ADVICE}"
        )
    return Version((int(match[1]), int(match[2])), version.endswith("-tf"))


def read_config(config: str, version: Version) -> list[Layer]:
    """Return a model's layers in order, each known and feeding the next only.

    Args:
        config: the file's JSON.
        version: of the Keras that wrote it.

    Raises:
        ModelFileError: for anything that isn't known here.
    """
    try:
        description = json.loads(config)
        layers = _chain(description)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as e:
        raise ModelFileError(
            f"expected a description of a Keras model, but it can't be read: {ADVICE}"
        ) from e
    old = version.number < (2, 0)
    return [_known(kind, name, settings, old) for kind, name, settings in layers]


def _chain(description: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Return kind, name and settings of each layer, in order."""
    kind, model = description["class_name"], description["config"]
    _check_known("the model", description, KNOWN_ITEM_KEYS)
    _check_own("the model", description, kind)
    if isinstance(model, list):
        model = {"layers": model}
    _check_known("the model", model, KNOWN_MODEL_KEYS)
    items = model["layers"]
    if not isinstance(items, list) or len(items) > MAX_LAYERS:
        raise ModelFileError(
            f"expected a list of at most {MAX_LAYERS} layers, but received "
            f"{len(items):,}: {ADVICE}"
        )
    for item in items:
        _check_known("a layer", item, KNOWN_ITEM_KEYS)
        _check_own("a layer", item, item["class_name"])
    layers = [
        (item["class_name"], item["config"]["name"], item["config"]) for item in items
    ]
    names = [name for _, name, _ in layers]
    if not all(isinstance(name, str) for name in names):
        raise TypeError("a name that is no text")
    if kind in ("Functional", "Model"):
        linear = _is_linear(model, names)
    else:
        linear = kind == "Sequential"
    if not linear or len(set(names)) < len(names):
        raise ModelFileError(
            "expected a Functional or Sequential model whose layers form one chain, "
            f"but received another {shown(kind)}: {ADVICE}"
        )
    return _with_built_shape(layers, model.get("build_input_shape"))


def _with_built_shape(
    layers: list[tuple[str, str, Any]], shape: Any
) -> list[tuple[str, str, Any]]:
    """Give the first layer the shape that the model was built for, if it has none."""
    if shape is None or not layers:
        return layers
    kind, name, settings = layers[0]
    if any(settings.get(key) is not None for key in SHAPES):
        return layers
    return [(kind, name, {**settings, "batch_input_shape": shape}), *layers[1:]]


def _is_linear(model: Mapping[str, Any], names: list[str]) -> bool:
    """Tell whether each layer is called once, on the one before."""
    calls = [item["inbound_nodes"] for item in model["layers"]]
    ends = (_layer_names(model["input_layers"]), _layer_names(model["output_layers"]))
    if ends != (names[:1], names[-1:]) or calls[0] != []:
        return False
    return all(
        len(call) == 1 and _caller(call[0]) == before
        for call, before in zip(calls[1:], names, strict=False)
    )


def _layer_names(ends: Sequence[Any]) -> list[str]:
    """Names in ``["ids", 0, 0]``, or in a list of such: Keras writes both."""
    return [ends[0]] if isinstance(ends[0], str) else [end[0] for end in ends]


def _caller(node: Mapping[str, Any] | Sequence[Any]) -> str | None:
    """Name of the layer whose first output is the only tensor of a call.

    Keras 3 writes a mapping; Keras 2 ``[["lstm", 0, 0, {}]]``; Keras 1 the same
    without the last part.
    """
    if isinstance(node, Mapping):
        if len(node["args"]) != 1:
            return None
        source, options = node["args"][0]["config"]["keras_history"], node["kwargs"]
    else:
        if len(node) != 1 or not 3 <= len(node[0]) <= 4:
            return None
        source, options = node[0][:3], (node[0][3] if len(node[0]) == 4 else {})
    # `in` would take 0 and 1 for False and True.
    plain = all(value is None or isinstance(value, bool) for value in options.values())
    return source[0] if plain and list(source[1:]) == [0, 0] else None


def _known(kind: Any, name: str, settings: Any, old: bool) -> Layer:
    """Check a layer's settings against those that are known."""
    layer = f"layer {shown(name)}"
    if not isinstance(kind, str) or kind not in KNOWN_SETTINGS:
        raise ModelFileError(
            f"expected only the layers {', '.join(LAYERS)}, "
            f"but {layer} is {shown(kind)}: {ADVICE}"
        )
    if len(name) > MAX_NAME_CHARS:
        raise ModelFileError(
            f"expected names of at most {MAX_NAME_CHARS} characters, but {layer} has "
            f"{len(name):,}: {ADVICE}"
        )
    _check_known(layer, settings, KNOWN_SETTINGS[kind])
    _check_policy(layer, settings.get("dtype"))
    if kind == "TimeDistributed":
        return _distributed(name, settings, old)
    renamed = RENAMED.get(kind, {})
    misplaced = settings.keys() & set(renamed.values() if old else renamed)
    if misplaced:
        ours, theirs = ("1", "2 or 3") if old else ("2 or 3", "1")
        raise ModelFileError(
            f"expected settings of Keras {ours} in {layer}, as the file's version "
            f"says, but received {shown(min(misplaced))} of Keras {theirs}: {ADVICE}"
        )
    if old:
        settings = {renamed.get(key, key): value for key, value in settings.items()}
    if settings.get("quantization_config") is not None:
        raise ModelFileError(f"expected no quantization, but {layer} has it: {ADVICE}")
    return Layer(kind, name, settings)


def _distributed(name: str, settings: Mapping[str, Any], old: bool) -> Layer:
    """Return what a ``TimeDistributed`` applies at each step."""
    item = settings.get("layer")
    layer = f"layer {shown(name)}"
    if not isinstance(item, Mapping) or item.get("class_name") != "Dense":
        kind = item.get("class_name") if isinstance(item, Mapping) else item
        raise ModelFileError(
            f"expected a Dense layer in the TimeDistributed {layer}, "
            f"but received {shown(kind)}: {ADVICE}"
        )
    _check_known(layer, item, KNOWN_ITEM_KEYS)
    _check_own(layer, item, "Dense")
    inner = _known("Dense", name, item.get("config"), old)
    outer = {key: settings[key] for key in SHAPES if key in settings}
    return Layer("Dense", name, {**inner.settings, **outer}, distributed=True)


def _check_known(owner: str, received: Any, known: frozenset[str]) -> None:
    if not isinstance(received, Mapping):
        raise ModelFileError(
            f"expected named settings of {owner}, but received {shown(received)}: "
            f"{ADVICE}"
        )
    if unknown := sorted(received.keys() - known):
        raise ModelFileError(
            f"expected only known settings of {owner}, "
            f"but received {shown(unknown[0])}: {ADVICE}"
        )


def _check_own(owner: str, item: Mapping[str, Any], kind: Any) -> None:
    """Refuse what names itself as another program's class."""
    module, registered = item.get("module"), item.get("registered_name")
    is_keras = module is None or (
        isinstance(module, str) and re.fullmatch(r"(tf_)?keras(\.\w+)*", module)
    )
    if not is_keras or registered not in (None, kind):
        name = module if not is_keras else registered
        raise ModelFileError(
            f"expected only Keras' own layers, but {owner} of kind {shown(kind)} is "
            f"registered as {shown(name)}: {ADVICE}"
        )


def _check_policy(layer: str, policy: Any) -> None:
    """Refuse integers and quantized weights; other floats are computed as float32."""
    if isinstance(policy, Mapping):
        inner = policy.get("config")
        policy = inner.get("name", "") if isinstance(inner, Mapping) else ""
    if policy is not None and policy not in (*POLICIES, *INPUT_TYPES):
        raise ModelFileError(
            f"expected {layer} with the float32 policy, but received "
            f"{shown(policy)}: save the model in float32"
        )
