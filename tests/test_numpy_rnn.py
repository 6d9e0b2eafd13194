# The exercise's names and its global seeds are part of what is tested.
# ruff: noqa: N803, N806, NPY002

import ast
import importlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textgen import numpy_rnn
from textgen.numpy_rnn import (
    clip,
    get_initial_loss,
    initialize_parameters,
    model,
    optimize,
    print_sample,
    rnn_backward,
    rnn_forward,
    rnn_step_forward,
    sample,
    smooth,
    softmax,
    update_parameters,
)

DINOS = Path(__file__).parent.parent / "corpora" / "dinos.txt"
CHARACTERS = "\nabcdefghijklmnopqrstuvwxyz"
CHAR_TO_IX = {character: ix for ix, character in enumerate(CHARACTERS)}
IX_TO_CHAR = dict(enumerate(CHARACTERS))


def random_parameters(n_a, V, scale=1.0):
    """Draw from NumPy's global state, in the order of the published checks."""
    shapes = {
        "Wax": (n_a, V),
        "Waa": (n_a, n_a),
        "Wya": (V, n_a),
        "b": (n_a, 1),
        "by": (V, 1),
    }
    return {name: np.random.randn(*shape) * scale for name, shape in shapes.items()}


def global_state():
    _, keys, position, *gauss = np.random.get_state()
    return [*keys.tolist(), position, *gauss]


# --- the published numbers -------------------------------------------------------


def test_clip_gives_the_published_numbers():
    np.random.seed(3)
    shapes = {"dWax": (5, 3), "dWaa": (5, 5), "dWya": (2, 5), "db": (5, 1)}
    gradients = {name: np.random.randn(*s) * 10 for name, s in shapes.items()}
    gradients["dby"] = np.random.randn(2, 1) * 10
    clipped = clip(gradients, 10)
    assert clipped["dWaa"][1][2] == 10.0
    assert clipped["dWax"][3][1] == -10.0
    assert f"{clipped['dWya'][1][2]:.11f}" == "0.29713815361"
    assert clipped["db"][4].tolist() == [10.0]
    assert f"{clipped['dby'][1][0]:.8f}" == "8.45833407"


def test_sample_gives_the_published_indices():
    np.random.seed(2)
    parameters = random_parameters(100, 27)
    indices = sample(parameters, CHAR_TO_IX, 0)
    # The published list has 51. With unscaled weights the network is chaotic: rounding
    # differences grow to order one within about forty steps, so that from index 43 on
    # each order of summation gives another tail. Only what holds on any machine is
    # demanded.
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
    loss, gradients, a_last = optimize(X, Y, a_prev, parameters, learning_rate=0.01)
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
    model(DINOS.read_text(), IX_TO_CHAR, CHAR_TO_IX, num_iterations=12_001)
    printed = capsys.readouterr().out
    losses = dict(
        re.findall(r"^Iteration: (\d+), Loss: (\d+\.\d{6})\n\n", printed, re.M)
    )
    published = {
        "0": 23.084039,
        "2000": 27.674417,
        "4000": 25.665858,
        "6000": 24.365748,
        "8000": 23.936225,
        "10000": 23.236518,
        "12000": 23.280947,
    }
    assert {j: float(loss) for j, loss in losses.items()} == pytest.approx(
        published, abs=1e-5, rel=0
    )
    first, second = printed.split("\n\n")[1:4:2]
    assert first.split("\n") == [
        "Nkzxwtdmfqoeyhsqwasjkjvu",
        "Kneb",
        "Kzxwtdmfqoeyhsqwasjkjvu",
        "Neb",
        "Zxwtdmfqoeyhsqwasjkjvu",
        "Eb",
        "Xwtdmfqoeyhsqwasjkjvu",
    ]
    assert second.split("\n") == [
        "Mhxtos",
        "Hlec",
        "Iwtos",
        "Macalos",
        "Xusajnesanvesauhus",
        "Ba",
        "Tos",
    ]


# --- forward and backward --------------------------------------------------------


