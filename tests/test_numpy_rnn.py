# The exercise's names and its global seeds are part of what is tested.
# ruff: noqa: N803, N806, NPY002

import importlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textgen import numpy_rnn as rnn

DINOS = Path(__file__).parent.parent / "corpora" / "dinos.txt"
CHARACTERS = "\nabcdefghijklmnopqrstuvwxyz"
CHAR_TO_IX = {character: ix for ix, character in enumerate(CHARACTERS)}
IX_TO_CHAR = dict(enumerate(CHARACTERS))


def random_parameters(n_a, V, scale=1.0):
    """Draw from NumPy's global state, in the order of the published checks."""
    shapes = {"Wax": (n_a, V), "Waa": (n_a, n_a), "Wya": (V, n_a)}
    shapes |= {"b": (n_a, 1), "by": (V, 1)}
    return {name: np.random.randn(*shape) * scale for name, shape in shapes.items()}


def global_state():
    _, keys, position, *gauss = np.random.get_state()
    return [*keys.tolist(), position, *gauss]


# --- the published numbers -------------------------------------------------------


def test_clip_gives_the_published_numbers():
    np.random.seed(3)
    shapes = {"dWax": (5, 3), "dWaa": (5, 5), "dWya": (2, 5), "db": (5, 1)}
    shapes["dby"] = (2, 1)
    gradients = {name: np.random.randn(*s) * 10 for name, s in shapes.items()}
    clipped = rnn.clip(gradients, 10)
    assert (clipped["dWaa"][1][2], clipped["dWax"][3][1]) == (10.0, -10.0)
    assert f"{clipped['dWya'][1][2]:.11f}" == "0.29713815361"
    assert clipped["db"][4].tolist() == [10.0]
    assert f"{clipped['dby'][1][0]:.8f}" == "8.45833407"


def test_sample_gives_the_published_indices():
    np.random.seed(2)
    parameters = random_parameters(100, 27)
    indices = rnn.sample(parameters, CHAR_TO_IX, 0)
    # The published list has 51. With unscaled weights rounding differences grow to
    # order one within about forty steps, so that the rest depends on the machine.
    published = (
        "12 17 24 14 13 9 10 22 24 6 13 11 12 6 21 15 21 14 3 2 1 21 18 24 7 25 6 25 "
        "18 10 16 2 3 8 15 12 11 7 1 12 10 2 7"
    )
    assert indices[:43] == [int(ix) for ix in published.split()]
    assert all(type(ix) is int for ix in indices)


def test_optimize_gives_the_published_numbers():
    np.random.seed(1)
    a_prev = np.random.randn(100, 1)
    parameters = random_parameters(100, 27)
    X, Y = [12, 3, 5, 11, 22, 3], [4, 14, 11, 22, 25, 26]
    loss, gradients, a_last = rnn.optimize(X, Y, a_prev, parameters, learning_rate=0.01)
    # Orders of summation differ in the last digits that were published.
    assert loss == pytest.approx(126.503975722, abs=1e-8, rel=0)
    assert gradients["dWaa"][1][2] == pytest.approx(0.194709315347, abs=1e-10, rel=0)
    assert np.argmax(gradients["dWax"]) == 93
    assert gradients["dWya"][1][2] == pytest.approx(-0.007773876032, abs=1e-10, rel=0)
    assert f"{gradients['db'][4][0]:.8f}" == "-0.06809825"
    assert f"{gradients['dby'][1][0]:.8f}" == "0.01538192"
    assert f"{a_last[4][0]:.8f}" == "-1.00000000"
    assert sorted(gradients) == ["dWaa", "dWax", "dWya", "db", "dby"]


@pytest.mark.slow
def test_model_repeats_the_transcript_of_an_independent_implementation(capsys):
    rnn.model(DINOS.read_text(), IX_TO_CHAR, CHAR_TO_IX, num_iterations=12_001)
    printed = capsys.readouterr().out
    losses = re.findall(r"^Iteration: (\d+), Loss: (\d+\.\d{6})\n\n", printed, re.M)
    assert [int(j) for j, _ in losses] == list(range(0, 12_001, 2000))
    published = [23.084039, 27.674417, 25.665858, 24.365748, 23.936225, 23.236518]
    assert [float(loss) for _, loss in losses] == pytest.approx(
        [*published, 23.280947], abs=1e-5, rel=0
    )
    first, second = (" ".join(x.split()) for x in printed.split("\n\n")[1:4:2])
    assert first == (
        "Nkzxwtdmfqoeyhsqwasjkjvu Kneb Kzxwtdmfqoeyhsqwasjkjvu Neb "
        "Zxwtdmfqoeyhsqwasjkjvu Eb Xwtdmfqoeyhsqwasjkjvu"
    )
    assert second == "Mhxtos Hlec Iwtos Macalos Xusajnesanvesauhus Ba Tos"


# --- forward and backward --------------------------------------------------------


