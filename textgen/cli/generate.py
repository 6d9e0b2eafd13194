"""The command `generate`: complete the beginning of a text with a trained model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from textgen.cli.chat import Conversation
from textgen.cli.options import (
    add_options,
    add_vocabulary_from,
    check_mixed,
    load_one_or_mixed,
)
from textgen.cli.printing import Printer
from textgen.config import (
    DEFAULT_CORPUS,
    CompletionConfig,
    ConstraintConfig,
    MixConfig,
    Settings,
    options_of,
)
from textgen.errors import OptionError, shown_path
from textgen.generation.batch import check_count
from textgen.generation.forms import DEFAULT_SYLLABLES, FORMS, find_form
from textgen.generation.streaming import check_seed, first_id, fresh_seed
from textgen.inference.threads import take_all_cores
from textgen.saving.find_model import passed_over
from textgen.saving.model_file import load_model_for
from textgen.saving.sandbox import Reader
from textgen.system.terminal import Parser, say, say_warnings, whole_number

S = TypeVar("S", bound=Settings)

DESCRIPTION = """\
Complete the beginning of a text with a trained model.

  %(prog)s                                asks for beginnings, until Ctrl-D
  %(prog)s --prompt "Shall I compare "    prints the prompt and what follows it
  %(prog)s --corpus dinos --count 20      twenty different names, one a line
  %(prog)s --corpus dinos --count 9 --ends-with don --novel
  %(prog)s --jsonl < beginnings.txt       completes each line of a file
  %(prog)s --form sonnet                  fourteen lines with metre and rhyme

Results go to standard output and everything else to standard error. On a terminal,
control characters are shown escaped. Exit status: 0 done, 2 for an error that one
line explains, 130 after Ctrl-C, 143 after SIGTERM.
"""


def parse_arguments(
    arguments: Sequence[str], prog: str
) -> tuple[argparse.Namespace, CompletionConfig, ConstraintConfig]:
    """Read the command line, and check all of it before a model is loaded."""
    parser = Parser(DESCRIPTION, prog, usage="%(prog)s [options]")
    # fmt: off
    group = parser.add_argument_group("the model")
    add_one_of = group.add_mutually_exclusive_group().add_argument
    add_one_of("--model", metavar="FILE", action="append", help="the model file to "
        "use, or its name; several are mixed")
    add_one_of("--corpus", metavar="NAME", default=DEFAULT_CORPUS, help="or that of "
        "models/NAME.h5, else models/NAME-pretrained.h5 (default: %(default)s)")
    add_options(group, MixConfig)
    add_vocabulary_from(group)
    group = parser.add_argument_group("what is completed")
    add_one_of = group.add_mutually_exclusive_group().add_argument
    add_one_of("--prompt", metavar="TEXT", help="the beginning; without it, it is "
        "asked for on a terminal, and elsewhere each line of standard input is one")
    add_one_of("--prompt-file", metavar="FILE", help="the beginning is what this file "
        "holds, but for the line break at its end; - is standard input")
    add = group.add_argument
    add("--count", metavar="N", type=whole_number, help="so many completions: of a "
        "model of lines distinct ones, one a line, else parted by empty lines")
    add("--seed", metavar="N", type=whole_number, help="repeats a completion")
    add("--jsonl", action="store_true", help="print JSON: prompt, completion, seed")
    # fmt: on
    add_options(parser.add_argument_group("how it is completed"), CompletionConfig)
    add_options(parser.add_argument_group("what it has to be like"), ConstraintConfig)
    # fmt: off
    add = parser.add_argument_group("as a poem").add_argument
    add("--form", metavar="NAME", type=str.lower, help=f"one of {', '.join(FORMS)}; "
        "the prompt is its first lines or their beginning")
    add("--rhyme-scheme", metavar="TEXT", help="a form of your own: a letter for each "
        "line, such as ABBA, and - for one without a rhyme")
    add("--syllables", metavar="N", type=whole_number, help="of each of its lines "
        f"(default: {DEFAULT_SYLLABLES})")
    # fmt: on
    options = parser.parse_args(arguments)
    several = len(options.model or ()) > 1
    check_mixed(options, several, "give each of them as `model`")
    if options.seed is not None:
        check_seed(options.seed)
    if options.count is not None:
        check_count(options.count)
    own_form = (options.rhyme_scheme, options.syllables)
    if options.form is not None or own_form != (None, None):
        options.form = find_form(options.form, *own_form)
    config, wanted = _read(options, CompletionConfig), _read(options, ConstraintConfig)
    if options.form and (asked := wanted.told or wanted.chosen):
        problem = f"a `form` can't be held to {asked} as well"
        raise OptionError(problem, "give one of the two")
    if options.prompt_file is not None:
        options.prompt = read_prompt(options.prompt_file)
    if wanted.chooses and options.count is None:
        if options.prompt is None:
            problem = f"{wanted.chosen} can't choose for a conversation, or for lines"
            raise OptionError(problem, "give a `prompt` or a `count`")
        options.count = 1
    return options, config, wanted


def _read(options: argparse.Namespace, part: type[S]) -> S:
    names = [field.name for field in options_of(part)]
    return part(**{name: getattr(options, name) for name in names})


def read_prompt(file: str) -> str:
    """Return the text of a file, or of standard input, without its last line break."""
    try:
        if file == "-":
            if sys.stdin is None:
                raise OptionError("standard input was to be the prompt, but is closed")
            text = sys.stdin.read()
        else:
            text = Path(file).read_bytes().decode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        received = f"{shown_path(file)} can't be read ({reason})"
        raise OptionError(
            f"`prompt_file` must be a text file, but {received}"
        ) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return text.removesuffix("\n")


def main(arguments: Sequence[str], prog: str, *, reader: Reader) -> None:
    """Load a model by ``reader``; print completions, or converse on a terminal."""
    options, config, wanted = parse_arguments(arguments, prog)
    say_warnings()
    if options.model is not None:
        model, other = load_one_or_mixed(options.model, options, reader), ""
    else:
        text = options.vocabulary_from
        model = load_model_for(options.corpus, text, reader=reader)
        other = passed_over(model.path)
    say(f"model: {model.source!r}{model.remark}{other}")
    first_id(model, config.label)  # raises for one that it doesn't know
    if options.form and options.prompt is None and sys.stdin and sys.stdin.isatty():
        options.prompt = ""  # a poem needs none
    has_prompt = options.prompt is not None or options.count is not None
    if not has_prompt and sys.stdin and sys.stdin.isatty() and not options.jsonl:
        if wanted.told:
            problem = f"a conversation can't be held to {wanted.told}"
            raise OptionError(problem, "give a `prompt` or a `count`")
        take_all_cores(model.network)
        Conversation(model, config, options.seed).run()
        return
    seed = fresh_seed() if options.seed is None else options.seed
    if options.seed is None:
        say(f"seed: {seed}")
    printer = Printer(model, config, options.jsonl, wanted)
    if options.form:
        from textgen.cli.poems import PoemPrinter  # only now: completions don't need it

        printer = PoemPrinter(model, config, options.jsonl, options.form)
    if options.count is not None:
        printer.print_many(options.prompt or "", options.count, seed)
    elif options.prompt is not None:
        take_all_cores(model.network)
        printer.print_one(options.prompt, seed)
    elif sys.stdin is None:
        raise OptionError("a --prompt or standard input is needed, but it is closed")
    else:
        printer.print_each_line(sys.stdin, seed)
