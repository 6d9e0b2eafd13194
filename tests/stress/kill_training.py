"""Kill trainings with SIGKILL at random moments, resume them, and compare the end.

    python tests/kill_training.py --kills 110 --seed 0

Each training first runs undisturbed, by train.py as it is. Then it runs again, killed
and resumed with --resume until it has ended: about half of the kills are aimed into a
save, whose writes `training_to_kill.py` slows down, the others anywhere from the start
of the process on. After each kill every file there is must be whole, and no step may be
lost that was saved before. At the end the weights, the optimizer's state and every
other number of the last checkpoint must be the undisturbed ones, bit for bit.

Exit status: 0 when all of that holds, 1 otherwise.
"""

import argparse
import dataclasses
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
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


@dataclasses.dataclass
class Tally:
    """What happened, over all trainings."""

    trainings: int = 0
    kills: int = 0
    in_a_save: int = 0
    before_the_first_save: int = 0
    resumes: int = 0
    files_checked: int = 0
    leftovers: int = 0


def say(text):
    print(text, flush=True)


def options_of(number, folder, steps):
    kind = list(KINDS)[number % len(KINDS)]
    return ["--corpus", str(folder / "words.txt"), *SMALL, *KINDS[kind],
            "--steps", str(steps), "--seed", str(number)]  # fmt: skip


def write_corpus(folder, rng):
    letters = "etaoin"
    words = ("".join(rng.choices(letters, k=rng.randint(2, 14))) for _ in range(2000))
    (folder / "words.txt").write_text("\n".join(words) + "\n")


def train_undisturbed(options, output):
    command = [sys.executable, str(ROOT / "train.py"), *options, "--output", output]
    subprocess.run(command, check=True, capture_output=True, timeout=LIFE_S)


def live(options, output, rng, start_up_s, kill):
    """Run a process and maybe kill it.

    Returns:
        exit status, what it announced, seconds to its first save (or None).
    """
    reading, writing = os.pipe()
    command = [sys.executable, str(HERE / "training_to_kill.py"), str(writing),
               *options, "--output", str(output), "--resume"]  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[writing]
    )
    os.close(writing)
    aimed = rng.random() < 0.6
    wanted = rng.randint(1, 3) if aimed else None  # number of the save to hit
    deadline = started + (LIFE_S if aimed else rng.uniform(0, 1.5 * start_up_s))
    announced, first_s = b"", None
    while kill and time.monotonic() < deadline:
        left = max(0, deadline - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            break
        if not (news := os.read(reading, 1)):
            break
        announced += news
        first_s = first_s or time.monotonic() - started
        if aimed and announced.count(b"(") == wanted:
            time.sleep(rng.uniform(0, 0.22))
            break
    if kill:
        process.send_signal(signal.SIGKILL)
    error = process.communicate(timeout=LIFE_S)[1]
    while news := os.read(reading, 4096):
        announced += news
    os.close(reading)
    if process.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"status {process.returncode}: {error.decode()[-2000:]}")
    return process.returncode, announced, first_s


def check_files(output, tally):
    """Raise unless every file is whole; return the steps that are safe."""
    for path in checkpoint_paths(output):
        if path.exists():
            decode_checkpoint(path.read_bytes())
            tally.files_checked += 1
    for path in (output, output.with_suffix(".previous.h5")):
        if path.exists():
            load_model(path)
            tally.files_checked += 1
    tally.leftovers += len(list(output.parent.glob(".*.tmp")))
    checkpoint, notes = read_checkpoint(output)
    assert not notes, notes
    return 0 if checkpoint is None else checkpoint.state.step


def compare(output, reference):
    """Raise unless both trainings ended the same."""
    ours, theirs = read_checkpoint(output)[0], read_checkpoint(reference)[0]
    assert ours.config == theirs.config
    assert (ours.total_steps, ours.lengthened_at) == (theirs.total_steps, ())
    for field in dataclasses.fields(ours.state):
        one, two = (getattr(c.state, field.name) for c in (ours, theirs))
        if field.name == "variables":
            assert_same_bits(one, two)
        elif field.name == "epoch_losses":
            assert_same_bits([one], [two])
        else:
            assert one == two, (field.name, one, two)
    networks = [load_model(path).network for path in (output, reference)]
    assert_same_bits(*(arrays_of(network) for network in networks))


def arrays_of(network):
    values = [value for cell in network.layers for value in vars(cell).values()]
    cells = [value for value in values if isinstance(value, np.ndarray)]
    return [network.embedding, *cells, network.dense_kernel, network.dense_bias]


def assert_same_bits(ones, twos):
    for one, two in zip(ones, twos, strict=True):
        assert one.dtype == two.dtype
        assert one.shape == two.shape
        assert one.tobytes() == two.tobytes(), np.abs(one - two).max()


def kill_one(number, folder, steps, kills, rng, tally):
    """Run a training both ways, killing it at most so many times."""
    write_corpus(folder, rng)
    options = options_of(number, folder, steps)
    reference, output = folder / "reference.h5", folder / "killed.h5"
    train_undisturbed(options, reference)
    start_up_s, safe = 10.0, 0
    status = None
    while status != 0:
        status, announced, first_s = live(
            options, output, rng, start_up_s, kill=kills > 0
        )
        start_up_s = first_s or start_up_s
        if status != 0:
            kills -= 1
            tally.kills += 1
            tally.in_a_save += announced.endswith(b"(")
            tally.before_the_first_save += not announced
        now = check_files(output, tally)
        assert now >= safe, f"step {safe} was safe, but now only {now} is"
        tally.resumes += safe > 0
        safe = now
    assert safe == steps
    compare(output, reference)
    tally.trainings += 1
    say(
        f"training {number}: same bits; so far {tally.kills} kills, "
        f"{tally.in_a_save} of them inside a save"
    )
    return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=110)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5_000, help="of each training")
    arguments = parser.parse_args()
    rng, tally = random.Random(arguments.seed), Tally()
    left, number, started = arguments.kills, arguments.seed, time.monotonic()
    while left > 0:
        with tempfile.TemporaryDirectory(prefix="textgen-kill-") as folder:
            left = kill_one(number, Path(folder), arguments.steps, left, rng, tally)
        number += 1
    for field in dataclasses.fields(tally):
        say(f"{field.name.replace('_', ' ')}: {getattr(tally, field.name)}")
    say(f"minutes: {(time.monotonic() - started) / 60:.0f}")
    say("failures: 0")


if __name__ == "__main__":
    main()
