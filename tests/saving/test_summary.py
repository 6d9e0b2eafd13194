"""What is told of other programs' files: what was understood, what was assumed."""

import shutil
import warnings

import numpy as np
import pytest
from keras_fixtures import FIXTURES, keras_2_lstm, keras_3_mixed, write_archive
from model_files import EMBEDDING, UNITS, write_own_file

from textgen.errors import ModelFileError
from textgen.saving.summary import inspect_model

pytestmark = pytest.mark.usefixtures("read_here")


@pytest.fixture
def summary_of(tmp_path):
    def summarize(fixture):
        return inspect_model(fixture.write(tmp_path / "m.h5")).summary

    return summarize


@pytest.mark.parametrize("name", FIXTURES)
def test_every_file_is_summed_up(summary_of, name):
    fixture = FIXTURES[name]()
    found = summary_of(fixture)
    assert found.keras == fixture.version
    assert found.vocabulary_size == fixture.net.size
    assert (found.targets, found.seq_length) == (fixture.targets, fixture.window)
    arrays = [x for named in fixture.arrays.values() for _, x in named]
    assert found.weights == sum(array.size for array in arrays)
    told = [line.split(": ")[0] for line in found.layers]
    names = [x["config"]["name"] for x in fixture.items]
    assert told == [x for x in names if "input" not in x and x != "ids"]
    given = [x["class_name"] for x in fixture.items]
    is_one_hot = "Embedding" not in given
    assert any("(one-hot)" in note for note in found.notes) == is_one_hot


@pytest.mark.parametrize(
    ("name", "layer", "note", "assumed"),
    [
        ("Keras 2.0 LSTM, one-hot", "dropout_1: Dropout, for training only",
         "a symbol is one of 9 inputs (one-hot)", ""),
        ("Keras 2.0 LSTM, float16", "activation_1: Activation, softmax",
         "its float16 is computed in float32", ""),
        ("Keras 2.1 LSTM, default gates", "lstm_2: LSTM, 4 units, tanh, gates", "",
         "recurrent_activation isn't in the file: hard_sigmoid of Keras 2, as by "
         "default in Keras 2.1 (layer lstm_1, lstm_2)"),
        ("Keras 2.3 LSTM, default gates", "lstm_1: LSTM, 5 units, tanh, gates sigmoid",
         "", "recurrent_activation isn't in the file: sigmoid, as by default in Keras "
         "2.3 (layer lstm_1)"),
        ("Keras 2.3 LSTM, no activation", "lstm_1: LSTM, 5 units, linear", "",
         "recurrent_activation isn't in the file"),
        ("Keras 2.3.1 GRU, default reset_after", "gru_1: GRU, 5 units, tanh", "",
         "reset_after isn't in the file: False, as by default in Keras 2.3"),
        ("Keras 2.3.0-tf GRU, default reset_after",
         "gates hard_sigmoid of Keras 2, reset after the product", "",
         "reset_after isn't in the file: True, as by default in Keras 2.3"),
        ("Keras 2.2 CuDNNGRU", "rnn_1: CuDNNGRU, 5 units, tanh, gates sigmoid, reset",
         "", ""),
        ("tf.keras GRU, stateful, logits", "dense: Dense, 8 units, linear", "",
         "no softmax is at the end"),
        ("Keras 2.2 GRU", "out: Dense, 8 units, linear, at each step", "", ""),
        ("Keras 2.2 LSTM, functional", "embedding_1: Embedding, 7 × 3", "", ""),
        ("Keras 3.0 LSTM, hard_sigmoid", "gates hard_sigmoid of Keras 3", "", ""),
    ],
)  # fmt: skip
def test_what_is_understood_and_what_assumed(summary_of, name, layer, note, assumed):
    found = summary_of(FIXTURES[name]())
    assert any(layer in line for line in found.layers)
    assert any(note in line for line in found.notes) or not note
    assert any(assumed in line for line in found.assumed) or not assumed
    assert len(found.assumed) == bool(assumed)


