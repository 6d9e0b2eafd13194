"""Files that Keras 2's own code writes: random models, and what they predict there.

Needs ``pip install tf-keras``, which is Keras 2 for today's TensorFlow; without it
these tests are skipped. Each model must be read, and predict the same.
"""

import random

import numpy as np
import pytest

from textgen.saving.model_file import load_model

keras = pytest.importorskip("tf_keras", reason="needs: pip install tf-keras")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("read_here"),
    pytest.mark.filterwarnings("ignore"),
]

V, T = 9, 5
MODELS = 100


def recurrent_options(choose: random.Random, kind: str) -> dict:
    activations = ["tanh", "relu", "softsign", "elu", "swish", "hard_sigmoid", None]
    options = {
        "use_bias": choose.random() < 0.8,
        "activation": choose.choice(activations),
        "dropout": choose.choice([0, 0.2]),
        "recurrent_dropout": choose.choice([0, 0.2]),
    }
    if kind != "SimpleRNN":
        gates = ["sigmoid", "hard_sigmoid", "tanh", None]
        options["recurrent_activation"] = choose.choice(gates)
        options["implementation"] = choose.choice([1, 2])
    if kind == "GRU":
        options["reset_after"] = choose.random() < 0.5
    return options


def random_layers(choose: random.Random, embeds: bool) -> list:
    layers = keras.layers
    kind = choose.choice(["LSTM", "GRU", "SimpleRNN"])
    options = recurrent_options(choose, kind)
    options["stateful"] = choose.random() < 0.3
    sequences = choose.random() < 0.5
    made = []
    if embeds:
        made.append(layers.Embedding(V, 4))
    if choose.random() < 0.2:
        made.append(layers.Dense(6, choose.choice(["tanh", "relu", None])))
    depth = choose.choice([1, 2, 3])
    for level in range(depth):
        last = level == depth - 1
        units = choose.choice([3, 5])
        layer = getattr(layers, kind)
        made.append(layer(units, return_sequences=sequences or not last, **options))
        if choose.random() < 0.3:
            made.append(layers.Dropout(0.1))
        if not last and choose.random() < 0.3:
            made.append(layers.TimeDistributed(layers.Dense(4, "tanh")))
        if not last and choose.random() < 0.2:
            made.append(layers.Activation("hard_sigmoid"))
    if choose.random() < 0.3:
        made.append(layers.Dense(7, "relu"))
    if choose.random() < 0.5:
        return [*made, layers.Dense(V, "softmax")]
    return [*made, layers.Dense(V, use_bias=False), layers.Activation("softmax")]


def random_model(seed: int):
    choose = random.Random(seed)
    embeds = choose.random() < 0.5
    layers = random_layers(choose, embeds)
    recurrent = [x for x in layers if hasattr(x, "stateful") and hasattr(x, "cell")]
    shape = (1, T) if embeds else (1, T, V)
    # Stateful layers need their shape first; an Embedding would not write T later.
    shape_first = embeds or recurrent[0].stateful
    styles = ["input", "functional", "deferred"]
    style = choose.choice(styles[: 2 if shape_first else 3])
    if style == "functional":
        x = first = keras.Input(batch_shape=shape)
        for layer in layers:
            x = layer(x)
        model = keras.Model(first, x)
    elif style == "input":
        model = keras.Sequential([keras.Input(batch_shape=shape), *layers])
    else:
        model = keras.Sequential(layers)
        model.build(shape)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape, scale=0.3))
    return model, embeds, recurrent[-1]


def theirs(model, embeds: bool, last, ids) -> np.ndarray:
    """Return what Keras 2 predicts after a window of ids."""
    if last.stateful:
        model.reset_states()
    given = ids.astype("f4") if embeds else np.eye(V, dtype="f4")[ids]
    return model(given[None], training=False).numpy().reshape(-1, V)[-1].astype(float)


@pytest.mark.parametrize("seed", range(MODELS))
def test_predictions_are_those_of_keras_2(seed, softmax, tmp_path):
    model, embeds, last = random_model(seed)
    (tmp_path / "text.txt").write_text("abcdefghi")
    model.save(tmp_path / "m.h5", save_format="h5")
    ours = load_model(tmp_path / "m.h5", tmp_path / "text.txt")
    assert ours.windows.seq_length == T
    ids = np.random.default_rng(seed).integers(0, V, 2 * T)
    # What carries its state has seen no more than one window there.
    ends = [T] if ours.windows.targets == "all" else range(T, len(ids) + 1)
    decoder = ours.decoder()
    for end in range(1, ends[-1] + 1):
        logits = decoder.step(ids[end - 1 : end])[0]
        if end in ends:
            expected = theirs(model, embeds, last, ids[end - T : end])
            received = softmax(logits)
            np.testing.assert_allclose(received, expected, atol=2e-6, rtol=1e-4)
