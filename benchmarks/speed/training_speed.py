"""Training speed: the same network on the same data, by four programs side by side.

  python benchmarks/training_speed.py                      all sizes
  python benchmarks/training_speed.py --size a,c --rounds 7 --json speed.json

  a  2×128, windows of 40,  batches of 128
  b  2×512, windows of 100, batches of 128
  c  1×128, windows of 64,  batches of 32
  d  2×128, windows of 40, three apart, batches of 128, of which only the symbol after
     each window is predicted (the course's form), beside textgen with all targets

Everyone trains embedding (65 symbols, 64 wide), LSTM layers and dense softmax with
AdamW, the gradient's norm clipped at 1, without dropout, on random symbols that are
in memory before. textgen runs as in train.py, its batches cut from the text as it
goes; Keras runs `fit`, timed from the first batch to the last, so that what `fit`
costs to set up doesn't count; PyTorch runs a plain loop with the fused optimizer, in
float32 and under bfloat16 autocast. Keras and PyTorch get one thread or all cores,
whichever is faster. The figures are medians of the rounds, with lowest and highest.

The last column is how many times as many characters a second the first contestant
predicts, round by round. The share of the peak is that of the fastest large matrix
product of TensorFlow in the same type, taken in the same rounds. The network's
operations in a step are counted as

  3 · B · (T · Σ_layers 8 · U · (D + U)  +  P · 2 · U · V)

with D inputs and U units of a layer, V symbols, and P predictions a window: a
multiplication and an addition for each weight, once forward and twice backward. The
embedding is a look-up, and element-wise work isn't counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import contest
import report
from contest import Result, Spread, ratio, spread
from training_roles import PRECISIONS, ROLES, SIZES, Size, flop_per_step
from worker import Contestant, thread_variants


def contestants_of(size: Size) -> list[Contestant]:
    """Return who competes at a size: textgen at its defaults first, the peaks last."""
    settings = {"size": asdict(size)}
    ours = [Contestant("textgen", "textgen", settings)]
    if size.targets == "last":
        with_all = {"size": asdict(replace(size, targets="all", stride=None))}
        ours = [
            Contestant("textgen, targets all", "textgen", with_all),
            Contestant("textgen, targets last", "textgen", settings),
        ]
    threads = thread_variants()
    keras = Contestant("Keras fit", "keras", settings, threads)
    torches = [
        Contestant(
            f"PyTorch {precision}",
            "torch",
            settings | {"precision": precision},
            threads,
            needs=("torch",),
            optional=precision == "bfloat16",  # not every processor has products for it
        )
        for precision in PRECISIONS
    ]
    peaks = [
        Contestant(f"peak {precision}", "peak", {"precision": precision})
        for precision in PRECISIONS
    ]
    return [*ours, keras, *torches, *peaks]


@dataclass(frozen=True)
class Row:
    """A contestant's figures at one size; speeds are a second's."""

    name: str
    threads: str
    step_ms: Spread
    windows: float
    predictions: Spread
    gflop: float
    share_of_peak: float
    behind: Spread

    def cells(self) -> list[str]:
        """Return the figures as the table shows them."""
        return [
            self.name,
            self.threads,
            report.with_range(self.step_ms),
            report.figure(self.windows),
            report.figure(self.predictions.median),
            report.figure(self.gflop),
            f"{self.share_of_peak:.0%}",
            report.with_range(self.behind),
        ]


HEADINGS = (
    "contestant",
    "threads",
    "ms a step",
    "windows/s",
    "predicted characters/s",
    "GFLOP/s",
    "of peak",
    "first ÷ this",
)


def evaluate(results: list[Result]) -> list[Row]:
    """Work out the figures of all but the peaks.

    Args:
        results: of `contestants_of`, some left out perhaps, the peaks last.
    """
    *results, peak_float32, peak_bfloat16 = results
    peaks = {"float32": peak_float32, "bfloat16": peak_bfloat16}
    return [row_of(x, results[0], peaks[x.facts["precision"]]) for x in results]


def row_of(result: Result, first: Result, peak: Result) -> Row:
    """Work out one contestant's figures.

    Args:
        result: the contestant's.
        first: whom it is compared with.
        peak: of the products of the contestant's precision.
    """
    size, other = (Size(**x.settings["size"]) for x in (result, first))
    flop = flop_per_step(size)
    steps = spread(result.rates)
    return Row(
        name=result.name,
        threads=result.facts["threads"],
        step_ms=spread(1e3 / rate for rate in result.rates),
        windows=steps.median * size.batch,
        predictions=steps.times(size.predictions),
        gflop=steps.median * flop / 1e9,
        share_of_peak=ratio(result, peak).median * flop / peak.facts["flop"],
        behind=ratio(first, result).times(other.predictions / size.predictions),
    )


def describe_peak(peak: Result) -> str:
    """Say in one line how fast the large products were."""
    gflop = spread(peak.rates).times(peak.facts["flop"] / 1e9)
    side, figures = peak.facts["side"], report.with_range(gflop)
    return f"{peak.name}: {figures} GFLOP/s, products of {side}×{side}"


def run_size(name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Hold the contest of one size, print its table and return its record."""
    size = SIZES[name]
    title = (
        f"({name}) {size.layers}×{size.units}, windows of {size.window}, "
        f"batches of {size.batch}, targets {size.targets}"
    )
    contest.say(title)
    script = Path(__file__)
    results = contest.hold(script, contestants_of(size), rounds=rounds, seconds=seconds)
    rows = evaluate(results)
    gflop = flop_per_step(size) / 1e9
    print(f"\n{title}; {gflop:,.2f} GFLOP a step\n")
    print(report.table(HEADINGS, [row.cells() for row in rows]))
    print("", *map(describe_peak, results[-2:]), sep="\n", flush=True)
    return {
        "size": asdict(size),
        "flop_per_step": flop_per_step(size),
        "rows": [asdict(row) for row in rows],
        "results": [result.to_dict() for result in results],
    }


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_contest_options(parser)
    parser.add_argument(
        "--size",
        metavar="LIST",
        type=report.choices(tuple(SIZES)),
        default=list(SIZES),
        help="some of a,b,c,d (default: all)",
    )
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    environment = report.environment()
    print(report.describe(environment))
    sizes = {
        name: run_size(name, arguments.rounds, arguments.seconds)
        for name in arguments.size
    }
    record = {"benchmark": "training_speed", "environment": environment}
    report.write_json(arguments.json, record | {"sizes": sizes})


if __name__ == "__main__":
    contest.main(main, ROLES)
