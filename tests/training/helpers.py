"""Tiny trainings as the tests of training run and compare them, and a checkpoint."""

import dataclasses
import json
import os
import signal

import numpy as np

from textgen.config import Config
from textgen.data.vocabulary import Vocabulary
from textgen.saving.model_file import load_model
from textgen.saving.trained_model import TrainedText
from textgen.training.checkpoint import (
    Checkpoint,
    TrainingState,
    library_versions,
    read_checkpoint,
)
from textgen.training.history import EpochRow, history_path
from textgen.training.setup import TrainingRequest, prepare

PROSE = "Now is the hour; the sea, the hill, and all between, lie still. " * 12
NAMES = "".join(
    f"{a}{b}{c}o\n" for a in ("ba", "ter", "kin") for b in "aeiou" for c in "lrn"
)


def request_of(corpus, output, **options):
    """Return the request of a corpus, an output and any options of `textgen.train`.

    Windows begin from zero state unless it says otherwise, so that the last characters
    of a short text aren't left out. What the default is, tests of `Preparation` say.
    """
    goes_on = options.get("resume") or options.get("init_from")
    options = ({} if goes_on else {"stateful": False}) | options
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

    After so many steps this process gets a signal, as by Ctrl-C. The last checkpoint is
    kept, for tests to look at, unless ``keep_checkpoint`` is given.
    """
    options = {"keep_checkpoint": True} | options
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
        if int(callback.model.optimizer.iterations) >= steps:
            os.kill(os.getpid(), number)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=act)
    return callback


def spoil(steps):
    """Return a callback that makes weights NaN, as a rate too high does."""
    import keras

    def act(batch, logs):
        if int(callback.model.optimizer.iterations) == steps:
            # Those in training, whose average may be the model that callbacks see.
            for weights in callback.model.optimizer._trainable_variables:
                weights.assign(weights * np.nan)

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


def timeless(rows):
    """Return the rows of a history, as dicts, without what a clock said."""
    rows = [dict(row) for row in rows]
    for row in rows:
        assert row.pop("seconds") > 0
        assert row.pop("characters_per_s") > 0
    return rows


def written_rows(output):
    """Return the rows in the file beside a model."""
    return [json.loads(line) for line in history_path(output).read_text().splitlines()]


def assert_same_end(output, reference):
    """Compare how two trainings ended, bit for bit."""
    ends = [read_checkpoint(x)[0] for x in (output, reference)]
    assert_same_state(*(end.state for end in ends))
    assert_same_arrays(*(end.best_weights for end in ends))
    one, other = (timeless(map(vars, end.history)) for end in ends)
    assert one == other
    assert one == timeless(written_rows(output))
    models = [load_model(path) for path in (output, reference)]
    assert_same_arrays(*([model.network.dense_kernel] for model in models))
    keys = ("steps", "weights_of_step", "val_loss", "held_out_nats_per_char",
            "interrupted", "parts", "lengthened_at")  # fmt: skip
    one, other = (model.metadata["training"] for model in models)
    assert timeless(one["history"]) == timeless(other["history"])
    assert [one[key] for key in keys] == [other[key] for key in keys]


def make_row(epoch, val_loss, **changes):
    """Return a row at the end of an epoch of ten steps."""
    figures = {"loss": 2.0, "learning_rate": 0.1, "characters_per_s": 900.0} | changes
    return EpochRow(epoch, 10 * epoch, float(epoch), val_loss=val_loss, **figures)


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
        vocabulary=Vocabulary(("\n", "a", "☃")),
        total_steps=900,
        lengthened_at=(300, 600),
        seconds=12.345678901234567,
        versions=library_versions(),
        state=TrainingState(step, 1 / 3, 0.1 + 0.2, 2, losses, variables),
        history=(make_row(1, 1 / 3), make_row(2, None, sample="naïve\n☃\ud800")),
        best_weights=variables[:1],
    )
    return dataclasses.replace(made, **changes)
