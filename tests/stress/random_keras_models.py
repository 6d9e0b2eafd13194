"""Let Keras save random models, and see that they predict the same when read here.

    python tests/stress/random_keras_models.py --count 1000 --seed 1

Each model is a chain of what can be read, in a random order with random settings and
weights: symbols embedded, one-hot or as numbers; recurrent layers, some in
both directions; normalizations, noise, dense layers and activations between and after
them. It is saved as ``.keras`` and as ``.h5``, and what Keras predicts on random texts
is compared with what is predicted here, to 1e-6. The exit status is 1 if any differs.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).parents[2])]

import keras
import numpy as np

from textgen.saving.model_file import load_model

layers = keras.layers
SYMBOLS = "abcdefghi"
V, T, TEXTS = len(SYMBOLS), 5, 3
MOST_DIFFERENCE = 1e-6
ACTIVATIONS = ("tanh", "relu", "gelu", "leaky_relu", "softsign", "elu", "sigmoid", None)


def recurrent(choose: random.Random, sequences: bool, both_ways: bool):
    kind = choose.choice(["LSTM", "GRU", "SimpleRNN"])
    options = {
        "units": choose.choice([3, 5]),
        "return_sequences": sequences,
        "use_bias": choose.random() < 0.8,
        "activation": choose.choice(["tanh", "softsign", "sigmoid", "gelu"]),
        "dropout": choose.choice([0, 0.2]),
    }
    if kind != "SimpleRNN":
        gates = ["sigmoid", "sigmoid", "hard_sigmoid", "tanh"]
        options["recurrent_activation"] = choose.choice(gates)
    if kind == "GRU":
        options["reset_after"] = choose.random() < 0.5
    layer = getattr(layers, kind)(**options)
    if not both_ways:
        return layer
    merge = choose.choice(["concat", "concat", "sum", "ave", "mul"])
    return layers.Bidirectional(layer, merge_mode=merge)


def stepwise(choose: random.Random):
    """Return a layer that works on each step alone."""
    flags = {name: choose.random() < 0.7 for name in ("center", "scale")}
    epsilon = choose.choice([1e-3, 1e-2])
    return choose.choice(
        [
            lambda: layers.BatchNormalization(epsilon=epsilon, **flags),
            lambda: layers.LayerNormalization(epsilon=epsilon, **flags),
            lambda: layers.GaussianNoise(0.1),
            lambda: layers.Dropout(0.3),
            lambda: layers.LeakyReLU(choose.choice([0.3, 0.05])),
            lambda: layers.ReLU(
                max_value=choose.choice([None, 6, 0.7]),
                negative_slope=choose.choice([0, 0.1]),
                threshold=choose.choice([0, 0.1]),
            ),
            lambda: layers.Dense(choose.choice([4, 6]), choose.choice(ACTIVATIONS)),
            lambda: layers.Activation(choose.choice(ACTIVATIONS[:-1])),
        ]
    )()


def random_model(choose: random.Random) -> tuple[keras.Model, str]:
    """Return a model, and which form its input has."""
    form = choose.choice(["ids", "ids", "ids", "one-hot", "numbers"])
    windowed = choose.random() < 0.6
    chain = []
    if form == "ids":
        chain.append(layers.Embedding(V, 4))
    if choose.random() < 0.2:
        chain.append(stepwise(choose))
    depth = choose.choice([1, 1, 2, 3])
    for level in range(depth):
        is_last = level == depth - 1
        both_ways = windowed and choose.random() < 0.4
        chain.append(recurrent(choose, not (is_last and windowed), both_ways))
        chain += [stepwise(choose) for _ in range(choose.choice([0, 0, 1, 2]))]
    dense = layers.Dense(V)
    ends = [[layers.Dense(V, "softmax")], [dense, layers.Activation("softmax")]]
    if not windowed:
        ends.append([layers.TimeDistributed(dense), layers.Activation("softmax")])
    chain += choose.choice([*ends, [dense, layers.Softmax()]])
    shape = {"one-hot": (V,), "numbers": (1,)}.get(form, ())
    kind = "int32" if form == "ids" else "float32"
    source = keras.Input((choose.choice([T, T if windowed else None]), *shape),
                         dtype=kind)  # fmt: skip
    if choose.random() < 0.5:
        return keras.Sequential([source, *chain]), form
    x = source
    for layer in chain:
        x = layer(x)
    return keras.Model(source, x), form


def fill(model: keras.Model, rng: np.random.Generator) -> None:
    """Give each array random values; variances are positive."""
    for weight in model.weights:
        if not weight.dtype.startswith("float"):
            continue
        if "variance" in weight.path:
            weight.assign(rng.uniform(0.2, 2, weight.shape))
        else:
            weight.assign(rng.normal(size=weight.shape, scale=0.5))


def shown_to_keras(ids: np.ndarray, form: str) -> np.ndarray:
    if form == "one-hot":
        return np.eye(V, dtype="f4")[ids]
    return (ids / V).astype("f4")[..., None] if form == "numbers" else ids


def difference(model: keras.Model, form: str, path: Path, text: Path, ids) -> float:
    """Return how far two predictions differ at the most, for ids (TEXTS, T + 2)."""
    with warnings.catch_warnings(action="ignore"):  # of what numbers are assumed
        loaded = load_model(path, text)
    decoder = loaded.decoder(TEXTS)
    logits = np.array([decoder.step(column).copy() for column in ids.T])
    ours = np.exp(logits - logits.max(-1, keepdims=True))
    ours /= ours.sum(-1, keepdims=True)  # (T + 2, TEXTS, V)
    if loaded.windows.targets == "all":
        given = shown_to_keras(ids[:, :T], form)
        theirs = np.swapaxes(np.asarray(model(given, training=False)), 0, 1)
        return float(np.abs(theirs - ours[:T]).max())
    ends = range(T, ids.shape[1] + 1)
    windows = [shown_to_keras(ids[:, end - T : end], form) for end in ends]
    theirs = [np.asarray(model(window, training=False)) for window in windows]
    return float(np.abs(np.array(theirs) - ours[T - 1 :]).max())


def compare(count: int, seed: int, folder: Path) -> int:
    """Make and compare models; return how many differ."""
    text = folder / "text.txt"
    text.write_text(SYMBOLS)
    differing, most, kinds = 0, 0.0, set()
    for number in range(count):
        choose = random.Random(f"{seed} {number}")
        rng = np.random.default_rng((seed, number))
        keras.utils.set_random_seed(number)
        model, form = random_model(choose)
        fill(model, rng)
        ids = rng.integers(0, V, (TEXTS, T + 2))
        ids[0, 1] = 0
        kinds |= {type(layer).__name__ for layer in model.layers}
        for suffix in (".keras", ".h5"):
            path = folder / f"model{suffix}"
            model.save(path)
            try:
                found = difference(model, form, path, text, ids)
            except Exception as error:
                found = float("inf")
                print(f"{type(error).__name__}: {error}", flush=True)
            most = max(most, found)
            if not found <= MOST_DIFFERENCE:
                differing += 1
                named = ", ".join(type(layer).__name__ for layer in model.layers)
                print(f"{number}{suffix}, {form}: {found:.2g}: {named}", flush=True)
    print(f"{count:,} models of {len(kinds)} kinds of layers, each saved twice")
    print(f"largest difference {most:.2g}")
    print(f"differing: {differing}")
    return differing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="so many models")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="keras-models-") as folder:
        sys.exit(compare(given.count, given.seed, Path(folder)) > 0)


if __name__ == "__main__":
    main()
