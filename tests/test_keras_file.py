"""Files of every Keras: what they predict, by formulas written a second time."""

import numpy as np
import pytest
from keras_fixtures import FIXTURES

from textgen.model_file import load_model

pytestmark = pytest.mark.usefixtures("one_reader")


def softmax(logits):
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


@pytest.fixture
def text_of(tmp_path):
    """Return a function that writes a text of given symbols, and gives its path."""

    def write(symbols: str):
        path = tmp_path / "text.txt"
        path.write_text(symbols[::-1] * 2, newline="")
        return path

    return write


def opened(fixture, tmp_path, text_of):
    path = fixture.write(tmp_path / "model.h5")
    return load_model(path, text_of(fixture.symbols))


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.filterwarnings("ignore:the model file doesn't say")
def test_predictions_are_those_of_the_formulas(name, tmp_path, text_of):
    fixture = FIXTURES[name]()
    model = opened(fixture, tmp_path, text_of)
    assert "".join(model.vocabulary.symbols) == "".join(sorted(fixture.symbols))
    assert model.windows.targets == fixture.targets
    if fixture.window is not None:
        assert model.windows.window_chars == fixture.window
    ids = np.random.default_rng(0).integers(0, fixture.net.size, (14, 2))
    ids[3:5, 0] = 0
    stepper = model.stepper(streams=2)
    spread = []
    for end in range(1, len(ids) + 1):
        logits = stepper.step(ids[end - 1])
        start = max(0, end - fixture.window) if fixture.targets == "last" else 0
        for stream in range(2):
            expected = fixture.net.predict(ids[start:end, stream])
            ours = logits[stream] if "logits" in name else softmax(logits[stream])
            np.testing.assert_allclose(ours, expected, atol=1e-6, rtol=2e-6)
            spread.append(ours)
    assert np.std(spread, axis=0).max() > 0.01  # it does depend on the text
