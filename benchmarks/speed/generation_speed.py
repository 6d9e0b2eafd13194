"""Generation speed: the same network, sampled character by character.

  python benchmarks/generation_speed.py                    everything
  python benchmarks/generation_speed.py --part one,process --rounds 7

  one      one stream, at 2×128 and 2×512: textgen; PyTorch's loop, which carries the
           state; and the course's loop, which runs a window of 40 through Keras's
           `predict` for every character
  many     64 and 256 streams together, each beside one, at 2×128
  process  generate.py from start to end, timed from outside: the first character of a
           poem, and 10,000 different names

All draw at temperature 0.7 from 65 symbols, with random weights, and make a text of
what they draw. textgen runs with generate.py's own thread setting; the others with
one thread or all cores, whichever is faster. Speeds are characters a second, those of
many streams counted together. The figures are medians of the rounds, with lowest and
highest; the last column is how many times as fast the first contestant is, round by
round. The processes run the pretrained models where there are any, and otherwise
random ones of the same shape.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import contest
import report
from contest import Result, ratio, spread
from generation_roles import ROLES, save_random_model
from worker import ROOT, Contestant, ContestError, thread_variants, worker_environment

SIZES = ((2, 128), (2, 512))
PARTS = ("one", "many", "process")
MANY_STREAMS = (64, 256)
NAMES_COUNT = 10_000
HEADINGS = ("contestant", "threads", "characters/s", "first ÷ this")


def contest_of_one_stream(layers: int, units: int, folder: Path, **length) -> dict:
    """Compare one stream of textgen with the others' and print the table."""
    model = folder / f"{layers}x{units}.h5"
    save_random_model(model, "text", layers=layers, units=units)
    shape, threads = {"layers": layers, "units": units}, thread_variants()
    contestants = [
        Contestant("textgen", "textgen", {"model": str(model), "streams": 1}),
        Contestant("PyTorch, stateful", "torch", shape, threads, needs=("torch",)),
        Contestant("Keras, the course's loop", "course", shape, threads),
    ]
    return run_contest(f"one stream, {layers}×{units}", contestants, **length)


def contest_of_many_streams(streams: int, folder: Path, **length) -> dict:
    """Compare many streams of textgen with one and print the table."""
    layers, units = SIZES[0]
    model = folder / "many.h5"
    save_random_model(model, "text", layers=layers, units=units)
    contestants = [
        Contestant(name, "textgen", {"model": str(model), "streams": count})
        for name, count in (
            (f"textgen, {streams} streams", streams),
            ("textgen, one stream", 1),
        )
    ]
    title = f"{streams} streams, {layers}×{units}"
    return run_contest(title, contestants, **length)


def run_contest(title: str, contestants: list[Contestant], **length) -> dict:
    """Hold a contest, print its table and return its record.

    Args:
        title: for people to read.
        contestants: the first one is whom the others are compared with.
        **length: rounds and seconds.
    """
    contest.say(title)
    results = contest.hold(Path(__file__), contestants, **length)
    print(f"\n{title}\n")
    print(report.table(HEADINGS, rows_of(results)), flush=True)
    ratios = [ratio(results[0], result)._asdict() for result in results]
    return {"results": [x.to_dict() for x in results], "first_to_this": ratios}


def rows_of(results: list[Result]) -> list[list[str]]:
    """Return the table's rows."""
    return [
        [
            result.name,
            result.facts["threads"],
            report.with_range(spread(result.rates)),
            report.with_range(ratio(results[0], result)),
        ]
        for result in results
    ]


def time_processes(folder: Path, rounds: int) -> dict:
    """Time whole runs of generate.py and print the table."""
    poems, names = (model_for(name, folder) for name in ("sonnets", "dinos"))
    first = ["--model", str(poems), "--prompt", "Shall I compare ", "--length", "1"]
    many = ["--model", str(names), "--count", str(NAMES_COUNT)]
    commands = {
        f"first character, {poems.name}": (first, len("Shall I compare ") + 1),
        f"{NAMES_COUNT:,} names, {names.name}": (many, NAMES_COUNT),
    }
    for command in commands.values():
        time_generate(*command)  # brings program and model into memory
    seconds = {name: [] for name in commands}
    for number in range(rounds):
        contest.say(f"  processes, round {number + 1} of {rounds}")
        for name, command in commands.items():
            seconds[name].append(time_generate(*command))
    spreads = {name: spread(taken) for name, taken in seconds.items()}
    rows = [[name, report.with_range(value)] for name, value in spreads.items()]
    print("\ngenerate.py, the whole process\n")
    print(report.table(("what", "seconds"), rows), flush=True)
    return {name: value._asdict() for name, value in spreads.items()}


def model_for(name: str, folder: Path) -> Path:
    """Return a corpus' pretrained model, or make a random one of the same shape."""
    from textgen.config import PRESETS

    pretrained = ROOT / "models" / f"{name}-pretrained.h5"
    if pretrained.exists():
        return pretrained
    random = folder / f"{name}-random.h5"
    kind = "lines" if name == "dinos" else "text"
    save_random_model(random, kind, **asdict(PRESETS[name].model))
    return random


def time_generate(options: list[str], characters: int) -> float:
    """Run generate.py and return the seconds it took.

    Args:
        options: of its command line.
        characters: the least number of characters that it must print.

    Raises:
        ContestError: if it fails or prints less.
    """
    command = [sys.executable, str(ROOT / "generate.py"), *options, "--seed", "1"]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=worker_environment(),
    )
    seconds = time.perf_counter() - started
    if done.returncode or len(done.stdout) < characters:
        raise ContestError(f"generate.py {' '.join(options)} failed:\n{done.stderr}")
    return seconds


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_contest_options(parser)
    parser.add_argument(
        "--part",
        metavar="LIST",
        type=report.choices(PARTS),
        default=list(PARTS),
        help="some of one,many,process (default: all)",
    )
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    environment = report.environment()
    print(report.describe(environment))
    length = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    record = {"benchmark": "generation_speed", "environment": environment}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "one" in arguments.part:
            record["one"] = {
                f"{layers}x{units}": contest_of_one_stream(
                    layers, units, folder, **length
                )
                for layers, units in SIZES
            }
        if "many" in arguments.part:
            record["many"] = {
                streams: contest_of_many_streams(streams, folder, **length)
                for streams in MANY_STREAMS
            }
        if "process" in arguments.part:
            record["process_seconds"] = time_processes(folder, arguments.rounds)
    report.write_json(arguments.json, record)


if __name__ == "__main__":
    contest.main(main, ROLES)
