"""Tiny trainings as the tests of training run and compare them, and a checkpoint."""

import dataclasses
import os
import signal

import numpy as np

from textgen.config import Config
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedText
from textgen.training.checkpoint import (
    Checkpoint,
    TrainingState,
    library_versions,
    read_checkpoint,
)
from textgen.training.setup import TrainingRequest, prepare

PROSE = "Now is the hour; the sea, the hill, and all between, lie still. " * 12
NAMES = "".join(
    f"{a}{b}{c}o\n" for a in ("ba", "ter", "kin") for b in "aeiou" for c in "lrn"
)


def request_of(corpus, output, **options):
    """Return the request of a corpus, an output and any options of `textgen.train`."""
    own = [field.name for field in dataclasses.fields(TrainingRequest)]
    given = {name: options.pop(name) for name in own if name in options}
    return TrainingRequest(corpus=corpus, output=output, **given, overrides=options)


def prepared(corpus, output, **options):
    """Prepare a training and let go of its output."""
    with prepare(request_of(corpus, output, **options)) as preparation:
        return preparation


def run(corpus, output, say=lambda line: None, callbacks=(), strategy=None, show=False,
        interrupt_after=None, number=signal.SIGINT, **options):  # fmt: skip
    """Train as `textgen.train` does and return the report.

    After so many steps this process gets a signal, as by Ctrl-C.
    """
    from textgen.training.distributed import Peers
    from textgen.training.session import TrainingSession

    if interrupt_after is not None:
        callbacks = [*callbacks, press_after(interrupt_after, number)]
    with prepare(request_of(corpus, output, **options)) as preparation:
        assert not preparation.finished
        peers = Peers(strategy)
        session = TrainingSession(preparation, peers=peers, show=show, say=say)
        return session.run(callbacks)


def press_after(steps, number=signal.SIGINT):
    """Return a callback that signals this process once so many steps are done."""
    import keras

    def act(batch, logs):
        if batch + 1 >= steps:
            os.kill(os.getpid(), number)

    return keras.callbacks.LambdaCallback(on_train_batch_end=act)


def spoil(steps):
    """Return a callback that makes weights NaN, as a rate too high does."""
    import keras

    def act(batch, logs):
        if batch == steps:
            model = callback.model
            model.set_weights([w * np.nan for w in model.get_weights()])

    callback = keras.callbacks.LambdaCallback(on_train_batch_begin=act)
    return callback


def weights_of(path):
    import keras

    return keras.models.load_model(path).get_weights()


def assert_same_arrays(ones, others):
    """Compare two lists of arrays bit for bit."""
    for one, other in zip(ones, others, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def assert_same_state(one, other):
    """Compare two states of trainings, bit for bit."""
    one, other = dataclasses.asdict(one), dataclasses.asdict(other)
    arrays = [[*x.pop("variables"), x.pop("epoch_losses")] for x in (one, other)]
    assert_same_arrays(*arrays)
    assert one == other


def assert_same_end(output, reference):
    """Compare how two trainings ended, bit for bit."""
    assert_same_state(*(read_checkpoint(x)[0].state for x in (output, reference)))
    models = [load_model(path) for path in (output, reference)]
    assert_same_arrays(*([model.network.dense_kernel] for model in models))
    keys = ("steps", "held_out_nats_per_char", "interrupted", "parts", "lengthened_at")
    one, other = (model.metadata["training"] for model in models)
    assert [one[key] for key in keys] == [other[key] for key in keys]


def make_checkpoint(step=7, **changes):
    """Return a checkpoint of odd values."""
    rng = np.random.default_rng(step)
    variables = (
        rng.normal(size=(3, 2)).astype(np.float32),
        np.array(step, np.int64),
        np.array([-0.0, 1e-45, np.float32(np.finfo(np.float32).max)], np.float32),
        np.zeros((0, 4), np.float32),
    )
    losses = rng.random(5).astype(np.float32)
    made = Checkpoint(
        run="5eed",
        config=Config().override(units=16, minutes=0.1),
        corpus={"name": "naïve\n", "kind": "lines", "sha256": "ab" * 32},
        texts=(TrainedText("naïve", "text", None, 0.1, 1 / 3, "averaged"),),
        symbols=("\n", "a", "☃"),
        total_steps=900,
        lengthened_at=(300, 600),
        seconds=12.345678901234567,
        versions=library_versions(),
        state=TrainingState(step, 1 / 3, 0.1 + 0.2, 2, losses, variables),
    )
    return dataclasses.replace(made, **changes)
