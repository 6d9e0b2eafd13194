"""A character-level RNN in plain NumPy: the graded baseline.

    a⟨t⟩ = tanh(Wax x⟨t⟩ + Waa a⟨t−1⟩ + b)        ŷ⟨t⟩ = softmax(Wya a⟨t⟩ + by)

It learns names, one a line, and invents new ones. The functions and their arguments
are those of the dinosaur-names exercise of the course "Sequence Models", so their
names stay as they are there, and so does its use of NumPy's global random state:
only `initialize_parameters`, `sample` and `model` touch it. The module needs nothing
but NumPy and imports nothing of this package.

    python -m textgen.numpy_rnn            # trains on the dinosaurs' names
    python -m textgen.numpy_rnn TEXT       # trains on another file, one example a line

Shapes: n_a hidden units, n_x = n_y = V symbols. ``parameters`` is a dict of float64
arrays ``Wax`` (n_a, n_x), ``Waa`` (n_a, n_a), ``Wya`` (n_y, n_a), ``b`` (n_a, 1) and
``by`` (n_y, 1); ``gradients`` holds the same shapes under ``dWax``, ``dWaa``, ``dWya``,
``db`` and ``dby``, and while going back also ``da_next`` (n_a, 1), the gradient that
reaches a hidden state from the steps after it.
"""

# The exercise's names and its global seeds are part of the contract.
# ruff: noqa: N803, N806, NPY002

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

MAX_SAMPLE_CHARS = 50
CLIP_VALUE = 5
REPORT_EVERY_ITERATIONS = 2000

Arrays = dict[str, np.ndarray]
Cache = tuple[dict[int, np.ndarray], dict[int, np.ndarray], dict[int, np.ndarray]]


def softmax(x: np.ndarray) -> np.ndarray:
    """Turn each column of scores into probabilities.

    Args:
        x: scores (n,) or (n, columns), float.

    Returns:
        Probabilities of the same shape; each column sums to one. Shifting by the
        column's maximum changes nothing but keeps `exp` from overflowing.
    """
    exponentials = np.exp(x - x.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def smooth(loss: float, cur_loss: float) -> float:
    """Return the running loss, moved a thousandth of the way to ``cur_loss``."""
    return loss * 0.999 + cur_loss * 0.001


def get_initial_loss(vocab_size: int, seq_length: int) -> float:
    """Return the loss in nats of guessing uniformly ``seq_length`` times."""
    return -np.log(1.0 / vocab_size) * seq_length


def print_sample(sample_ix: Sequence[int], ix_to_char: Mapping[int, str]) -> None:
    """Print a sampled name, its first letter capital.

    Args:
        sample_ix: ids as `sample` returns them; the newline at their end is printed
            with them, and no other is added.
        ix_to_char: id → character.
    """
    name = "".join(ix_to_char[ix] for ix in sample_ix)
    name = name[:1].upper() + name[1:]
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    print(_escaped(name) if on_terminal else name, end="")


def _escaped(text: str) -> str:
    """Return ``text`` with whatever could steer a terminal shown escaped."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
        for c in text
    )


def initialize_parameters(n_a: int, n_x: int, n_y: int) -> Arrays:
    """Return small random weights and zero biases; seeds NumPy's global state with 1.

    Args:
        n_a: number of hidden units.
        n_x: size of an input vector.
        n_y: size of an output vector.

    Returns:
        ``parameters``, as the module's docstring describes them.
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
    """Go one character on.

    Args:
        parameters: see the module's docstring.
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
    """Read a whole sequence and measure how well each character was foreseen.

    Args:
        X: ids of the inputs; None stands for the zero vector.
        Y: ids of the characters to foresee, as many as in X.
        a0: hidden state before the first character (n_a, 1).
        parameters: see the module's docstring.
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
    """Go one character back: add what this step contributes to the gradients.

    Args:
        dy: gradient (n_y, 1) of the loss by the scores, ŷ minus the one-hot target.
        gradients: so far, with ``da_next``; changed in place.
        parameters: see the module's docstring.
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
        parameters: see the module's docstring.
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
    """Limit every entry of the gradients to [−maxValue, maxValue], in place.

    Args:
        gradients: with at least ``dWaa``, ``dWax``, ``dWya``, ``db`` and ``dby``.
        maxValue: largest absolute value allowed.

    Returns:
        A new dict of these five arrays; ``da_next`` is neither clipped nor kept.
    """
    names = ("dWaa", "dWax", "dWya", "db", "dby")
    clipped = {name: gradients[name] for name in names}
    for gradient in clipped.values():
        gradient.clip(-maxValue, maxValue, out=gradient)
    return clipped


def sample(parameters: Arrays, char_to_ix: Mapping[str, int], seed: int) -> list[int]:
    """Invent a name: draw characters one by one, each fed back as the next input.

    NumPy's global state is seeded anew before each draw, as the exercise does, so the
    name depends on the parameters and ``seed`` only.

    Args:
        parameters: see the module's docstring.
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
    """Return where the names are: in an installed package, else in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "assets" / "corpora" / "dinos.txt"
    return installed if installed.exists() else here.parent / "corpora" / "dinos.txt"


def _read_text(path: Path) -> str:
    """Return the file's text in lower case; ValueError says in one line why not."""
    shown = repr(str(path))
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise ValueError(
            f"expected a text file, one example a line, but {shown} can't be read "
            f"({error.strerror}): check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected UTF-8 text, but {shown} has an undecodable byte at offset "
            f"{error.start}: convert it to UTF-8"
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        raise ValueError(f"expected text, but {shown} is binary: give a text file")
    if "\n" not in text:
        raise ValueError(
            f"expected one example a line, but {shown} has no line end: "
            "put each example on a line of its own"
        )
    return text.lower()


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        message = _escaped(message).replace("\n", "\\n")
        self.exit(2, f"error: {message}\n")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least 1, but received {text!r}"
        )
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on a text and print what the exercise prints.

    Args:
        arguments: the command line; None takes it from `sys.argv`.

    Returns:
        Exit status: 0 done, 2 the text can't be used, 130 interrupted.
    """
    parser = _Parser(prog="python -m textgen.numpy_rnn", description="Train on names.")
    parser.add_argument(
        "text", metavar="TEXT", nargs="?", help="one example a line (default: dinos)"
    )
    parser.add_argument(
        "--iterations", type=_positive, default=35000, help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    try:
        data = _read_text(_dinos_path() if options.text is None else Path(options.text))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    characters = sorted(set(data))
    char_to_ix = {character: ix for ix, character in enumerate(characters)}
    ix_to_char = dict(enumerate(characters))
    print(characters)
    print(
        f"There are {len(data)} total characters and {len(characters)} unique "
        "characters in your data."
    )
    print(ix_to_char)
    try:
        model(
            data,
            ix_to_char,
            char_to_ix,
            num_iterations=options.iterations,
            vocab_size=len(characters),
        )
    except KeyboardInterrupt:
        return 130
    return 0


def _program() -> int:
    """Run `main` for the shell: UTF-8 out, and no traceback where it can't go."""
    if sys.stdout is None:
        print("error: standard output is closed", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        status = main()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        status = 0  # a reader such as `head` has had enough
    except OSError as error:
        print(f"error: can't write the output: {error.strerror}", file=sys.stderr)
        status = 2
    # Python flushes once more on leaving, which must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(_program())
