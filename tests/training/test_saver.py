"""What is saved of a training, and what its file says of it."""

import dataclasses

import numpy as np
import pytest
from training.helpers import make_checkpoint

from textgen.config import Config
from textgen.modeling.model import build_model
from textgen.saving.trained_model import TrainedText
from textgen.training.saver import metadata_of, saved_form


@pytest.mark.parametrize("targets", ["all", "last"])
def test_a_network_is_saved_as_it_predicts_for_its_targets(targets):
    config = Config().override(
        layers=2, units=6, embedding=0, dropout=0.5, targets=targets, seed=3
    )
    trained = build_model(config.model, 5, seed=9)
    saved = saved_form(trained, config)
    ids = np.arange(8).reshape(2, 4) % 5
    expected = np.array(trained(ids))
    if targets == "last":
        expected = expected[:, -1]
    np.testing.assert_allclose(saved(ids), expected, rtol=0, atol=1e-6)


def test_what_was_trained_on_before_is_told_once_and_this_text_last():
    checkpoint = make_checkpoint()
    (before,) = checkpoint.texts
    own = TrainedText.of_training(checkpoint.corpus, checkpoint.config)
    assert metadata_of(checkpoint)["texts"] == [vars(before), vars(own)]
    again = dataclasses.replace(checkpoint, texts=(own, before))
    assert metadata_of(again)["texts"] == [vars(before), vars(own)]


def test_the_metadata_say_what_the_checkpoint_knows_and_how_it_ended():
    checkpoint = make_checkpoint(step=7)
    metadata = metadata_of(checkpoint, held_out_nats=1.5, interrupted=True)
    assert tuple(metadata["symbols"]) == checkpoint.vocabulary.symbols
    assert metadata["corpus"] == checkpoint.corpus
    assert Config.from_dict(metadata["config"]) == checkpoint.config
    record = metadata["training"]
    assert (record["run"], record["steps"], record["seconds"]) == ("5eed", 7, 12.3)
    assert (record["parts"], record["lengthened_at"]) == (2, [300, 600])
    ended = ("held_out_nats_per_char", "interrupted", "diverged")
    assert [record[name] for name in ended] == [1.5, True, None]
    other = metadata_of(checkpoint, diverged="nan")["training"]
    assert [other[name] for name in ended] == [None, False, "nan"]
