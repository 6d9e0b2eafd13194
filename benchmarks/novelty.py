"""Novelty: is it new, what a model writes, or does it recite what it was trained on?

  python benchmarks/novelty.py                             the pretrained models
  python benchmarks/novelty.py models/sonnets.h5 --text corpora/shakespeare.txt

Of a model of a long text: one text of 100,000 characters at each temperature, and the
share of its stretches of 40 characters that stand in the training text, character for
character. The longest run of such stretches is the longest passage recited (of 40 or
more). The last row does the same to the held-out part, which people wrote: the share
that repetitions and turns of phrase give by themselves. The training text is that of
the model's corpus without the held-out part, and the whole of each --text besides, for
a model that was first trained on others.

Of a model of names: 10,000 draws at each temperature, repetitions among them, and of
these the shares of

  distinct      draws that were not drawn before
  novel         draws that are none of the names trained on
  well-formed   draws of 4 to 30 letters and nothing else, with a vowel or a y among
                them and no letter three times running
  all three     draws that are distinct, novel and well-formed

and how many different names of the held-out part were hit upon, real names that the
model never saw. The last row has the shares of the real names of the held-out part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import report
from contest import main, say
from worker import ContestError

from textgen.batch_generation import completion_seeds, generate_many
from textgen.corpus import Corpus, Split, data_folder, load_corpus, named_corpora
from textgen.generation import generate_output
from textgen.model_file import TrainedModel, load_model
from textgen.text_file import text_pieces
from textgen.vocabulary import END_SYMBOL

STRETCH_CHARS = 40
TEXT_CHARS = 100_000
NAMES = 10_000
NAME_CHARS = 100  # none is longer, unless a model never ends a line
SEED = 1
TEMPERATURES = {"stream": (0.5, 0.7, 1.0), "lines": (0.5, 0.8, 1.0)}
HEADINGS = {
    "stream": ("text", "characters", "stretches recited", "longest"),
    "lines": (
        "names",
        "draws",
        "distinct",
        "novel",
        "well-formed",
        "all three",
        "held-out names hit",
    ),
}


@dataclass(frozen=True)
class Recital:
    """How much of a text stands in others.

    Attributes:
        characters: of the text.
        share: of its stretches that stand there.
        longest: characters in the longest run of such stretches; 0 without any.
    """

    characters: int
    share: float
    longest: int

    def cells(self, name: str) -> list[str]:
        """Return the figures as the table shows them."""
        longest = f"{self.longest:,}" if self.longest else f"below {STRETCH_CHARS}"
        return [name, f"{self.characters:,}", f"{self.share:.3%}", longest]


@dataclass(frozen=True)
class Names:
    """Shares of a sample of names; the module's docstring says of which.

    Attributes:
        draws: number of names in the sample.
        distinct, novel, well_formed, all_three: shares of the draws.
        held_out_hits: different held-out names in the sample.
    """

    draws: int
    distinct: float
    novel: float
    well_formed: float
    all_three: float
    held_out_hits: int

    def cells(self, name: str) -> list[str]:
        """Return the figures as the table shows them."""
        shares = (self.distinct, self.novel, self.well_formed, self.all_three)
        hits = f"{self.held_out_hits:,}"
        return [name, f"{self.draws:,}", *(f"{x:.1%}" for x in shares), hits]


def recital(text: str, sources: Iterable[str], size: int = STRETCH_CHARS) -> Recital:
    """Find how much of a text stands in others.

    Args:
        text: the text.
        sources: the others; what goes from one to the next doesn't count.
        size: characters in a stretch.
    """
    places = range(len(text) - size + 1)
    wanted = {text[i : i + size] for i in places}
    found = set()
    for source in sources:
        starts = range(len(source) - size + 1)
        found |= {s for i in starts if (s := source[i : i + size]) in wanted}
    recited = [text[i : i + size] in found for i in places]
    longest = run = 0
    for is_recited in recited:
        run = run + 1 if is_recited else 0
        longest = max(longest, run)
    return Recital(
        characters=len(text),
        share=sum(recited) / max(len(recited), 1),
        longest=longest + size - 1 if longest else 0,
    )


def is_well_formed(name: str) -> bool:
    """Tell whether a name could be one; the module's docstring has the rule."""
    return (
        4 <= len(name) <= 30
        and name.isalpha()
        and re.search("[aeiouy]", name.lower()) is not None
        and re.search(r"(.)\1\1", name.lower()) is None
    )


def judge_names(draws: Sequence[str], training: set[str], held_out: set[str]) -> Names:
    """Work out the shares of a sample.

    Args:
        draws: names as they were drawn.
        training: the names trained on.
        held_out: those held out.
    """
    different = set(draws)
    good = {name for name in different - training if is_well_formed(name)}
    count = len(draws)
    return Names(
        draws=count,
        distinct=len(different) / count,
        novel=sum(name not in training for name in draws) / count,
        well_formed=sum(map(is_well_formed, draws)) / count,
        all_three=len(good) / count,
        held_out_hits=len(different & held_out),
    )


