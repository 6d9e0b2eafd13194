"""Hashes of short trainings and of texts, to see whether a change alters a result.

Record them on the code of before and compare the code of now, on the same machine,
since sums are rounded differently elsewhere:

    git worktree add ../before COMMIT
    PYTHONPATH=../before python benchmarks/fingerprints.py before.json
    python benchmarks/fingerprints.py now.json --compare before.json

The first command takes some two minutes on two cores. Exit status 1: something differs.
The package is imported from ``PYTHONPATH``, or else from this checkout.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SMALL = {"layers": 2, "units": 24, "embedding": 16, "batch_size": 16, "seq_length": 32}
TRAINED: dict[
    str, dict[str, Any]
] = {  # of the options of `textgen.train`, beside those of SMALL and 60 steps
    "text": {},
    "lines": {"corpus": "dinos"},
    "stateful": {"stateful": True},
    "averaged": {"schedule": "averaged", "validation": 0.1, "keep_best": True},
    "cosine": {"schedule": "cosine", "optimizer": "adam", "dropout": 0.5},
    "bfloat16": {"precision": "bfloat16"},
    "last": {"preset": "course", "batch_size": 32, "seq_length": 20},
    "labels": {"corpus": "rows.csv", "column": "text", "label_column": "author"},
    "words": {"level": "word", "vocabulary_size": 300},
    "bpe": {"level": "bpe", "vocabulary_size": 300},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn", "learning_rate": 2e-3},
}
DRAWN: dict[str, dict[str, Any]] = {  # options of drawing
    "default": {},
    "greedy": {"temperature": 0},
    "turns": {"temperature": (0.4, 1.0)},
    "top_k": {"top_k": 5},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.1},
    "typical_p": {"typical_p": 0.7},
    "penalty": {"repetition_penalty": 3.0},
    "ngram": {"no_repeat_ngram": 4},
    "beam": {"beam": 3},
    "stop": {"stop": "e"},
}
CONSTRAINED: dict[str, dict[str, Any]] = {
    "starts": {"starts_with": "tri"},
    "contains": {"contains": "o", "ends_with": "us"},
    "matching": {"matching": "[a-z]{4,9}"},
    "lengths": {"min_length": 6, "max_length": 9},
    "novel": {"novel": True, "distinct": True},
}


def rows_of_two_authors() -> str:
    """Return a table of the lines of two corpora, each labelled by its author."""
    rows = ["text,author"]
    for name, author in (("dinos.txt", "reptile"), ("sonnets.txt", "bard")):
        lines = (ROOT / "corpora" / name).read_text("utf-8").splitlines()
        rows += [f'"{line}",{author}' for line in lines if line][:300]
    return "\n".join(rows) + "\n"


def hash_of_weights(path: Path) -> str:
    """Return a SHA-256 over all arrays of a model file, in the order of their names."""
    import h5py

    digest = hashlib.sha256()
    with h5py.File(path) as file:

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                digest.update(name.encode() + item[()].tobytes())

        file["model_weights"].visititems(add)
    return digest.hexdigest()


def hash_of_text(text: str) -> str:
    """Return a SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def trainings(folder: Path) -> Iterator[tuple[str, str]]:
    """Train one model for each of `TRAINED`, one in two halves, one by two workers."""
    import keras

    import textgen

    def train(name: str, **options: Any) -> Path:
        given: dict[str, Any] = {
            "corpus": "sonnets",
            "from_scratch": True,
            "steps": 60,
            "seed": 3,
        }
        given |= SMALL | TRAINED[name.partition(" ")[0]] | options
        if given["corpus"] != "sonnets":
            del given["from_scratch"]
        path = folder / f"{name.replace(' ', '-')}.h5"
        textgen.train(output=path, **given)
        return path

    (folder / "rows.csv").write_text(rows_of_two_authors(), "utf-8")
    for name in TRAINED:
        yield name, hash_of_weights(train(name))

    def interrupt(batch: int, logs: Any) -> None:
        raise KeyboardInterrupt

    stop = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    for name in ("text", "lines", "averaged"):
        resumed = f"{name} resumed"
        with contextlib.suppress(KeyboardInterrupt):  # what was learned is saved
            train(resumed, steps=150, callbacks=[stop])
        path = train(resumed, steps=150, resume=True)
        yield resumed, hash_of_weights(path)
    yield "two workers", two_workers(folder)