def test_an_archive_of_all_sorts(tmp_path):
    fixture = keras_3_mixed()
    path = write_archive(tmp_path / "m.keras", fixture)
    found = inspect_model(path)
    assert found.model is None
    assert found.size_bytes == path.stat().st_size
    told = "\n".join(found.summary.layers)
    assert "gru: GRU, 5 units, tanh, gates hard_sigmoid of Keras 3, reset" in told
    assert "both: Bidirectional, LSTM 4 units, tanh, gates hard_sigmoid" in told
    assert "each way, concat" in told
    for kind in ("BatchNormalization", "LayerNormalization", "LeakyReLU", "Softmax"):
        assert f": {kind}" in told
    (assumption,) = found.summary.assumed
    assert "from 0 to 8 / 9, are assumed" in assumption
    (tmp_path / "text.txt").write_text("abcdefghi")
    with_text = inspect_model(path, tmp_path / "text.txt").summary.assumed
    assert with_text[0] == assumption
    assert with_text[1].startswith("its symbols are those of")
    assert len(with_text) == 2
    assert not found.summary.notes
    arrays = [x for named in fixture.arrays.values() for _, x in named]
    assert found.summary.weights == sum(array.size for array in arrays)


def test_windows_that_the_file_does_not_tell_are_assumed(tmp_path):
    fixture = keras_2_lstm()
    del fixture.layer("LSTM")["batch_input_shape"]
    found = inspect_model(fixture.write(tmp_path / "m.h5"))
    assert found.summary.seq_length is None
    (assumption,) = found.summary.assumed
    assert "it is given the last 40" in assumption


def test_with_its_vocabulary_the_model_is_there_and_nothing_warns(tmp_path):
    fixture = keras_2_lstm()
    path, text = fixture.write(tmp_path / "m.h5"), tmp_path / "text.txt"
    text.write_text(fixture.symbols + "AB", newline="")
    assert inspect_model(path).model is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = inspect_model(path, text)
    assert "".join(found.model.vocabulary.symbols) == "".join(sorted(fixture.symbols))
    in_lower_case, are_those_of = found.summary.assumed
    assert "in lower case" in in_lower_case
    assert are_those_of == f"its symbols are those of {str(text)!r}, sorted"
    (tmp_path / "vocab.json").write_text(str(sorted(fixture.symbols)).replace("'", '"'))
    assert inspect_model(path, tmp_path / "vocab.json").summary.assumed == ()


def test_a_file_of_ours_assumes_nothing(tmp_path, monkeypatch):
    net = write_own_file(tmp_path / "m.h5", "\nabc", "lines", "last")
    found = inspect_model(tmp_path / "m.h5")
    assert found.model.kind == "lines"
    assert (found.summary.assumed, found.summary.notes) == ((), ())
    lstm = 4 * UNITS * (EMBEDDING + UNITS + 1)
    dense = sum(x.size for x in (net.layers[-1].kernel, net.layers[-1].bias))
    assert found.summary.weights == 4 * EMBEDDING + lstm + dense
    assert np.isclose(net.predict([0]).sum(), 1)
    (tmp_path / "models").mkdir()
    shutil.move(tmp_path / "m.h5", tmp_path / "models" / "mine.h5")
    monkeypatch.chdir(tmp_path)
    assert inspect_model("mine").path.name == "mine.h5"


def test_what_can_not_be_opened_is_named(tmp_path):
    (tmp_path / "m.h5").write_text("no model")
    for path in (tmp_path / "m.h5", tmp_path / "none.h5"):
        with pytest.raises(ModelFileError, match=f"^{str(path)!r}: expected"):
            inspect_model(path)
    with pytest.raises(ModelFileError, match="nix"):
        inspect_model("nix")
    fixture = keras_2_lstm()
    fixture.layer("LSTM")["recurrent_activation"] = "none of these"
    path = fixture.write(tmp_path / "odd.h5")
    with pytest.raises(ModelFileError, match=f"^{str(path)!r}: expected"):
        inspect_model(path)