def naive_loss(X, Y, a0, parameters):
    """Sum of −log p, entry by entry, in plain Python."""
    p = {name: array.tolist() for name, array in parameters.items()}
    a = [row[0] for row in a0.tolist()]
    loss = 0.0
    for x_id, y_id in zip(X, Y, strict=True):
        z = []
        for i in range(len(a)):
            total = p["b"][i][0] + sum(p["Waa"][i][k] * a[k] for k in range(len(a)))
            z.append(total + (0 if x_id is None else p["Wax"][i][x_id]))
        a = [math.tanh(entry) for entry in z]
        scores = [
            by[0] + sum(w * entry for w, entry in zip(row, a, strict=True))
            for row, by in zip(p["Wya"], p["by"], strict=True)
        ]
        normaliser = math.log(sum(math.exp(score) for score in scores))
        loss += normaliser - scores[y_id]
    return loss


@pytest.fixture
def small():
    """A network of 4 units and 6 symbols with a sequence that starts with None."""
    np.random.seed(7)
    parameters = random_parameters(4, 6, scale=0.7)
    return [None, 2, 5, 2, 0], [2, 5, 2, 0, 1], np.random.randn(4, 1), parameters


def test_forward_agrees_with_a_naive_loop_and_none_is_the_zero_vector(small):
    X, Y, a0, parameters = small
    loss, (y_hat, a, x) = rnn_forward(X, Y, a0, parameters, vocab_size=6)
    assert loss == pytest.approx(naive_loss(X, Y, a0, parameters), rel=1e-12)
    assert not x[0].any()
    assert x[1].ravel().tolist() == [0, 0, 1, 0, 0, 0]
    assert np.array_equal(a[-1], a0)
    assert all(y_hat[t].shape == (6, 1) for t in range(5))
    assert all(y_hat[t].sum() == pytest.approx(1) for t in range(5))
    # None is neither the symbol 0 nor all symbols at once.
    assert loss != pytest.approx(naive_loss([0, *X[1:]], Y, a0, parameters))


def test_a_step_takes_a_one_hot_column(small):
    _, _, a0, parameters = small
    x = np.zeros((6, 1))
    x[3] = 1
    a_next, p_t = rnn_step_forward(parameters, a0, x)
    column = parameters["Wax"][:, 3:4]
    expected = np.tanh(column + parameters["Waa"] @ a0 + parameters["b"])
    np.testing.assert_allclose(a_next, expected, rtol=1e-13)
    scores = np.exp(parameters["Wya"] @ expected + parameters["by"])
    np.testing.assert_allclose(p_t, scores / scores.sum(), rtol=1e-13)


def central_difference(array, loss_of):
    """Gradient of ``loss_of()`` by each entry of ``array``."""
    step = 1e-5
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = loss_of()
        array[index] = kept - step
        below = loss_of()
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", ["Wax", "Waa", "Wya", "b", "by", "a0"])
def test_gradients_agree_with_central_differences(small, name):
    X, Y, a0, parameters = small
    _, cache = rnn_forward(X, Y, a0, parameters, vocab_size=6)
    gradients, a = rnn_backward(X, Y, parameters, cache)
    array = a0 if name == "a0" else parameters[name]
    numeric = central_difference(array, lambda: naive_loss(X, Y, a0, parameters))
    analytic = gradients["da_next" if name == "a0" else f"d{name}"]
    assert np.abs(numeric).max() > 1e-2
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-8)
    assert a is cache[1]


def test_optimize_clips_at_five_then_descends(small):
    X, Y, a0, parameters = small
    parameters["Wya"] *= 20  # gradients beyond the limit
    _, cache = rnn_forward(X, Y, a0, parameters, vocab_size=6)
    plain, _ = rnn_backward(X, Y, parameters, cache)
    assert max(np.abs(gradient).max() for gradient in plain.values()) > 5
    before = {name: array.copy() for name, array in parameters.items()}
    loss, gradients, a_last = optimize(X, Y, a0, parameters, learning_rate=0.1)
    assert loss == pytest.approx(naive_loss(X, Y, a0, before), rel=1e-12)
    np.testing.assert_array_equal(a_last, cache[1][4])
    for name, array in before.items():
        limited = np.minimum(np.maximum(plain[f"d{name}"], -5), 5)
        np.testing.assert_allclose(gradients[f"d{name}"], limited, rtol=1e-12)
        np.testing.assert_allclose(parameters[name], array - 0.1 * limited, rtol=1e-12)


