"""A character-level RNN in plain NumPy: the graded baseline.

    a⟨t⟩ = tanh(Wax x⟨t⟩ + Waa a⟨t−1⟩ + b)        ŷ⟨t⟩ = softmax(Wya a⟨t⟩ + by)

It learns names, one a line, and invents new ones. The functions, their arguments and
their use of NumPy's global random state are those of the dinosaur-names exercise of the
course "Sequence Models": only `initialize_parameters`, `sample` and `model` change that
state. The module imports NumPy and nothing of this package.

    python -m textgen.numpy_rnn            # trains on the dinosaurs' names
    python -m textgen.numpy_rnn TEXT       # trains on another file, one example a line

Shapes: n_a hidden units, n_x = n_y = V symbols. ``parameters`` is a dict of float64
arrays ``Wax`` (n_a, n_x), ``Waa`` (n_a, n_a), ``Wya`` (n_y, n_a), ``b`` (n_a, 1) and
``by`` (n_y, 1). ``gradients`` has arrays of the same shapes under ``dWax``, ``dWaa``,
``dWya``, ``db`` and ``dby``. During the backward pass it also has ``da_next`` (n_a, 1),
the gradient that reaches a hidden state from the steps after it.
"""

# The exercise's names and its global seeds are part of the contract.
# ruff: noqa: N803, N806, NPY002

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

MAX_SAMPLE_CHARS = 50
CLIP_VALUE = 5
REPORT_EVERY_ITERATIONS = 2000

Arrays = dict[str, np.ndarray]
Cache = tuple[dict[int, np.ndarray], dict[int, np.ndarray], dict[int, np.ndarray]]


