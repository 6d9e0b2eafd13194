"""Keras' description of a model, of any version → one chain of known layers.

Keras 2.0 to 2.2 wrote a `Sequential` as a list, later ones as a mapping; a functional
model names for each layer what it is called on, in two notations. What a setting means,
and what it is where the file doesn't say, depends on the version.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from textgen.errors import ModelFileError, shown
from textgen.saving.container import ADVICE, ANOTHER_FORM, refusal
from textgen.saving.keras_schema import (
    KNOWN_ITEM_KEYS,
    KNOWN_MODEL_KEYS,
    KNOWN_SETTINGS,
    LAYERS,
    ONE_DIRECTION,
    POLICIES,
    REMEDIES,
)

MAX_LAYERS = 100
MAX_NAME_CHARS = 200
MAX_SIZE = 1 << 21  # of any axis: more than there are Unicode symbols
# What the two layers of a Bidirectional have in common.
SHARED = ("units", "return_sequences", "stateful")
SHAPES = ("batch_input_shape", "batch_shape")  # where a layer says that of its input


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a setting is a whole number; to Python, True is one, too."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Layer:
    """A layer as its file describes it, checked but for its arrays.

    Its methods raise a `ModelFileError` for a setting that isn't what they return.
    """

    kind: str  # for a TimeDistributed, that of the layer within
    name: str  # of its arrays' group
    settings: Mapping[str, Any]
    distributed: bool = False  # whether it was within a TimeDistributed
    directions: tuple[Layer, ...] = ()  # the two within a Bidirectional

    @property
    def shown(self) -> str:
        """How messages call it."""
        return f"layer {shown(self.name)}"

    @property
    def input_shape(self) -> Any:
        """What the file says of the input's shape; None if it says nothing."""
        shapes = (self.settings.get(name) for name in SHAPES)
        return next((shape for shape in shapes if shape is not None), None)

    def flag(self, name: str, default: bool | None = False) -> bool:
        """Return a setting that is True or False; default None: it must be there."""
        value = self.settings.get(name, default)
        if not isinstance(value, bool):
            raise refusal(f"{name} of {self.shown} as true or false", shown(value))
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a setting that is a number."""
        value = self.settings.get(name, default)
        if is_whole(value) or isinstance(value, float):
            with contextlib.suppress(OverflowError):  # JSON's numbers have no end
                if math.isfinite(number := float(value)):
                    return number
        raise refusal(f"{name} of {self.shown} as a number", shown(value))

    def size(self, name: str) -> int:
        """Return a setting that is the length of an axis."""
        value = self.settings.get(name)
        if not is_whole(value) or not 1 <= value <= MAX_SIZE:
            expected = f"{name} of {self.shown} as a whole number"
            raise refusal(f"{expected} from 1 to {MAX_SIZE:,}", shown(value))
        return value


@dataclass(frozen=True)
class Version:
    """The first two numbers of the Keras that wrote a file."""

    number: tuple[int, int]
    is_tensorflow: bool = False  # the one within TensorFlow, before 2.3 another


def read_version(version: str) -> Version:
    """Read a version such as ``2.2.4-tf``."""
    match = re.match(r"(\d{1,3})\.(\d{1,3})(?!\d)", version)
    if not match or int(match[1]) not in (2, 3):
        is_first = match and int(match[1]) == 1
        problem = f"a file of Keras 2 or 3, but received one of {shown(version)}"
        advice = "open it with Keras 2.0 to 2.3 and save it again"
        raise ModelFileError(f"expected {problem}", advice if is_first else ADVICE)
    return Version((int(match[1]), int(match[2])), version.endswith("-tf"))


def read_config(config: str) -> list[Layer]:
    """Return the layers of the file's JSON in order, each feeding the next only."""
    try:
        return _chain(json.loads(config))
    except ANOTHER_FORM as error:
        raise refusal("a Keras description", "one that can't be read") from error


def _chain(description: Mapping[str, Any]) -> list[Layer]:
    """Return the layers of a description."""
    kind, model = description["class_name"], description["config"]
    _check_item("the model", description)
    if isinstance(model, list):
        model = {"layers": model}
    model = _known("the model", model, KNOWN_MODEL_KEYS)
    items = model["layers"]
    if not isinstance(items, list) or len(items) > MAX_LAYERS:
        raise refusal(f"a list of at most {MAX_LAYERS} layers", f"{len(items):,}")
    layers = [_layer(item) for item in items]
    names = [layer.name for layer in layers]
    if kind in ("Functional", "Model"):
        linear = _is_linear(model, items, names)
    else:
        linear = kind == "Sequential"
    if not linear or len(set(names)) < len(names):
        expected = "a Functional or Sequential model whose layers form one chain"
        raise refusal(expected, f"another {shown(kind)}")
    shape = model.get("build_input_shape")
    if layers and shape is not None and layers[0].input_shape is None:
        settings = {**layers[0].settings, SHAPES[0]: shape}
        layers[0] = replace(layers[0], settings=settings)
    return layers