# --- the small functions ---------------------------------------------------------


def test_softmax_works_by_column_and_does_not_overflow():
    x = np.array([[0.0, 1000.0], [math.log(3), -1000.0]])
    np.testing.assert_allclose(softmax(x), [[0.25, 1], [0.75, 0]], rtol=1e-14)
    np.testing.assert_allclose(softmax(np.array([5.0, 5.0])), [0.5, 0.5])


def test_losses():
    assert smooth(10.0, 20.0) == pytest.approx(10.01)
    assert get_initial_loss(27, 7) == pytest.approx(7 * math.log(27))


@pytest.mark.parametrize(
    ("ids", "printed"),
    [([1, 2, 0], "Ab\n"), ([3, 0], "C\n"), ([0], "\n"), ([], "")],
)
def test_print_sample(capsys, ids, printed):
    print_sample(ids, IX_TO_CHAR)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("on_terminal", "printed"),
    [(False, "\x1bé\t\u202e\n"), (True, "\\x1bé\t\\u202e\n")],
)
def test_a_sample_steers_no_terminal(capsys, monkeypatch, on_terminal, printed):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    print_sample([3, 1, 2, 4, 0], dict(enumerate("\né\t\x1b\u202e")))
    assert capsys.readouterr().out == printed


def test_initialize_parameters_draws_in_order_after_seed_one():
    np.random.seed(99)
    parameters = initialize_parameters(3, 5, 6)
    generator = np.random.RandomState(1)
    for name, shape in [("Wax", (3, 5)), ("Waa", (3, 3)), ("Wya", (6, 3))]:
        np.testing.assert_array_equal(parameters[name], generator.randn(*shape) * 0.01)
    assert parameters["b"].tolist() == [[0.0]] * 3
    assert parameters["by"].tolist() == [[0.0]] * 6


def test_update_parameters_descends():
    parameters = {name: np.ones((2, 1)) for name in ("Wax", "Waa", "Wya", "b", "by")}
    gradients = {f"d{name}": np.full((2, 1), 2.0) for name in parameters}
    updated = update_parameters(parameters, gradients, 0.25)
    assert all(updated[name].tolist() == [[0.5], [0.5]] for name in parameters)


def test_clip_works_in_place_and_keeps_five():
    names = ["dWaa", "dWax", "dWya", "db", "dby"]
    gradients = {name: np.array([[-7.0, 0.5, 7.0]]) for name in [*names, "da_next"]}
    clipped = clip(gradients, 5)
    assert sorted(clipped) == names
    assert clipped is not gradients
    for name in names:
        assert clipped[name] is gradients[name]
        assert clipped[name].tolist() == [[-5.0, 0.5, 5.0]]
    assert gradients["da_next"].tolist() == [[-7.0, 0.5, 7.0]]


# --- sampling --------------------------------------------------------------------


def reference_sample(parameters, seed, V):
    """Seeds as the exercise sets them, on a generator of its own."""
    a, x, ids = np.zeros((parameters["b"].size, 1)), np.zeros((V, 1)), []
    counter = 0
    while counter < 50 and (not ids or ids[-1] != 0):
        a = np.tanh(parameters["Wax"] @ x + parameters["Waa"] @ a + parameters["b"])
        scores = np.exp(parameters["Wya"] @ a + parameters["by"]).ravel()
        generator = np.random.RandomState(counter + seed)
        drawn = generator.choice(range(V), p=scores / scores.sum())
        ids.append(int(drawn))
        x = np.eye(V)[:, [drawn]]
        seed += 1
        counter += 1
    return ids


