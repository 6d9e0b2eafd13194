"""Train a text generator and save it as one .h5 file.

  train.py --corpus sonnets             poems; saves models/sonnets.h5
  train.py --corpus dinos               names; saves models/dinos.h5
  train.py --corpus letters.txt         your own text, UTF-8
  train.py --corpus sonnets --preset course        the course exercise's network
  train.py --corpus sonnets --init-from models/sonnets.h5 --epochs 1    goes on
  train.py --corpus sonnets --resume               goes on exactly where it stopped

Ctrl-C saves what was learned so far. Progress goes to standard error, the path of
the saved model to standard output. Exit status: 0 done, 2 for an error that one line
explains, 130 after Ctrl-C, 143 after SIGTERM.
"""

import sys
import time

from textgen.process import prepare_process

STARTED_S = time.monotonic()  # before the slow imports: --minutes counts them
if __name__ == "__main__":
    prepare_process()

from textgen import metrics
from textgen.config import DEFAULT_CORPUS, PRESETS
from textgen.preparation import prepare
from textgen.quiet_import import import_quietly
from textgen.terminal import Parser, number, run, say, whole_number, writer


def parse_arguments():
    """Read the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    usual = "(default: the preset's)"
    # fmt: off
    add("--corpus", metavar="NAME", default=DEFAULT_CORPUS, help="sonnets, dinos, or "
        "the path of a UTF-8 text file (default: %(default)s)")
    add("--kind", metavar="KIND", help="lines, each line one example, or stream, one "
        "long text (default: guessed from the text)")
    add("--output", metavar="FILE", help="the .h5 file to write (default: "
        "models/NAME.h5); one that exists is kept as NAME.previous.h5")
    add("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: the "
        "corpus' own; for your own text dinos for lines and sonnets otherwise)")
    add("--init-from", metavar="FILE", help="go on from a saved model, with its "
        "network and settings")
    add("--resume", action="store_true", help="go on with an unfinished training, or "
        "to a greater length; options that aren't given are what they were")
    add("--layers", metavar="N", type=whole_number, help=f"LSTM layers {usual}")
    add("--units", metavar="N", type=whole_number, help=f"units of each {usual}")
    add("--embedding", metavar="N", type=whole_number, help="size of the embedding, 0 "
        f"for one-hot input {usual}")
    add("--dropout", metavar="X", type=number, help="share of each layer's outputs "
        f"dropped while training {usual}")
    add("--window", metavar="N", type=whole_number, dest="window_chars",
        help=f"characters in a training window {usual}")
    add("--stride", metavar="N", type=whole_number, dest="stride_chars",
        help=f"characters between the starts of two windows {usual}")
    add("--targets", metavar="KIND", help="all, each position predicts the next "
        f"character, or last, only the one after the window is predicted {usual}")
    add("--batch-size", metavar="N", type=whole_number, help=f"windows a step {usual}")
    add("--learning-rate", metavar="X", type=number, help=f"peak rate {usual}")
    add("--epochs", metavar="N", type=whole_number, help="times to see every window")
    add("--steps", metavar="N", type=whole_number, help="optimizer steps to take")
    add("--weight-decay", metavar="X", type=number, help=f"of AdamW {usual}")
    add("--minutes", metavar="X", type=number, help="time for everything at the most; "
        "without a --preset the network is sized for it")
    add("--precision", metavar="KIND", help="of products: float32, bfloat16, auto")
    add("--held-out", metavar="X", type=number, help="share of the text that is only "
        f"measured, 0 to train on everything {usual}")
    add("--seed", metavar="N", type=whole_number, help="repeats a training exactly on "
        f"the same machine {usual}")
    # fmt: on
    return vars(parser.parse_args())


def main():
    """Do what the command line says."""
    preparation = prepare(**parse_arguments())
    for note in preparation.notes:
        say(note)
    if preparation.finished:
        writer(sys.stdout)(f"{preparation.path}\n")
        return
    say("starting TensorFlow …")
    pipeline = import_quietly("textgen.pipeline")
    report = pipeline.run_training(preparation, show=True, say=say, started_s=STARTED_S)
    if report.held_out_nats is not None:
        say(f"held out: {metrics.describe(report.held_out_nats)}")
    if report.previous is not None:
        say(f"the earlier model is kept as {str(report.previous)!r}")
    say(f"{report.steps:,} steps in {report.seconds:,.0f} s; saved:")
    writer(sys.stdout)(f"{report.path}\n")
    if report.interrupted:
        raise report.interruption


if __name__ == "__main__":
    run(main)