def naive_loss(X, Y, a0, parameters):
    """Sum of −log p, step by step, by the formulas as they are written."""
    Wax, Waa, Wya, b, by = (parameters[n] for n in ("Wax", "Waa", "Wya", "b", "by"))
    a, loss = a0, 0.0
    for x_id, y_id in zip(X, Y, strict=True):
        x = 0 if x_id is None else Wax[:, [x_id]]
        a = np.tanh(x + Waa @ a + b)
        scores = (Wya @ a + by).ravel().tolist()
        loss += math.log(sum(map(math.exp, scores))) - scores[y_id]
    return loss


@pytest.fixture
def small():
    """A network of 4 units and 6 symbols with a sequence that starts with None."""
    np.random.seed(7)
    parameters = random_parameters(4, 6, scale=0.7)
    return [None, 2, 5, 2, 0], [2, 5, 2, 0, 1], np.random.randn(4, 1), parameters


def test_forward_agrees_with_a_naive_loop_and_none_is_the_zero_vector(small):
    X, Y, a0, parameters = small
    loss, (y_hat, a, x) = rnn.rnn_forward(X, Y, a0, parameters, vocab_size=6)
    assert loss == pytest.approx(naive_loss(X, Y, a0, parameters), rel=1e-12)
    assert not x[0].any()
    assert x[1].ravel().tolist() == [0, 0, 1, 0, 0, 0]
    assert np.array_equal(a[-1], a0)
    assert all(y.shape == (6, 1) for y in y_hat.values())
    assert all(y.sum() == pytest.approx(1) for y in y_hat.values())
    # None is neither the symbol 0 nor all symbols at once.
    assert loss != pytest.approx(naive_loss([0, *X[1:]], Y, a0, parameters))


def central_difference(array, loss_of):
    """Gradient of ``loss_of()`` by each entry of ``array``."""
    step, gradient = 1e-5, np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        for sign in (1, -1):
            array[index] = kept + sign * step
            gradient[index] += sign * loss_of() / (2 * step)
        array[index] = kept
    return gradient


@pytest.mark.parametrize("name", ["Wax", "Waa", "Wya", "b", "by", "a0"])
def test_gradients_agree_with_central_differences(small, name):
    X, Y, a0, parameters = small
    _, cache = rnn.rnn_forward(X, Y, a0, parameters, vocab_size=6)
    gradients, a = rnn.rnn_backward(X, Y, parameters, cache)
    array = a0 if name == "a0" else parameters[name]
    numeric = central_difference(array, lambda: naive_loss(X, Y, a0, parameters))
    analytic = gradients["da_next" if name == "a0" else f"d{name}"]
    assert np.abs(numeric).max() > 1e-2
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-8)
    assert a is cache[1]


def test_optimize_clips_at_five_then_descends(small):
    X, Y, a0, parameters = small
    parameters["Wya"] *= 20  # gradients beyond the limit
    _, cache = rnn.rnn_forward(X, Y, a0, parameters, vocab_size=6)
    plain, _ = rnn.rnn_backward(X, Y, parameters, cache)
    assert max(np.abs(gradient).max() for gradient in plain.values()) > 5
    before = {name: array.copy() for name, array in parameters.items()}
    loss, gradients, a_last = rnn.optimize(X, Y, a0, parameters, learning_rate=0.1)
    assert loss == pytest.approx(naive_loss(X, Y, a0, before), rel=1e-12)
    np.testing.assert_array_equal(a_last, cache[1][4])
    for name, array in before.items():
        limited = np.minimum(np.maximum(plain[f"d{name}"], -5), 5)
        np.testing.assert_allclose(gradients[f"d{name}"], limited, rtol=1e-12)
        np.testing.assert_allclose(parameters[name], array - 0.1 * limited, rtol=1e-12)


# --- the small functions ---------------------------------------------------------


def test_the_small_functions(capsys):
    x = np.array([[0.0, 1000.0], [math.log(3), -1000.0]])  # by column, no overflow
    np.testing.assert_allclose(rnn.softmax(x), [[0.25, 1], [0.75, 0]], rtol=1e-14)
    np.testing.assert_allclose(rnn.softmax(np.array([5.0, 5.0])), [0.5, 0.5])
    assert rnn.smooth(10.0, 20.0) == pytest.approx(10.01)
    assert rnn.get_initial_loss(27, 7) == pytest.approx(7 * math.log(27))
    for ids, printed in (([1, 2, 0], "Ab\n"), ([3, 0], "C\n"), ([0], "\n"), ([], "")):
        rnn.print_sample(ids, IX_TO_CHAR)
        assert capsys.readouterr().out == printed


def test_clip_works_in_place_and_keeps_five():
    names = ["dWaa", "dWax", "dWya", "db", "dby"]
    gradients = {name: np.array([-7.0, 0.5, 7.0]) for name in [*names, "da_next"]}
    clipped = rnn.clip(gradients, 5)
    assert sorted(clipped) == names
    assert all(clipped[name] is gradients[name] for name in names)
    assert all(array.tolist() == [-5.0, 0.5, 5.0] for array in clipped.values())
    assert gradients["da_next"].tolist() == [-7.0, 0.5, 7.0]