def test_sample_draws_with_the_exercises_seeds():
    np.random.seed(4)
    parameters = random_parameters(8, 27, scale=0.5)
    parameters["by"][0] = 2.0  # newline likely enough to end most names early
    ended_early = 0
    for seed in range(20):
        expected = reference_sample(parameters, seed, 27)
        ended_early += len(expected) < 50
        end = [0] if len(expected) == 50 else []
        assert sample(parameters, CHAR_TO_IX, seed) == expected + end
    assert ended_early > 5


def test_fifty_characters_without_a_newline_get_one():
    parameters = random_parameters(3, 27)
    parameters["by"][0] = -1e6
    indices = sample(parameters, CHAR_TO_IX, 0)
    assert len(indices) == 51
    assert 0 not in indices[:50]
    assert indices[50] == 0


def test_a_newline_as_fiftieth_character_gets_another():
    # Zero weights draw uniformly, so a seed decides the whole name.
    parameters = {name: p * 0 for name, p in random_parameters(1, 27).items()}

    def first_newline(seed):
        for position in range(50):
            generator = np.random.RandomState(seed + 2 * position)
            if generator.choice(27, p=np.full(27, 1 / 27)) == 0:
                return position
        return None

    seed = next(seed for seed in range(3000) if first_newline(seed) == 49)
    indices = sample(parameters, CHAR_TO_IX, seed)
    assert len(indices) == 51
    assert indices[49:] == [0, 0]
    assert 0 not in indices[:49]


# --- training --------------------------------------------------------------------


def test_model_takes_lines_in_shuffled_order_and_carries_the_state(capsys):
    data = "Bac \n\n cab\nabba\n"
    trained = model(data, IX_TO_CHAR, CHAR_TO_IX, num_iterations=6, n_a=5, dino_names=2)
    printed = capsys.readouterr().out
    examples = ["bac", "", "cab", "abba"]
    np.random.RandomState(0).shuffle(examples)
    parameters = initialize_parameters(5, 27, 27)
    a = np.zeros((5, 1))
    losses = []
    for j in range(6):
        ids = [CHAR_TO_IX[character] for character in examples[j % 4]]
        loss, _, a = optimize([None, *ids], [*ids, 0], a, parameters)
        losses.append(loss)
    for name, array in parameters.items():
        np.testing.assert_array_equal(trained[name], array)
    smoothed = 0.999 * 2 * math.log(27) + 0.001 * losses[0]
    assert printed.startswith(f"Iteration: 0, Loss: {smoothed:f}\n\n")
    assert printed.endswith("\n\n")
    assert not printed.endswith("\n\n\n")


def test_model_works_with_other_vocabularies():
    data = "ά beta\nγάμμα\n" * 3
    characters = sorted(set(data))
    ix_to_char = dict(enumerate(characters))
    char_to_ix = {character: ix for ix, character in ix_to_char.items()}
    V = len(characters)
    parameters = model(
        data, ix_to_char, char_to_ix, num_iterations=4, n_a=3, vocab_size=V
    )
    assert parameters["Wya"].shape == (V, 3)


def test_only_the_functions_that_must_touch_the_global_random_state(small, capsys):
    X, Y, a0, parameters = small
    before = global_state()
    importlib.reload(numpy_rnn)
    optimize(X, Y, a0, parameters)
    softmax(a0)
    assert global_state() == before
    for seeded in (
        lambda: initialize_parameters(2, 3, 3),
        lambda: sample(parameters, {"\n": 0}, 0),
        lambda: model("ab\n", IX_TO_CHAR, CHAR_TO_IX, num_iterations=1, n_a=2),
    ):
        np.random.seed(11)
        seeded()
        one = global_state()
        np.random.seed(12)
        seeded()
        assert global_state() == one


# --- the module and the program --------------------------------------------------


