"""Kill trainings with SIGKILL at random moments, resume them, and compare the end.

    python tests/stress/kill_training.py --kills 110 --seed 0

Each training first runs undisturbed, by train.py as it is. Then it runs again, killed
and resumed with --resume until it has ended: about half of the kills are aimed into a
save, whose writes `training_to_kill.py` slows down, the others anywhere from the start
of the process on. After each kill every file there is must be whole, and no step may be
lost that was saved before. At the end the weights, the optimizer's state and every
other number of the last checkpoint must be the undisturbed ones, bit for bit.

Exit status: 0 when all of that holds, 1 otherwise.
"""

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from textgen.saving.model_file import load_model
from textgen.training.checkpoint import (
    checkpoint_paths,
    decode_checkpoint,
    read_checkpoint,
)

LIFE_S = 600  # no process may take longer, killed or not
KINDS = {
    "lines": ["--kind", "lines", "--window", "8", "--dropout", "0.3"],
    "text": ["--kind", "text", "--window", "5", "--batch-size", "8"],
    "last": ["--kind", "text", "--window", "5", "--targets", "last"],
}
SMALL = ["--layers", "1", "--units", "8", "--embedding", "4", "--batch-size", "4"]


def write_corpus(path, rng):
    words = ("".join(rng.choices("etaoin", k=rng.randint(2, 14))) for _ in range(2000))
    path.write_text("\n".join(words) + "\n")


def live(options, output, rng, whole_s, kill):
    """Run a process and maybe kill it; return its status and what it announced."""
    reading, writing = os.pipe()
    command = [sys.executable, str(HERE / "training_to_kill.py"), str(writing),
               *options, "--output", str(output), "--resume"]  # fmt: skip
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, pass_fds=[writing], **pipes)
    os.close(writing)
    wanted = rng.randint(1, 3) if rng.random() < 0.6 else None  # the save to hit
    deadline = time.monotonic() + (LIFE_S if wanted else rng.uniform(0, whole_s))
    announced = b""
    while kill and (left := deadline - time.monotonic()) > 0:
        ready = select.select([reading], [], [], left)[0]
        if not (news := ready and os.read(reading, 1)):
            break
        announced += news
        if announced.count(b"(") == wanted:
            time.sleep(rng.uniform(0, 0.22))
            break
    if kill:
        process.kill()
    error = process.communicate(timeout=LIFE_S)[1]
    while news := os.read(reading, 4096):
        announced += news
    os.close(reading)
    status = process.returncode
    assert status in (0, -signal.SIGKILL), f"{status}: {error.decode()[-2000:]}"
    return status, announced


def check_files(output, tally):
    """Raise unless every file is whole; return the steps that are safe."""
    for path in filter(Path.exists, checkpoint_paths(output)):
        decode_checkpoint(path.read_bytes())
        tally["files checked"] += 1
    for path in filter(Path.exists, (output, output.with_suffix(".previous.h5"))):
        load_model(path)
        tally["files checked"] += 1
    tally["leftovers"] += len(list(output.parent.glob(".*.tmp")))
    checkpoint, notes = read_checkpoint(output)
    assert not notes, notes
    return 0 if checkpoint is None else checkpoint.state.global_step


def compare(output, reference):
    """Raise unless both trainings ended the same, bit for bit."""
    ours, theirs = read_checkpoint(output)[0], read_checkpoint(reference)[0]
    assert ours.config == theirs.config
    assert (ours.total_steps, ours.lengthened_at) == (theirs.total_steps, ())
    assert_same_bits(ours.state, theirs.state)
    assert_same_bits(*(load_model(path).network for path in (output, reference)))


def assert_same_bits(one, other):
    """Compare two values, arrays or things that are made of them."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes(), np.abs(one - other).max()
    elif isinstance(one, (tuple, list)):
        for mine, theirs in zip(one, other, strict=True):
            assert_same_bits(mine, theirs)
    elif hasattr(one, "__dict__"):
        assert_same_bits(list(vars(one).items()), list(vars(other).items()))
    else:
        assert one == other, (one, other)


def kill_one(number, folder, steps, kills, rng, tally):
    """Run a training both ways, killing it at most so many times."""
    corpus, kind = folder / "words.txt", list(KINDS)[number % len(KINDS)]
    write_corpus(corpus, rng)
    options = ["--corpus", str(corpus), *SMALL, *KINDS[kind], "--steps", str(steps),
               "--seed", str(number), "--keep-checkpoint"]  # fmt: skip
    reference, output = folder / "reference.h5", folder / "killed.h5"
    undisturbed = [sys.executable, ROOT / "train.py", *options, "--output", reference]
    started = time.monotonic()
    subprocess.run(undisturbed, check=True, capture_output=True, timeout=LIFE_S)
    whole_s = time.monotonic() - started
    safe, status = 0, None
    while status != 0:
        status, announced = live(options, output, rng, whole_s, kill=kills > 0)
        if status != 0:
            kills -= 1
            tally["kills"] += 1
            tally["in a save"] += announced.endswith(b"(")
            tally["before the first save"] += not announced
        now = check_files(output, tally)
        assert now >= safe, f"step {safe} was safe, but now only {now} is"
        safe = now
    assert safe == steps
    compare(output, reference)
    tally["trainings"] += 1
    print(f"training {number}: same bits after {tally['kills']} kills", flush=True)
    return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=110)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5_000, help="of each training")
    arguments = parser.parse_args()
    rng, tally = random.Random(arguments.seed), Counter()
    left, number = arguments.kills, arguments.seed
    while left > 0:
        with tempfile.TemporaryDirectory(prefix="textgen-kill-") as folder:
            left = kill_one(number, Path(folder), arguments.steps, left, rng, tally)
        number += 1
    assert tally["files checked"] >= 2
    print(*(f"{name}: {count}" for name, count in tally.items()), sep="\n")
    print("failures: 0")


if __name__ == "__main__":
    main()
