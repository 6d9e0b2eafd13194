"""`train`: from a corpus to one saved model file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from textgen.data.sources import Given
from textgen.errors import checks_keywords
from textgen.system.terminal import tell
from textgen.training.cluster import PEER_TIMEOUT_S
from textgen.training.distributed import dismiss, peers_of
from textgen.training.result import TrainingResult
from textgen.training.session import TrainingSession
from textgen.training.setup import TrainingRequest, prepare
from textgen.training.worker import follow


# fmt: off
@checks_keywords
def train(
    corpus: Given | Sequence[Given] | None = None, *,
    texts: Iterable[str] | None = None, column: str | None = None,
    encoding: str | None = None, label_column: str | None = None,
    kind: str | None = None, preset: str | None = None,
    output: str | os.PathLike[str] | None = None,
    init_from: str | os.PathLike[str] | None = None,
    vocabulary_from: str | os.PathLike[str] | None = None,
    from_scratch: bool = False, resume: bool = False,
    save_every: float | None = None, keep_checkpoint: bool = False,
    layers: int | None = None, units: int | None = None, cell: str | None = None,
    embedding: int | None = None, dropout: float | None = None,
    input_dropout: float | None = None, level: str | None = None,
    vocabulary_size: int | None = None, seq_length: int | None = None,
    stride: int | None = None, targets: str | None = None,
    label_dropout: float | None = None,
    stateful: bool | None = None,
    batch_size: int | None = None, learning_rate: float | None = None,
    schedule: str | None = None, warmup_steps: int | None = None,
    optimizer: str | None = None, weight_decay: float | None = None,
    clip_norm: float | None = None, epochs: int | None = None,
    steps: int | None = None, minutes: float | None = None,
    precision: str | None = None, held_out: float | None = None,
    patience: int | None = None, keep_best: bool | None = None,
    validation: float | None = None, seed: int | None = None,
    distribute: str | None = None, peer_timeout: float = PEER_TIMEOUT_S,
    tensorboard: str | os.PathLike[str] | None = None,
    csv: str | os.PathLike[str] | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None, show: bool = False,
) -> TrainingResult:
    """Train a model and save it; the library's form of ``train.py``.

    For speed it settles two things for the whole process: TensorFlow's operations
    take one thread each, and as many run as there are cores (unless TensorFlow has
    run already); and freed memory is kept for later arrays.

    Args:
        corpus: a named corpus, or the path of a text, of a folder of texts, or a list
            of paths; see `textgen.load_corpus` for what there is. None means the text
            of the model in ``init_from``; without that, the sonnets.
        texts: strings in place of a corpus, an example each: a list, a column of a data
            frame, or anything that yields them.
        column: the column of a table whose rows are the examples.
        encoding: of the files; None means UTF-8.
        label_column: the column of what each row is, such as its author; each is then
            a ``label`` of `textgen.generate_output`.
        kind: ``lines`` or ``text``; None means the saved model's, or the guess.
        preset: name in `textgen.config.PRESETS`; None means the corpus' own.
        output: the ``.h5`` file to write; None means ``models/NAME.h5``.
        init_from: a saved model to go on from, a file or a name such as ``english``.
            None means new weights; for a text of one's own that the model of English
            predicts well, unless options ask for another network, those of that.
        vocabulary_from: for ``init_from`` of another program, the text that it was
            trained on, or a ``vocab.json``; see `textgen.load_model`.
        from_scratch: begin with new weights in any case.
        resume: go on with the unfinished training whose checkpoint is beside
            ``output``, with its options; start afresh if there is none.
        save_every: minutes after which a usable model is saved on the way, each time
            as another file such as ``NAME.step-1200.h5``. None means not at all.
        keep_checkpoint: keep the checkpoint of a finished training, so that ``resume``
            can make it longer.
        layers: number of stacked recurrent layers. For this and all that follow down to
            ``seed``, None means the preset's value, or the saved model's.
        units: size of each of these layers.
        cell: what the layers are: ``lstm``, ``gru`` or ``rnn`` (without gates).
        embedding: size of the embedding; 0 means one-hot input.
        dropout: share of each layer's outputs dropped while training.
        input_dropout: share of the input symbols hidden while training.
        level: what is read and predicted one by one, a symbol: ``character``, ``word``,
            or ``bpe``, byte pairs, which are parts of words. Another than the first
            asks for new weights.
        vocabulary_size: how many different words or byte pairs there are, all
            characters of the text among them; None: by the length of the text.
        seq_length: symbols in a training window.
        stride: symbols between the starts of two windows.
        targets: ``all``, each position predicts the next symbol, or ``last``.
        label_dropout: share of labelled rows trained on without their label, anew in
            each epoch, so that the model also writes without one.
        stateful: carry the state on from window to window of a ``text``, as char-rnn
            does, rather than begin each from zero state; None: wherever that can be,
            unless the text is short or the training goes on from a saved model.
        batch_size: windows in a batch.
        learning_rate: peak rate.
        schedule: of the rate: ``cosine``, ``constant`` or ``averaged``.
        warmup_steps: steps in which the rate rises at first.
        optimizer: ``adamw`` or ``adam``.
        weight_decay: decoupled decay of AdamW.
        clip_norm: largest norm of a step's gradient; 0 means any.
        epochs: times to see every window.
        steps: optimizer steps to take.
        minutes: time for everything; without a preset the network is sized for it.
        precision: ``float32``, ``bfloat16`` or ``auto``.
        held_out: share of the text that is only measured.
        patience: end after so many epochs without a better validation figure.
        keep_best: save the weights of the best validation figure, not the last ones.
        validation: share of the rest that isn't trained on but measured after each
            epoch, to choose by; None means 0.1 where ``patience`` or ``keep_best``
            need one.
        seed: repeats a training exactly on the same machine.
        tensorboard: a folder in which TensorBoard finds the figures of each epoch.
        csv: a file of comma-separated values with a row for each epoch.
        distribute: ``mirrored``, over all devices of this machine, or ``multiworker``,
            over the machines that the environment variable ``TF_CONFIG`` names, each
            of which calls this; see docs/distributed.md. None means one device.
        peer_timeout: seconds that another machine may be silent before it counts as
            lost.
        callbacks: Keras callbacks, told what ``fit`` tells them, see
            `textgen.training.loop.Training.run`. Logs of an epoch are ``loss`` and
            ``val_loss``, in nats per character, ``val_accuracy`` and ``learning_rate``;
            what begins with ``val_`` is of the validation part or, without one, of the
            held-out part. Their model is the network that is measured and saved; what
            ``model.save`` writes of it, ``.h5`` or ``.keras``, is a model file with its
            vocabulary. Of several machines only the chief calls them.
        strategy: a `tf.distribute.Strategy` of this machine's devices, in place of
            ``distribute``; None means the current one.
        show: show progress, samples of text and notes on standard error.

    Returns:
        A `TrainingResult`: the path of the saved ``.h5`` file, with the training's
        ``history``, its figures and the ``model``; on several machines only the
        chief's is written.

    Raises:
        TextgenError: one line about what the caller can put right.
        KeyboardInterrupt: stopped by Ctrl-C, SIGTERM or SIGHUP, after saving what
            was learned.
    """
    started_s = time.monotonic()
    replicas = (strategy or tf.distribute.get_strategy()).num_replicas_in_sync
    if stateful is None and replicas > 1:
        stateful = False
    request = TrainingRequest(
        corpus=corpus, texts=texts, column=column, encoding=encoding,
        label_column=label_column, kind=kind,
        preset=preset, output=output, init_from=init_from,
        vocabulary_from=vocabulary_from, from_scratch=from_scratch, resume=resume,
        save_every=save_every, keep_checkpoint=keep_checkpoint,
        tensorboard=tensorboard, csv=csv,
        distribute=distribute, peer_timeout=peer_timeout,
        overrides={
            "layers": layers, "units": units, "cell": cell, "embedding": embedding,
            "dropout": dropout, "input_dropout": input_dropout,
            "level": level, "vocabulary_size": vocabulary_size,
            "seq_length": seq_length, "stride": stride, "targets": targets,
            "label_dropout": label_dropout,
            "stateful": stateful,
            "batch_size": batch_size, "learning_rate": learning_rate,
            "schedule": schedule, "warmup_steps": warmup_steps,
            "optimizer": optimizer, "weight_decay": weight_decay,
            "clip_norm": clip_norm, "epochs": epochs, "steps": steps,
            "minutes": minutes, "precision": precision, "held_out": held_out,
            "patience": patience, "keep_best": keep_best, "validation": validation,
            "seed": seed,
        },
    )
    say = tell if show else lambda line: None
    cluster = request.cluster
    if cluster is not None and not cluster.is_chief:
        interruption = follow(request, cluster)
        if interruption is not None:
            raise interruption
        path = Path(output or Path("models", f"{request.source.name}.h5"))
        return TrainingResult(path, (), None, None)
    with prepare(request) as ready:
        for note in ready.notes:
            say(note)
        if ready.finished:
            if cluster is not None:
                dismiss(cluster, peer_timeout)
            rows = ready.checkpoint.history if ready.checkpoint else ()
            return TrainingResult.of_file(ready.path, rows)
        peers = peers_of(distribute, cluster, peer_timeout, strategy)
        session = TrainingSession(
            ready, peers=peers, show=show, say=say, started_s=started_s
        )
        report = session.run(callbacks)
    if report.interruption is not None:
        raise report.interruption
    return TrainingResult(
        report.path, report.history, report.val_loss, report.held_out_nats
    )
# fmt: on