def softmax(x: np.ndarray) -> np.ndarray:
    """Turn each column of scores (n,) or (n, columns) into probabilities."""
    # Subtracting the maximum changes nothing, but keeps `exp` from overflowing.
    exponentials = np.exp(x - x.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def smooth(loss: float, cur_loss: float) -> float:
    """Return the running loss, moved a thousandth of the way to ``cur_loss``."""
    return loss * 0.999 + cur_loss * 0.001


def get_initial_loss(vocab_size: int, seq_length: int) -> float:
    """Return the loss in nats of guessing uniformly ``seq_length`` times."""
    return -np.log(1.0 / vocab_size) * seq_length


def print_sample(sample_ix: Sequence[int], ix_to_char: Mapping[int, str]) -> None:
    """Print a name from `sample`, newline included, its first letter capital."""
    name = "".join(ix_to_char[ix] for ix in sample_ix)
    print(name[:1].upper() + name[1:], end="")


def initialize_parameters(n_a: int, n_x: int, n_y: int) -> Arrays:
    """Return small random weights and zero biases; seeds NumPy's global state with 1.

    The network has n_a hidden units, inputs of size n_x and outputs of size n_y.
    """
    np.random.seed(1)
    return {
        "Wax": np.random.randn(n_a, n_x) * 0.01,
        "Waa": np.random.randn(n_a, n_a) * 0.01,
        "Wya": np.random.randn(n_y, n_a) * 0.01,
        "b": np.zeros((n_a, 1)),
        "by": np.zeros((n_y, 1)),
    }


def rnn_step_forward(
    parameters: Arrays, a_prev: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute one time step: the next hidden state and the prediction after it.

    Args:
        parameters: described at the top of the module, as everywhere below.
        a_prev: hidden state before (n_a, 1).
        x: input (n_x, 1), one-hot or zero.

    Returns:
        ``a_next`` (n_a, 1), the hidden state after, and ``p_t`` (n_y, 1), the
        probabilities of the next character.
    """
    Wax, Waa, Wya = parameters["Wax"], parameters["Waa"], parameters["Wya"]
    a_next = np.tanh(Wax.dot(x) + Waa.dot(a_prev) + parameters["b"])
    p_t = softmax(Wya.dot(a_next) + parameters["by"])
    return a_next, p_t


def rnn_forward(
    X: Sequence[int | None],
    Y: Sequence[int],
    a0: np.ndarray,
    parameters: Arrays,
    vocab_size: int = 27,
) -> tuple[float, Cache]:
    """Compute all time steps of a sequence, and the loss of its predictions.

    Args:
        X: ids of the inputs; None stands for the zero vector.
        Y: ids of the targets, the characters to predict, as many as in X.
        a0: hidden state before the first character (n_a, 1).
        parameters: the network's.
        vocab_size: V, the length n_x of an input vector.

    Returns:
        ``loss``, the sum of −log p over the sequence, in nats, and ``cache``, the
        dicts ``(y_hat, a, x)`` from t to the arrays of step t; ``a[-1]`` is ``a0``.
    """
    x: dict[int, np.ndarray] = {}
    a = {-1: a0}
    y_hat: dict[int, np.ndarray] = {}
    loss = 0.0
    for t, (x_id, y_id) in enumerate(zip(X, Y, strict=True)):
        x[t] = np.zeros((vocab_size, 1))
        if x_id is not None:  # x[t][None] = 1 would set every entry
            x[t][x_id] = 1
        a[t], y_hat[t] = rnn_step_forward(parameters, a[t - 1], x[t])
        loss -= np.log(y_hat[t][y_id, 0])
    return loss, (y_hat, a, x)


def rnn_step_backward(
    dy: np.ndarray,
    gradients: Arrays,
    parameters: Arrays,
    x: np.ndarray,
    a: np.ndarray,
    a_prev: np.ndarray,
) -> Arrays:
    """Compute the backward pass of one time step, which adds to the gradients.

    Args:
        dy: gradient (n_y, 1) of the loss by the scores, ŷ minus the one-hot target.
        gradients: of the later steps, with ``da_next``; changed in place.
        parameters: the network's.
        x: input of this step (n_x, 1).
        a: hidden state after this step (n_a, 1).
        a_prev: hidden state before this step (n_a, 1).

    Returns:
        ``gradients``; its ``da_next`` is now the gradient by ``a_prev``.
    """
    gradients["dWya"] += dy.dot(a.T)
    gradients["dby"] += dy
    da = parameters["Wya"].T.dot(dy) + gradients["da_next"]
    dz = (1 - a * a) * da  # through tanh, whose slope is 1 − a²
    gradients["db"] += dz
    gradients["dWax"] += dz.dot(x.T)
    gradients["dWaa"] += dz.dot(a_prev.T)
    gradients["da_next"] = parameters["Waa"].T.dot(dz)
    return gradients


def rnn_backward(
    X: Sequence[int | None], Y: Sequence[int], parameters: Arrays, cache: Cache
) -> tuple[Arrays, dict[int, np.ndarray]]:
    """Backpropagate through time, from the last character to the first.

    Args:
        X: ids of the inputs, as given to `rnn_forward`.
        Y: ids of the targets, as given to `rnn_forward`.
        parameters: the network's.
        cache: what `rnn_forward` returned.

    Returns:
        ``gradients`` of the loss, with ``da_next``, the gradient by the first hidden
        state; and ``a``, the hidden states (n_a, 1) by step, with ``a[-1]`` the first.
    """
    y_hat, a, x = cache
    gradients = {f"d{name}": np.zeros(p.shape) for name, p in parameters.items()}
    gradients["da_next"] = np.zeros(a[-1].shape)
    for t in reversed(range(len(X))):
        dy = y_hat[t].copy()
        dy[Y[t]] -= 1
        rnn_step_backward(dy, gradients, parameters, x[t], a[t], a[t - 1])
    return gradients, a


def update_parameters(parameters: Arrays, gradients: Arrays, lr: float) -> Arrays:
    """Take one step of gradient descent, in place; returns ``parameters``."""
    for name in parameters:
        parameters[name] -= lr * gradients[f"d{name}"]
    return parameters


def clip(gradients: Arrays, maxValue: float) -> Arrays:
    """Clip every entry of the gradients to [−maxValue, maxValue], in place.

    Returns:
        A new dict of the parameters' five gradients; ``da_next`` is neither clipped nor
        kept.
    """
    names = ("dWaa", "dWax", "dWya", "db", "dby")
    clipped = {name: gradients[name] for name in names}
    for gradient in clipped.values():
        gradient.clip(-maxValue, maxValue, out=gradient)
    return clipped


def sample(parameters: Arrays, char_to_ix: Mapping[str, int], seed: int) -> list[int]:
    """Invent a name: draw characters one by one, each fed back as the next input.

    As in the exercise, NumPy's global state is seeded anew before each draw, so that
    the name depends on the parameters and ``seed`` only.

    Args:
        parameters: the network's.
        char_to_ix: character → id; a newline ends a name.
        seed: determines the name.

    Returns:
        The ids drawn, up to the first newline. When `MAX_SAMPLE_CHARS` were drawn, one
        more newline is appended, even if the last one drawn was a newline.
    """
    n_y, n_a = parameters["Wya"].shape
    newline = char_to_ix["\n"]
    x = np.zeros((parameters["Wax"].shape[1], 1))
    a = np.zeros((n_a, 1))
    indices: list[int] = []
    while newline not in indices[-1:] and len(indices) < MAX_SAMPLE_CHARS:
        a, p = rnn_step_forward(parameters, a, x)
        # Both the counter and the seed grow by one a character.
        np.random.seed(seed + 2 * len(indices))
        drawn = int(np.random.choice(n_y, p=p.ravel()))
        indices.append(drawn)
        x = np.zeros_like(x)
        x[drawn] = 1
    if len(indices) == MAX_SAMPLE_CHARS:
        indices.append(newline)
    return indices


def optimize(
    X: Sequence[int | None],
    Y: Sequence[int],
    a_prev: np.ndarray,
    parameters: Arrays,
    learning_rate: float = 0.01,
) -> tuple[float, Arrays, np.ndarray]:
    """Learn from one sequence: forward, backward, clip, update.

    Args:
        X: ids of the inputs; None stands for the zero vector.
        Y: ids of the targets, as many as in X.
        a_prev: hidden state before the sequence (n_a, 1).
        parameters: changed in place.
        learning_rate: step size of the descent.

    Returns:
        ``loss`` in nats, summed over the sequence, before the update; the five clipped
        ``gradients``; and the last hidden state ``a[len(X) - 1]`` (n_a, 1).
    """
    vocab_size = parameters["Wax"].shape[1]
    loss, cache = rnn_forward(X, Y, a_prev, parameters, vocab_size)
    gradients, a = rnn_backward(X, Y, parameters, cache)
    gradients = clip(gradients, CLIP_VALUE)
    update_parameters(parameters, gradients, learning_rate)
    return loss, gradients, a[len(X) - 1]


def model(
    data: str,
    ix_to_char: Mapping[int, str],
    char_to_ix: Mapping[str, int],
    num_iterations: int = 35000,
    n_a: int = 50,
    dino_names: int = 7,
    vocab_size: int = 27,
) -> Arrays:
    """Train on the lines of a text, one at each iteration, and print the progress.

    At every 2,000th iteration it prints the smoothed loss and ``dino_names`` names.
    The hidden state is zero at first and then carried from line to line, as in the
    exercise.

    Args:
        data: the text itself; each of its lines, lower-cased and stripped, is an
            example.
        ix_to_char: id → character.
        char_to_ix: character → id, for every character of the examples and newline.
        num_iterations: lines to learn from.
        n_a: number of hidden units.
        dino_names: names to print with each loss.
        vocab_size: V, number of characters.

    Returns:
        The trained ``parameters``.
    """
    parameters = initialize_parameters(n_a, vocab_size, vocab_size)
    loss = get_initial_loss(vocab_size, dino_names)
    lines = data.removesuffix("\n").split("\n")
    examples = [line.lower().strip() for line in lines]
    np.random.seed(0)
    np.random.shuffle(examples)
    a_prev = np.zeros((n_a, 1))
    for j in range(num_iterations):
        ids = [char_to_ix[character] for character in examples[j % len(examples)]]
        X, Y = [None, *ids], [*ids, char_to_ix["\n"]]
        current_loss, _, a_prev = optimize(X, Y, a_prev, parameters)
        loss = smooth(loss, current_loss)
        if j % REPORT_EVERY_ITERATIONS == 0:
            print(f"Iteration: {j}, Loss: {loss:f}\n")
            for seed in range(dino_names):
                print_sample(sample(parameters, char_to_ix, seed), ix_to_char)
            print()
    return parameters


def _dinos_path() -> Path:
    """Return where the names are: in an installed package, else in a clone."""
    here = Path(__file__).resolve().parent
    installed = here / "assets" / "corpora" / "dinos.txt"
    return installed if installed.exists() else here.parent / "corpora" / "dinos.txt"


def _read_text(path: Path) -> str:
    """Return a file's text in lower case.

    Raises:
        ValueError: if it is no UTF-8 text with one example a line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").lower()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} can't be read as UTF-8: {error}") from error
    if "\n" not in text:
        raise ValueError(f"{str(path)!r} has no line end: one example a line is needed")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on a text and print what the exercise prints.

    Returns:
        The exit status: 0 done, 2 the text can't be used, 130 interrupted.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("text", nargs="?", help="file with one example a line (default: dinos)")
    add("--iterations", type=int, default=35000, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        data = _read_text(_dinos_path() if options.text is None else Path(options.text))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    characters = sorted(set(data))
    ix_to_char = dict(enumerate(characters))
    char_to_ix = {character: ix for ix, character in ix_to_char.items()}
    total, V = len(data), len(characters)
    print(characters)
    print(f"There are {total} total characters and {V} unique characters in your data.")
    print(ix_to_char)
    try:
        model(data, ix_to_char, char_to_ix, options.iterations, vocab_size=V)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the terminal's encoding is
        sys.stdout.reconfigure(encoding="utf-8")
    status = 0
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as `head` has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
