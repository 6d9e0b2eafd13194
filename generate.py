"""Complete the beginning of a text with a trained model.

  generate.py                                asks for beginnings, until Ctrl-D
  generate.py --prompt "Shall I compare "    prints the prompt and what follows it
  generate.py --corpus dinos --count 20      twenty different names, one a line
  generate.py --jsonl < beginnings.txt       completes each line of a file

Results go to standard output and everything else to standard error. On a terminal,
control characters are shown escaped. Exit status: 0 done, 2 for an error that one
line explains, 130 after Ctrl-C, 143 after SIGTERM.
"""

import sys

from textgen.saving.sandbox import Reader
from textgen.system.process import prepare_process

READER = None
if __name__ == "__main__":
    prepare_process()
    READER = Reader()  # gets ready to read a model while the rest is imported

from textgen.cli.chat import Conversation
from textgen.cli.printing import Printer
from textgen.config import DEFAULT_CORPUS, CompletionConfig
from textgen.errors import OptionError
from textgen.generation.batch import check_count
from textgen.generation.streaming import check_seed, fresh_seed
from textgen.saving.find_model import resolve_model, what_it_hides
from textgen.saving.model_file import load_model
from textgen.system.terminal import (
    Parser,
    number,
    run,
    say,
    say_warnings,
    utf8,
    whole_number,
)


def parse_arguments():
    """Read the command line, and check all of it before a model is loaded."""
    parser = Parser(__doc__)
    add, default = parser.add_argument, CompletionConfig
    # fmt: off
    add_one_of = parser.add_mutually_exclusive_group().add_argument
    add_one_of("--model", metavar="FILE", help="the model file to use")
    add_one_of("--corpus", metavar="NAME", default=DEFAULT_CORPUS, help="or that of "
        "models/NAME.h5, else models/NAME-pretrained.h5 (default: %(default)s)")
    add("--prompt", metavar="TEXT", type=utf8, help="the beginning; without it, it is "
        "asked for on a terminal, and elsewhere each line of standard input is one")
    add("--length", metavar="N", type=whole_number, default=default.length,
        help="new characters, exactly; fewer only at --stop, or at the end of a line "
        "for a model of lines (default: %(default)s)")
    add("--temperature", metavar="X", type=number, default=default.temperature,
        help="lower is safer, 0 always the likeliest character (default: %(default)s)")
    add("--top-k", metavar="N", type=whole_number, default=default.top_k,
        help="draw among the N likeliest characters only")
    add("--top-p", metavar="X", type=number, default=default.top_p,
        help="draw among the likeliest that together reach this probability only")
    add("--seed", metavar="N", type=whole_number, help="repeats a completion")
    add("--count", metavar="N", type=whole_number, help="so many completions: of a "
        "model of lines distinct ones, one a line, else parted by empty lines")
    add("--stop", metavar="TEXT", type=utf8, help="end before this text, if it comes")
    add("--strict", action="store_true", help="refuse characters new to the model")
    add("--jsonl", action="store_true", help="print JSON: prompt, completion, seed")
    add("--vocabulary-from", metavar="TEXT", help="for a model without vocabulary, of "
        "another program: the text that it was trained on")
    # fmt: on
    arguments = parser.parse_args()
    names = ("length", "temperature", "top_k", "top_p", "stop", "strict")
    arguments.config = CompletionConfig(**{n: getattr(arguments, n) for n in names})
    if arguments.seed is not None:
        check_seed(arguments.seed)
    if arguments.count is not None:
        check_count(arguments.count)
    return arguments


def main():
    """Do what the command line says."""
    say_warnings()
    arguments = parse_arguments()
    path = resolve_model(arguments.model, arguments.corpus)
    model = load_model(path, arguments.vocabulary_from, reader=READER)
    say(f"model: {str(path)!r}{model.remark}{what_it_hides(path, arguments.model)}")
    has_prompt = arguments.prompt is not None or arguments.count is not None
    if not has_prompt and sys.stdin and sys.stdin.isatty() and not arguments.jsonl:
        Conversation(model, arguments.config, seed=arguments.seed).run()
        return
    seed = fresh_seed() if arguments.seed is None else arguments.seed
    if arguments.seed is None:
        say(f"seed: {seed}")
    printer = Printer(model, arguments.config, arguments.jsonl)
    if arguments.count is not None:
        printer.print_many(arguments.prompt or "", arguments.count, seed)
    elif arguments.prompt is not None:
        printer.print_one(arguments.prompt, seed)
    elif sys.stdin is None:
        raise OptionError("a --prompt or standard input is needed, but it is closed")
    else:
        printer.print_each_line(sys.stdin, seed)


if __name__ == "__main__":
    run(main)
