"""What a training hands on: its network in usable form, and the record beside it."""

from __future__ import annotations

import datetime
from typing import Any

import keras

from textgen.config import Config
from textgen.data.corpus import Corpus
from textgen.modeling.model import build_model, network_of
from textgen.saving.container import FORMAT_VERSION
from textgen.saving.trained_model import TrainedModel
from textgen.training.checkpoint import Checkpoint


def trained_model(model: keras.Model, corpus: Corpus, config: Config) -> TrainedModel:
    """Return the network as it is now, in the form that generates and measures.

    Args:
        model: the network in training.
        corpus: what it is trained on.
        config: how.
    """
    return TrainedModel(
        network_of(model),
        corpus.vocabulary,
        corpus.kind,
        config,
        metadata_of(corpus, config, {}),
        None,
    )


def saved_form(model: keras.Model, corpus: Corpus, config: Config) -> keras.Model:
    """Return the network with the output that its targets call for.

    While it is trained it predicts at every position; one of targets ``last`` is
    saved as what the exercise has, one prediction after a window.

    Args:
        model: the network in training.
        corpus: what it was trained on.
        config: how.
    """
    final = build_model(
        config.model,
        len(corpus.vocabulary),
        targets=config.windows.targets,
        seed=config.training.seed,
    )
    final.set_weights(model.get_weights())
    return final


def training_record(
    checkpoint: Checkpoint,
    *,
    held_out_nats: float | None,
    interrupted: bool = False,
    diverged: str | None = None,
) -> dict[str, Any]:
    """Return what is worth knowing of a training, as plain JSON values.

    Args:
        checkpoint: of the weights that are saved.
        held_out_nats: mean nats per character of the held-out text.
        interrupted: it was stopped before its end.
        diverged: why it could not go on from these weights, if so.
    """
    training = checkpoint.config.training
    return {
        "run": checkpoint.run,
        "steps": checkpoint.state.step,
        "seconds": round(checkpoint.seconds, 1),
        "held_out_nats_per_char": held_out_nats,
        "interrupted": interrupted,
        "diverged": diverged,
        "lengthened_at": list(checkpoint.lengthened_at),
        "seed": training.seed,
        "precision": training.precision,
        "parts": checkpoint.state.parts,
        "versions": dict(checkpoint.versions),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def metadata_of(
    corpus: Corpus, config: Config, record: dict[str, Any]
) -> dict[str, Any]:
    """Return the metadata of a model file; see `textgen.saving.model_file.save_model`.

    Args:
        corpus: what the model was trained on.
        config: how.
        record: of `training_record`.
    """
    return {
        "format": FORMAT_VERSION,
        "level": "character",
        "symbols": list(corpus.vocabulary.symbols),
        "corpus": identity_of(corpus),
        "config": config.to_dict(),
        "training": record,
    }


def identity_of(corpus: Corpus) -> dict[str, str]:
    """Return which text it is, as plain JSON values."""
    return {"name": corpus.name, "kind": corpus.kind, "sha256": corpus.sha256}