def _is_linear(model: Mapping[str, Any], items: list[Any], names: list[str]) -> bool:
    """Tell whether each layer is called once, on the one before."""
    calls = [item["inbound_nodes"] for item in items]
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

    Keras 3 writes a mapping, Keras 2 ``[["lstm", 0, 0, {}]]``.
    """
    if isinstance(node, Mapping):
        if len(node["args"]) != 1:
            return None
        name, *place = node["args"][0]["config"]["keras_history"]
        options = node["kwargs"]
    else:
        if len(node) != 1 or len(node[0]) != 4:
            return None
        name, *place, options = node[0]
    # `in` would take 0 and 1 for False and True.
    plain = all(value is None or isinstance(value, bool) for value in options.values())
    return name if place == [0, 0] and plain else None


def _layer(item: Mapping[str, Any]) -> Layer:
    """Check a layer's settings against those that are known."""
    kind, name = item["class_name"], item["config"]["name"]
    layer = f"layer {shown(name)}"
    _check_item(layer, item)
    if not isinstance(kind, str) or kind not in KNOWN_SETTINGS:
        expected = f"one of the layers {', '.join(LAYERS)} as {layer}"
        raise _unknown(expected, kind)
    if len(name) > MAX_NAME_CHARS:
        most = f"{MAX_NAME_CHARS} characters"
        raise refusal(f"names of at most {most}", f"{len(name):,} in {layer}")
    settings = _known(layer, item["config"], KNOWN_SETTINGS[kind])
    _check_policy(layer, settings.get("dtype"))
    if kind == "TimeDistributed":
        return _distributed(name, settings)
    if kind == "Bidirectional":
        return _bidirectional(name, settings)
    if settings.get("quantization_config") is not None:
        raise refusal("no quantization", f"that of {layer}")
    return Layer(kind, name, settings)


def _distributed(name: str, settings: Mapping[str, Any]) -> Layer:
    """Return what a ``TimeDistributed`` applies at each step."""
    kind = settings["layer"]["class_name"]
    if kind != "Dense":
        expected = f"a Dense layer in the TimeDistributed layer {shown(name)}"
        raise refusal(expected, shown(kind))
    inner = _layer(settings["layer"])
    outer = {key: settings[key] for key in SHAPES if key in settings}
    return Layer("Dense", name, {**inner.settings, **outer}, distributed=True)


def _bidirectional(name: str, settings: Mapping[str, Any]) -> Layer:
    """Return a ``Bidirectional`` with its layers; up to Keras 2 one stands for both."""
    described = [settings["layer"], settings.get("backward_layer") or settings["layer"]]
    for inner in described:
        if inner["class_name"] not in ONE_DIRECTION:
            expected = f"a recurrent layer in the Bidirectional layer {shown(name)}"
            raise refusal(expected, shown(inner["class_name"]))
    forward, backward = (_layer(inner) for inner in described)
    if settings.get("backward_layer") is None:
        turned = {**backward.settings, "go_backwards": True}
        backward = replace(backward, settings=turned)
    shared = {key: forward.settings.get(key) for key in SHARED}
    if {key: backward.settings.get(key) for key in SHARED} != shared:
        expected = f"the same {', '.join(SHARED)} in both layers of {shown(name)}"
        raise refusal(expected, "others")
    outer = {key: value for key, value in settings.items() if not key.endswith("layer")}
    both = {**forward.settings, **outer}
    return Layer("Bidirectional", name, both, directions=(forward, backward))


def _known(owner: str, received: Any, known: frozenset[str]) -> dict[str, Any]:
    """Return the known settings, if those that aren't known are all off."""
    for name, value in received.items():
        if name not in known and value is not None and value is not False:
            raise _unknown(f"only known settings of {owner}", name)
    return {name: value for name, value in received.items() if name in known}


def _unknown(expected: str, received: Any) -> ModelFileError:
    """Return the error for a layer or setting that isn't known, with its remedy."""
    problem = f"expected {expected}, but received {shown(received)}"
    remedy = REMEDIES.get(received) if isinstance(received, str) else None
    return ModelFileError(problem, remedy or ADVICE)


def _check_item(owner: str, item: Mapping[str, Any]) -> None:
    """Refuse what has unknown keys, or says that it is another program's class."""
    kind = item["class_name"]
    _known(owner, item, KNOWN_ITEM_KEYS)
    module, registered = item.get("module"), item.get("registered_name")
    is_keras = module is None or re.fullmatch(r"(tf_)?keras(\.\w+)*", module)
    if not is_keras or registered not in (None, kind):
        name = registered if is_keras else module
        expected = f"Keras' own {shown(kind)} as {owner}"
        raise refusal(expected, f"one registered as {shown(name)}")


def _check_policy(layer: str, policy: Any) -> None:
    """Refuse integers and quantized weights; other floats are computed as float32."""
    if isinstance(policy, Mapping):
        inner = policy.get("config")
        policy = inner.get("name", "") if isinstance(inner, Mapping) else ""
    if policy is not None and policy not in POLICIES:
        expected = f"expected {layer} with the float32 policy"
        problem = f"{expected}, but received {shown(policy)}"
        raise ModelFileError(problem, "save the model in float32")