def two_workers(folder: Path) -> str:
    """Return the hash of what two processes train together."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (first, second)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    command = [sys.executable, "-m", "textgen", "train", "sonnets", "--from-scratch"]
    command += ["--distribute", "multiworker", "--steps", "30", "--seed", "3"]
    command += ["--units", "24", "--batch-size", "16"]
    workers = []
    for index in range(2):
        own = folder / str(index)
        own.mkdir()
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        environment = os.environ | {"TF_CONFIG": config}
        told = subprocess.PIPE
        workers.append(
            subprocess.Popen(
                [*command, "--output", own / "both.h5"],
                env=environment,
                stdout=told,
                stderr=told,
                text=True,
            )
        )
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        if worker.returncode:
            raise RuntimeError(errors)
    return hash_of_weights(folder / "0" / "both.h5")


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Write texts with the models of `trainings`, one at a time and many together."""
    import textgen

    for name in TRAINED:
        model = textgen.load_model(folder / f"{name}.h5")
        for drawn, options in DRAWN.items():
            if name == "last" and "beam" in options:
                continue
            text = textgen.generate_output(model, "The ", length=90, seed=5, **options)
            yield f"{name}, {drawn}", hash_of_text(text)
            for count in (1, 3, 20):
                many = textgen.generate_many(
                    model, ["The "] * count, length=60, seed=5, **options
                )
                told = "\n".join(each.text for each in many)
                yield f"{name}, {drawn}, {count}", hash_of_text(told)
    labels = textgen.load_model(folder / "labels.h5")
    for label in ("reptile", "bard"):
        text = textgen.generate_output(labels, "", length=90, seed=5, label=label)
        yield f"label {label}", hash_of_text(text)
    lines = textgen.load_model(folder / "lines.h5")
    for name, options in CONSTRAINED.items():
        many = textgen.generate_many(lines, 8, length=40, seed=5, **options)
        yield f"constrained, {name}", hash_of_text("\n".join(m.text for m in many))


def forms() -> Iterator[tuple[str, str]]:
    """Write verse in form with the shipped model of the sonnets, named by its hash."""
    import textgen

    path = ROOT / "models" / "sonnets-pretrained.h5"
    of_model = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    model = textgen.load_model(path)
    for form in ("couplet", "quatrain", "haiku"):
        text = textgen.generate_form(model, form, seed=5)
        yield f"{form} by model {of_model}", hash_of_text(text)


def record() -> dict[str, str]:
    """Return all hashes, by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = Path.cwd()
        os.chdir(folder)
        try:
            found = dict(trainings(folder)) | dict(texts(folder)) | dict(forms())
        finally:
            os.chdir(here)
    return found


def compare(now: dict[str, str], before: dict[str, str]) -> list[str]:
    """Return a line for each name that both have and whose hash is another now."""
    return [
        f"{name}: another result"
        for name in now.keys() & before.keys()
        if now[name] != before[name]
    ]


def main() -> int:
    """Record, write and compare, as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="a JSON file to write")
    parser.add_argument("--compare", type=Path, help="what another commit recorded")
    given = parser.parse_args()
    now = record()
    given.output.write_text(json.dumps(now, indent=1), "utf-8")
    print(f"{len(now)} hashes")
    if given.compare is None:
        return 0
    before = json.loads(given.compare.read_text("utf-8"))
    differ = sorted(compare(now, before))
    print(*differ, sep="\n")
    common = len(now.keys() & before.keys())
    gone = sorted(before.keys() - now.keys())
    print(
        f"{common - len(differ)} of {common} equal; gone: {', '.join(gone) or 'none'}"
    )
    return bool(differ)


if __name__ == "__main__":
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1"}
    if "PYTHONPATH" not in os.environ:
        sys.path.insert(0, str(ROOT))
        os.environ["PYTHONPATH"] = str(ROOT)
    sys.exit(main())