# --- sampling --------------------------------------------------------------------


def test_sample_draws_with_the_exercises_seeds():
    """Zero weights draw uniformly, so that a seed decides the whole name."""
    parameters = {name: p * 0 for name, p in random_parameters(1, 27).items()}
    lengths = set()
    for seed in range(300):
        name = [
            int(np.random.RandomState(seed + 2 * k).choice(range(27), p=[1 / 27] * 27))
            for k in range(50)
        ]
        end = name.index(0) + 1 if 0 in name else 50
        # A fiftieth character gets a newline after it, even if it is one.
        expected = name[:end] + [0] * (end == 50)
        assert rnn.sample(parameters, CHAR_TO_IX, seed) == expected
        lengths.add((end, name[-1] == 0))
    assert {(50, True), (50, False), (1, False)} <= lengths


# --- training --------------------------------------------------------------------


def test_model_takes_lines_in_shuffled_order_and_carries_the_state(capsys):
    """The order and the state are those of the transcript; here, what a line is."""
    how = {"num_iterations": 6, "n_a": 5, "dino_names": 2}
    trained, expected = (
        rnn.model(data, IX_TO_CHAR, CHAR_TO_IX, **how)
        for data in ("Bac \n\n cab\nabba\n", "bac\n\ncab\nabba")
    )
    for name, array in expected.items():
        np.testing.assert_array_equal(trained[name], array)
    assert re.search(r"[^\n]\n\n$", capsys.readouterr().out)


def test_only_the_functions_that_must_touch_the_global_random_state(small, capsys):
    X, Y, a0, parameters = small
    before = global_state()
    importlib.reload(rnn)
    rnn.optimize(X, Y, a0, parameters)
    assert global_state() == before
    for seeded in (
        lambda: rnn.initialize_parameters(2, 3, 3),
        lambda: rnn.sample(parameters, {"\n": 0}, 0),
        lambda: rnn.model("ab\n", IX_TO_CHAR, CHAR_TO_IX, num_iterations=1, n_a=2),
    ):
        states = [(np.random.seed(s), seeded(), global_state())[2] for s in (11, 12)]
        assert states[0] == states[1]


# --- the module and the program --------------------------------------------------


def test_the_program_prints_what_the_exercise_prints(tmp_path):
    text = tmp_path / "names.txt"
    text.write_bytes("\ufeffÉba\r\nbéb\r\n".encode())
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "textgen.numpy_rnn", str(text), "--iterations", "2"],
        capture_output=True,
        env=os.environ | ascii_only,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(
        r"\['\\n', 'a', 'b', 'é'\]\n"
        r"There are 8 total characters and 4 unique characters in your data.\n"
        r"\{0: '\\n', 1: 'a', 2: 'b', 3: 'é'\}\n"
        r"Iteration: 0, Loss: \d\.\d{6}\n\n.*",
        done.stdout.decode(),
        re.DOTALL,
    )


def test_a_reader_that_has_had_enough_is_no_error(tmp_path):
    text = tmp_path / "names.txt"
    text.write_text("ab\n" * 1000)
    command = [sys.executable, "-m", "textgen.numpy_rnn", str(text)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        assert (process.wait(120), process.stderr.read()) == (0, b"")


def test_the_program_reads_the_dinosaurs_when_no_text_is_given(capsys):
    assert rnn.main(["--iterations", "1"]) == 0
    printed = capsys.readouterr().out
    assert "There are 16865 total characters and 27 unique characters" in printed
    assert "Iteration: 0, Loss: 23.084039\n\nNkzxwtdmfqoeyhsqwasjkjvu\n" in printed


def test_an_installed_package_brings_its_own_dinosaurs(tmp_path, monkeypatch):
    names = tmp_path / "textgen" / "assets" / "corpora" / "dinos.txt"
    names.parent.mkdir(parents=True)
    names.write_text("rex\n")
    monkeypatch.setattr(rnn, "__file__", str(tmp_path / "textgen" / "numpy_rnn.py"))
    assert rnn._dinos_path() == names
    names.unlink()
    assert rnn._dinos_path() == tmp_path / "corpora" / "dinos.txt"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"one line only", "end"), (b"rex\ncaf\xe9\n", "UTF-8")],
)
def test_a_text_that_cannot_be_used_gets_one_line(tmp_path, capsys, content, said):
    text = tmp_path / "names.txt"
    if content is not None:
        text.write_bytes(content)
    assert rnn.main([str(text)]) == 2
    out, err = capsys.readouterr()
    assert (out, err[:7], err.count("\n")) == ("", "error: ", 1)
    assert said in err
    assert "names.txt" in err


def test_an_interruption_is_status_130(monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rnn, "model", interrupted)
    assert rnn.main([]) == 130
