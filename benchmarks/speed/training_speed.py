"""Training speed: the same network on the same data, by four programs side by side.

  python -m benchmarks.speed.training_speed                      all sizes
  python -m benchmarks.speed.training_speed --size a,c --rounds 7
  python -m benchmarks.speed.training_speed --cell gru           other layers

  a  2×128, windows of 40,  batches of 128
  b  2×512, windows of 100, batches of 128
  c  1×128, windows of 64,  batches of 32

All train an embedding (65 symbols, 64 wide), layers of the cell (by default the LSTM)
and a dense softmax layer with AdamW, the gradient's norm clipped at 1, without dropout,
on random symbols that are in memory beforehand. textgen runs as train.py runs it, and
cuts its batches from the text as it goes. Keras runs `fit`, timed from the first batch
to the last, so that the set-up of `fit` doesn't count. PyTorch runs a plain loop with
the fused optimizer, in float32 and under bfloat16 autocast. Keras and PyTorch get one
thread or all cores, whichever is faster. The figures are medians of the rounds, with
lowest and highest.

The last column says how many times as fast textgen is, round by round. The share of the
peak is that of the fastest large matrix product of TensorFlow in the same type, taken
in the same rounds. The network's operations in a step are counted as

  3 · B · T · (Σ_layers 2 · G · U · (D + U)  +  2 · U · V)

with D inputs, U units and G matrices of a layer (LSTM 4, GRU 3, simple RNN 1) and V
symbols: a multiplication and an addition for each weight, once forward and twice
backward. The embedding is a look-up, and element-wise work isn't counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmarks.harness import contest, report
from benchmarks.harness.contest import Result, ratio, spread
from benchmarks.harness.worker import Contestant, thread_variants
from benchmarks.speed.training_programs import GATES, PRECISIONS, SIZES, Size

PROGRAMS = "benchmarks.speed.training_programs"


def contestants_of(size: Size) -> list[Contestant]:
    """Return the contestants at a size: textgen first, the large products last."""
    settings = {"size": asdict(size)}
    ours = Contestant("textgen", "textgen", settings)
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
    return [ours, keras, *torches, *peaks]


HEADINGS = (
    "contestant",
    "threads",
    "ms a step",
    "characters/s",
    "of peak",
    "textgen ÷ this",
)


def row_of(result: Result, ours: Result, peak: Result, size: Size) -> list[str]:
    """Return a contestant's figures as the table shows them.

    Args:
        result: the contestant's.
        ours: textgen's.
        peak: of the large products of the contestant's precision.
        size: what they trained.
    """
    rates = spread(result.rates)
    steps_to_products = size.flop / peak.facts["flop"]
    return [
        result.name,
        result.facts["threads"],
        report.with_range(spread(1e3 / rate for rate in result.rates)),
        report.figure(rates.median * size.characters),
        f"{ratio(result, peak).median * steps_to_products:.0%}",
        report.with_range(ratio(ours, result)),
    ]


def describe_peak(peak: Result) -> str:
    """Say in one line how fast the large products were."""
    gflop = spread(peak.rates).times(peak.facts["flop"] / 1e9)
    side, figures = peak.facts["side"], report.with_range(gflop)
    return f"{peak.name}: {figures} GFLOP/s, products of {side}×{side}"


def run_size(name: str, cell: str, rounds: int, seconds: float) -> None:
    """Hold the contest of one size and print its table."""
    size = replace(SIZES[name], cell=cell)
    title = (
        f"({name}) {cell} {size.layers}×{size.units}, windows of {size.seq_length}, "
        f"batches of {size.batch_size}; "
        f"{size.flop / 1e9:,.2f} GFLOP a step"
    )
    contest.say(title)
    entered = contestants_of(size)
    results = contest.hold(PROGRAMS, entered, rounds=rounds, seconds=seconds)
    *results, peak_float32, peak_bfloat16 = results
    peaks = {"float32": peak_float32, "bfloat16": peak_bfloat16}
    rows = [
        row_of(result, results[0], peaks[result.facts["precision"]], size)
        for result in results
    ]
    report.show(title, HEADINGS, rows)
    print("", *map(describe_peak, peaks.values()), sep="\n", flush=True)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, or these words."""
    parser = report.make_parser(__doc__)
    report.add_contest_options(parser)
    report.add_choice(parser, "--size", list(SIZES))
    parser.add_argument("--cell", choices=list(GATES), default="lstm")
    return parser.parse_args(words)


def main() -> None:
    """Do what the command line says."""
    arguments = parse_arguments()
    print(report.describe_machine())
    for name in arguments.size:
        run_size(name, arguments.cell, arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    contest.run(main)