def test_imports_only_numpy_and_the_standard_library():
    tree = ast.parse(Path(numpy_rnn.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"numpy"}
    code = (
        "import sys, textgen.numpy_rnn;"
        "print(*{'tensorflow', 'keras', 'h5py', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_the_program_prints_what_the_exercise_prints(tmp_path):
    text = tmp_path / "names.txt"
    text.write_bytes(b"\xef\xbb\xbfAba\r\nbab\r\n")
    done = subprocess.run(
        [sys.executable, "-m", "textgen.numpy_rnn", str(text), "--iterations", "2"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    assert lines[:3] == [
        r"['\n', 'a', 'b']",
        "There are 8 total characters and 3 unique characters in your data.",
        r"{0: '\n', 1: 'a', 2: 'b'}",
    ]
    assert re.fullmatch(r"Iteration: 0, Loss: \d\.\d{6}", lines[3])
    assert lines[4] == ""


def start_program(text, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "textgen.numpy_rnn", text, "--iterations", "4001"],
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.fixture
def two_names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("é\nbé\n" * 1000, encoding="utf-8")
    return path


def test_a_reader_that_has_had_enough_is_no_error(two_names):
    with start_program(two_names, stdout=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_the_program_writes_utf8_in_any_locale(two_names):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with start_program(
        two_names, stdout=subprocess.PIPE, env=os.environ | environment
    ) as process:
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert printed.decode().startswith("['\\n', 'b', 'é']\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_gets_one_line(two_names):
    with (
        open("/dev/full", "wb") as full,
        start_program(two_names, stdout=full) as process,
    ):
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert said.startswith(b"error: can't write the output: No space")
    assert said.count(b"\n") == 1


def test_the_program_reads_the_dinosaurs_when_no_text_is_given(capsys):
    assert numpy_rnn.main(["--iterations", "1"]) == 0
    printed = capsys.readouterr().out
    assert "There are 16865 total characters and 27 unique characters" in printed
    assert "Iteration: 0, Loss: 23.084039\n\nNkzxwtdmfqoeyhsqwasjkjvu\n" in printed


def test_an_installed_package_brings_its_own_dinosaurs(tmp_path, monkeypatch):
    package = tmp_path / "textgen"
    names = package / "assets" / "corpora" / "dinos.txt"
    names.parent.mkdir(parents=True)
    names.write_text("rex\n")
    monkeypatch.setattr(numpy_rnn, "__file__", str(package / "numpy_rnn.py"))
    assert numpy_rnn._dinos_path() == names
    names.unlink()
    assert numpy_rnn._dinos_path() == tmp_path / "corpora" / "dinos.txt"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read"),
        (b"", "no line end"),
        (b"one line only", "no line end"),
        (b"rex\nb\x00\x01\n", "is binary"),
        (b"rex\ncaf\xe9\n", "undecodable byte at offset 7"),
        (b"\xef\xbb\xbfrex\ncaf\xe9\n", "undecodable byte at offset 10"),
    ],
)
def test_a_text_that_cannot_be_used_gets_one_line(tmp_path, capsys, content, said):
    text = tmp_path / "na\nmes.txt"
    if content is not None:
        text.write_bytes(content)
    assert numpy_rnn.main([str(text)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: expected ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert r"na\nmes.txt" in captured.err


@pytest.mark.parametrize("iterations", ["0", "-1", "1.5", "many", "nan", "9" * 5000])
def test_nonsense_iterations_get_one_line(capsys, iterations):
    with pytest.raises(SystemExit) as exit_info:
        numpy_rnn.main([f"--iterations={iterations}"])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: argument --iterations: ")
    assert error.count("\n") == 1


def test_a_mistaken_argument_is_shown_escaped(capsys):
    with pytest.raises(SystemExit):
        numpy_rnn.main(["a.txt", "b\n\x1b[2J"])
    assert capsys.readouterr().err.endswith(r"b\n\x1b[2J" + "\n")


def test_an_interruption_is_status_130(monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(numpy_rnn, "model", interrupted)
    assert numpy_rnn.main([]) == 130
