"""Generation speed: the same network, sampled character by character.

  python -m benchmarks.speed.generation_speed                    everything
  python -m benchmarks.speed.generation_speed --part one,process --rounds 7

  one      one stream, at 2×128 and 2×512: textgen; a plain loop in NumPy and PyTorch's,
           which carry the state; and the course's loop, which runs a window of 40
           through Keras's `predict` for every character
  many     batches of 64 and of 256 streams, each beside one stream, at 2×128
  process  generate.py from start to end, timed from outside: the first character of a
           poem, and 10,000 different names

All draw at temperature 0.7 from 65 symbols, with random weights, and make a text of
what they draw. textgen runs with generate.py's own thread setting; the others with
one thread or all cores, whichever is faster. Speeds are characters a second, those of
a batch counted together. The figures are medians of the rounds, with lowest and
highest; the last column says how many times as fast the first contestant is, round by
round. The processes run the pretrained models.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import contest, report
from benchmarks.harness.contest import ratio, spread
from benchmarks.harness.worker import (
    ROOT,
    BenchmarkError,
    Contestant,
    run_process,
    thread_variants,
)
from benchmarks.speed.generation_programs import save_random_model

PROGRAMS = "benchmarks.speed.generation_programs"

SIZES = ((2, 128), (2, 512))
PARTS = ("one", "many", "process")
BATCH_SIZES = (64, 256)
NAMES_COUNT = 10_000
HEADINGS = ("contestant", "threads", "characters/s", "first ÷ this")


def contests(parts: Sequence[str], folder: Path) -> Iterator[tuple[str, list]]:
    """Yield title and contestants of each contest; the first one is textgen.

    Args:
        parts: some of `PARTS`.
        folder: for the model files.
    """
    threads, needs = thread_variants(), ("torch",)
    for layers, units in SIZES if "one" in parts else ():
        shape = {"layers": layers, "units": units}
        yield (
            f"one stream, {layers}×{units}",
            [
                textgen_contestant("textgen", 1, folder, shape),
                Contestant("NumPy, a plain loop", "numpy", shape, threads),
                Contestant("PyTorch, stateful", "torch", shape, threads, needs),
                Contestant("Keras, the course's loop", "course", shape, threads),
            ],
        )
    layers, units = SIZES[0]
    shape = {"layers": layers, "units": units}
    for batch_size in BATCH_SIZES if "many" in parts else ():
        name = f"{batch_size} streams"
        yield (
            f"{name}, {layers}×{units}",
            [
                textgen_contestant(f"textgen, {name}", batch_size, folder, shape),
                textgen_contestant("textgen, one stream", 1, folder, shape),
            ],
        )


def textgen_contestant(
    name: str, batch_size: int, folder: Path, shape: dict[str, int]
) -> Contestant:
    """Save a random model of a shape and return textgen with it."""
    model = folder / f"{shape['layers']}x{shape['units']}.h5"
    if not model.exists():
        save_random_model(model, **shape)
    settings = {"model": str(model), "batch_size": batch_size}
    return Contestant(name, "textgen", settings)


def run_contest(title: str, contestants: list[Contestant], **length: Any) -> None:
    """Hold a contest and print its table.

    Args:
        title: for people to read.
        contestants: the others are compared with the first one.
        **length: rounds and seconds.
    """
    contest.say(title)
    results = contest.hold(PROGRAMS, contestants, **length)
    rows = [
        [
            result.name,
            result.facts["threads"],
            report.with_range(spread(result.rates)),
            report.with_range(ratio(results[0], result)),
        ]
        for result in results
    ]
    report.show(title, HEADINGS, rows)


def time_processes(rounds: int) -> None:
    """Time whole runs of generate.py and print the table."""
    prompt = "Shall I compare "
    poems, names = (
        str(ROOT / "models" / f"{corpus}-pretrained.h5")
        for corpus in ("sonnets", "dinos")
    )
    first = ["--model", poems, "--prompt", prompt, "--length", "1"]
    many = ["--model", names, "--count", str(NAMES_COUNT)]
    commands = {
        "first character of a poem": (first, len(prompt) + 1),
        f"{NAMES_COUNT:,} names": (many, NAMES_COUNT),
    }
    for command in commands.values():
        time_generate(*command)  # brings program and model into memory
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds):
        contest.say(f"  processes, round {number + 1} of {rounds}")
        for name, command in commands.items():
            seconds[name].append(time_generate(*command))
    rows = [[name, report.with_range(spread(x))] for name, x in seconds.items()]
    report.show("generate.py, the whole process", ("what", "seconds"), rows)


def time_generate(options: list[str], characters: int) -> float:
    """Run generate.py and return the seconds it took.

    Args:
        options: of its command line.
        characters: the least number of characters that it must print.

    Raises:
        BenchmarkError: if it fails or prints less.
    """
    command = [sys.executable, str(ROOT / "generate.py"), *options, "--seed", "1"]
    seconds, printed = run_process("generate.py", command)
    if len(printed) < characters:
        raise BenchmarkError(f"generate.py printed {len(printed):,} characters only")
    return seconds


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_contest_options(parser)
    report.add_choice(parser, "--part", PARTS)
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    print(report.describe_machine())
    length = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    with tempfile.TemporaryDirectory() as folder:
        for title, contestants in contests(arguments.part, Path(folder)):
            run_contest(title, contestants, **length)
    if "process" in arguments.part:
        time_processes(arguments.rounds)


if __name__ == "__main__":
    contest.run(main)
