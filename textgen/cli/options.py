"""The options of train.py that set a field of the configuration, one each."""

from __future__ import annotations

from textgen.system.terminal import Parser, number, whole_number


def add_config_options(parser: Parser) -> None:
    """Add an option for every field of `textgen.config.Config`; none has a default.

    Args:
        parser: the command line's; what it reads for an option that isn't given is
            None, which leaves the preset's value.
    """
    add, usual = parser.add_argument, "(default: the preset's)"
    # fmt: off
    add("--layers", metavar="N", type=whole_number, help=f"LSTM layers {usual}")
    add("--units", metavar="N", type=whole_number, help=f"units of each {usual}")
    add("--embedding", metavar="N", type=whole_number, help="size of the embedding, 0 "
        f"for one-hot input {usual}")
    add("--dropout", metavar="X", type=number, help="share of each layer's outputs "
        f"dropped while training {usual}")
    add("--input-dropout", metavar="X", type=number, help="share of the input symbols "
        f"hidden while training {usual}")
    add("--window", metavar="N", type=whole_number, dest="seq_length",
        help=f"characters in a training window {usual}")
    add("--stride", metavar="N", type=whole_number, dest="stride",
        help=f"characters between the starts of two windows {usual}")
    add("--targets", metavar="KIND", help="all, each position predicts the next "
        f"character, or last, only the one after the window is predicted {usual}")
    add("--batch-size", metavar="N", type=whole_number, help=f"windows a step {usual}")
    add("--learning-rate", metavar="X", type=number, help=f"peak rate {usual}")
    add("--schedule", metavar="KIND", help="of the rate: cosine, down to a hundredth "
        "of the peak; constant; or averaged, constant too, but the saved weights are "
        f"a running average {usual}")
    add("--warmup-steps", metavar="N", type=whole_number, help="steps in which the "
        f"rate rises at first, a tenth of all at the most {usual}")
    add("--optimizer", metavar="KIND", help=f"adamw or adam {usual}")
    add("--weight-decay", metavar="X", type=number, help=f"of AdamW {usual}")
    add("--clip-norm", metavar="X", type=number, help="largest norm of a step's "
        f"gradient, 0 for any {usual}")
    add("--epochs", metavar="N", type=whole_number, help="times to see every window")
    add("--steps", metavar="N", type=whole_number, help="optimizer steps to take")
    add("--minutes", metavar="X", type=number, help="time for everything at the "
        "most, start-up to saving; without a --preset the network is sized for it")
    add("--precision", metavar="KIND", help="float32, bfloat16 or auto, bfloat16 where "
        f"the processor has it; weights are float32 always {usual}")
    add("--held-out", metavar="X", type=number, help="share of the text that is only "
        f"measured, 0 to train on everything {usual}")
    add("--seed", metavar="N", type=whole_number, help="repeats a training exactly on "
        f"the same machine {usual}")
    # fmt: on