def write_and_judge(
    model: TrainedModel, split: Split, others: Sequence[str], options: Any
) -> dict[str, Recital]:
    """Let a model write at each temperature; see how much of that is recited.

    Args:
        model: of a stream.
        split: of what it was trained on.
        others: further texts that it was trained on.
        options: of the command line.
    """
    training, held_out = map(model.vocabulary.decode, (split.training, split.held_out))
    found = {}
    for temperature in options.temperatures or TEMPERATURES["stream"]:
        say(f"  {options.length:,} characters at temperature {temperature:g}")
        drawing = {"temperature": temperature, "seed": options.seed}
        text = generate_output(model, "", length=options.length, **drawing)
        found[f"temperature {temperature:g}"] = recital(text, [training, *others])
    if held_out:
        found["held out"] = recital(held_out, [training, *others])
    return found


def name_and_judge(model: TrainedModel, split: Split, options: Any) -> dict[str, Names]:
    """Let a model invent names at each temperature, and judge them.

    Args:
        model: of lines.
        split: of what it was trained on.
        options: of the command line.
    """
    training, held_out = (
        [line for line in model.vocabulary.decode(ids).split(END_SYMBOL) if line]
        for ids in (split.training, split.held_out)
    )
    seeds = list(islice(completion_seeds(options.seed), options.count))
    prompts = [""] * options.count
    found = {}
    for temperature in options.temperatures or TEMPERATURES["lines"]:
        say(f"  {options.count:,} names at temperature {temperature:g}")
        drawing = {"temperature": temperature, "seeds": seeds}
        drawn = generate_many(model, prompts, length=NAME_CHARS, **drawing)
        names = [completion.text for completion in drawn]
        judged = judge_names(names, set(training), set(held_out))
        found[f"temperature {temperature:g}"] = judged
    if held_out:
        found["held out"] = judge_names(held_out, set(training), set(held_out))
    return found


def find_corpus(model: TrainedModel, texts: Sequence[str]) -> tuple[Corpus, list[str]]:
    """Find what a model was trained on last, by its hash.

    Args:
        model: the model.
        texts: paths among which it may be, if it is no named corpus.

    Returns:
        The corpus, and the texts that are another.

    Raises:
        ContestError: if none is the one.
    """
    trained_on = model.metadata["corpus"]
    named = [trained_on["name"]] if trained_on["name"] in named_corpora() else []
    for candidate in (*named, *texts):
        corpus = load_corpus(candidate, model.kind, model.vocabulary)
        if corpus.sha256 == trained_on["sha256"]:
            return corpus, [text for text in texts if text != candidate]
    raise ContestError(
        f"{str(model.path)!r} was trained on {trained_on['name']!r}: give that file "
        "with --text"
    )


def judge_file(path: Path, options: Any) -> dict[str, Any]:
    """Judge one model, print its table and return its record."""
    model = load_model(path)
    texts = options.text
    if texts is None:
        texts = [str(named_corpora()["shakespeare"])] if model.kind == "stream" else []
    corpus, others = find_corpus(model, texts)
    training = model.config.training
    split = corpus.split(training.held_out, training.seed)
    if model.kind == "stream":
        other_texts = ["".join(text_pieces(Path(other))) for other in others]
        found = write_and_judge(model, split, other_texts, options)
    else:
        found = name_and_judge(model, split, options)
    rows = [figures.cells(name) for name, figures in found.items()]
    also = "".join(f", {Path(other).name}" for other in others)
    print(f"\n{path.name}, trained on {corpus.name}{also}; seed {options.seed}\n")
    print(report.table(HEADINGS[model.kind], rows), flush=True)
    return {
        "corpus": corpus.name,
        "other_texts": [Path(other).name for other in others],
        "found": {name: asdict(figures) for name, figures in found.items()},
    }


def parse_arguments():
    """Read the command line."""
    parser = report.make_parser(__doc__)
    add = parser.add_argument
    # fmt: off
    add("models", metavar="MODEL.h5", nargs="*", type=Path,
        help="(default: the pretrained models)")
    add("--text", metavar="FILE", action="append", help="a text that the model was "
        "trained on, if it is no named corpus or was not the last one; may be given "
        "again (default: of a long text, corpora/shakespeare.txt)")
    add("--temperatures", metavar="LIST", type=report.positives,
        help="(default: 0.5,0.7,1 for texts, 0.5,0.8,1 for names)")
    add("--length", metavar="N", type=report.positive(int), default=TEXT_CHARS,
        help="characters of each text (default: %(default)s)")
    add("--count", metavar="N", type=report.positive(int), default=NAMES,
        help="names drawn (default: %(default)s)")
    add("--seed", metavar="N", type=int, default=SEED, help="(default: %(default)s)")
    # fmt: on
    return parser.parse_args()


def run() -> None:
    """Do what the command line says."""
    options = parse_arguments()
    pretrained = sorted(data_folder("models").glob("*-pretrained.h5"))
    environment = report.environment()
    print(report.describe(environment))
    record = {"benchmark": "novelty", "environment": environment, "seed": options.seed}
    models = {
        path.name: judge_file(path, options) for path in options.models or pretrained
    }
    report.write_json(options.json, record | {"models": models})


if __name__ == "__main__":
    main(run, {})
