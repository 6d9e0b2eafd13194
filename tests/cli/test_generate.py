"""The command `generate`: what it prints, and one line for what a user gets wrong."""

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from fakes import whimsical_model
from model_files import write_own_file

from textgen.cli.printing import Printer
from textgen.config import CompletionConfig
from textgen.generation.batch import generate_many
from textgen.generation.poems import generate_form
from textgen.generation.streaming import generate_output
from textgen.saving.mixed_model import mix_models

ENDLESS = ("--prompt", "x", "--length", 100_000_000, "--seed", 1)
SONNETS = Path(__file__).parents[2] / "models" / "sonnets-pretrained.h5"
DINOS = SONNETS.with_name("dinos-pretrained.h5")
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@pytest.fixture
def complete(run, prose_model):
    """Return a function that runs generate.py with a model of prose, or another."""

    def complete_with(*arguments, model=prose_model, text=b""):
        return run("generate", "--model", model, *arguments, text=text)

    return complete_with


# What comes out


def test_prompt_and_completion_and_nothing_else_on_stdout(start, prose_model):
    options = ("--model", prose_model, "--prompt", "Forsooth ", "--seed", 1)
    process = start("generate.py", *options)
    out, err = process.communicate()
    assert process.returncode == 0
    assert re.fullmatch("(?s)Forsooth .{400}\n", out.decode())
    assert err.decode() == f"model: {str(prose_model)!r}\n"


def test_a_fresh_seed_is_said_and_repeats(complete):
    options = ("--prompt", "x", "--length", 50)
    first = complete(*options)
    seed = first.err.split("seed: ")[1].strip()
    assert complete(*options, "--seed", seed).out == first.out
    assert complete(*options).out != first.out


def test_it_says_what_the_library_says(complete, prose_model):
    options = {"length": 30, "temperature": 1.3, "top_k": 9, "top_p": 0.8, "seed": 4}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
    result = complete("--prompt", "a b", "--stop=q", *flags)
    expected = generate_output(prose_model, "a b", stop="q", **options)
    assert result.out == expected + "\n"


@pytest.mark.parametrize(
    "options",
    [{"min_p": 0.1, "typical_p": 0.9}, {"temperature": (0.4, 0.8, 1)}, {"beam": 3},
     {"repetition_penalty": 1.5, "no_repeat_ngram": 4, "temperature": 0.1}],
)  # fmt: skip
def test_samplers_of_the_command_are_those_of_the_library(
    complete, prose_model, options
):
    flags = []
    for keyword, value in options.items():
        values = value if isinstance(value, tuple) else [value]
        flags += [f"--{keyword.replace('_', '-')}", ",".join(map(str, values))]
    result = complete("--prompt", "a b", "--seed=4", "--length=60", *flags)
    expected = generate_output(prose_model, "a b", seed=4, length=60, **options)
    assert result.out == expected + "\n"


def test_a_search_gives_a_count_of_the_likeliest(complete, names_model):
    options = {"length": 8, "beam": 30}
    flags = ("--length", 8, "--beam", 30, "--count", 12)
    names = generate_many(names_model, 12, **options)
    result = complete(*flags, model=names_model)
    assert result.out.splitlines() == [name.text for name in names]
    assert len(set(names)) == 12


@pytest.mark.parametrize(("end", "parted"), [("\n", "\n"), ("\0", "\n\n")])
def test_examples_that_may_hold_newlines_are_parted_by_empty_lines(end, parted, capsys):
    model = whimsical_model(f"{end}abc", kind="lines")
    Printer(model, CompletionConfig(length=9), jsonl=False).print_many("a", 5, 1)
    out = capsys.readouterr().out
    assert len(set(out.strip("\n").split(parted))) == 5
    assert ("\n\n" in out) == (parted == "\n\n")


def test_count_of_names_gives_distinct_lines(complete, names_model):
    options = ("--count", 20, "--length", 12, "--seed", 2, "--prompt", "tyr")
    out = complete(*options, model=names_model).out
    assert len(set(re.findall("(?m)^tyr.*$", out))) == len(out.splitlines()) == 20
    assert complete(*options, model=names_model).out == out


def test_count_that_can_not_be_reached_is_said(complete, names_model):
    result = complete("--count", 20, "--temperature", 0, model=names_model)
    assert result.status == 0
    assert len(result.out.splitlines()) == 1
    assert "20 different lines were wanted, but no more than 1" in result.err


def test_count_of_texts_is_parted_by_empty_lines(complete):
    options = ("--prompt", "ab", "--length", 9, "--top-k", 5)
    several = (*options, "--count", 3, "--seed", 0)
    objects = complete(*several, "--jsonl").out
    records = [json.loads(line) for line in objects.splitlines()]
    texts = [record["prompt"] + record["completion"] for record in records]
    assert complete(*several).out == "\n\n".join(texts) + "\n"
    assert len({record["seed"] for record in records}) == 3
    assert complete(*options, "--seed", records[2]["seed"]).out == texts[2] + "\n"


def test_each_line_of_standard_input_is_a_prompt(complete):
    options = ("--length", 8, "--seed", 0, "--stop", "\n")
    lines = b"\xef\xbb\xbfone \r\n\ntwo\nlast"
    result = complete(*options, text=lines)
    assert (result.status, result.out[-2:]) == (0, "\n\n")
    objects = complete(*options, "--jsonl", text=lines).out
    records = [json.loads(line) for line in objects.splitlines()]
    assert [record["prompt"] for record in records] == ["one ", "", "two", "last"]
    blocks = [record["prompt"] + record["completion"] for record in records]
    assert result.out[:-2].split("\n\n") == blocks
    assert records[0]["seed"] == 0
    assert complete(*options, text=b"").out == ""


@pytest.mark.parametrize(
    ("data", "prompt"),
    [(b"one\ntwo", "one\ntwo"), (b"one\n\n", "one\n"), (b"", ""),
     (b"\xef\xbb\xbfone\r\ntwo\r\n", "one\ntwo"), (b"\xffo", "\udcffo")],
)  # fmt: skip
@pytest.mark.parametrize("place", ["prompt.txt", "-"])
def test_a_file_is_one_prompt(complete, tmp_path, monkeypatch, data, prompt, place):
    monkeypatch.chdir(tmp_path)
    Path("prompt.txt").write_bytes(data)
    options = ("--length", 5, "--seed", 2)
    text = data if place == "-" else b"not this"
    result = complete("--prompt-file", place, *options, text=text)
    assert result.status == 0
    assert result.out == complete("--prompt", prompt, *options).out


def test_a_prompt_file_may_be_completed_several_times(complete, tmp_path):
    (tmp_path / "p").write_text("ab\n")
    options = ("--prompt-file", tmp_path / "p", "--count", 2, "--length", 3)
    assert re.fullmatch("(?s)ab.{3}\n\nab.{3}\n", complete(*options).out)


def test_a_line_is_answered_before_the_next_comes(start, prose_model):
    process = start("generate.py", "--model", prose_model, "--jsonl")
    for prompt in (b"one", b"two"):
        process.stdin.write(prompt + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["prompt"] == prompt.decode()
    process.stdin.close()
    assert process.wait(30) == 0


@posix
def test_a_prompt_is_utf8_in_any_locale_and_a_path_what_it_is(start, make_model_file):
    path = make_model_file("é", "text", "\nacfé")
    options = ("--model", path, "--length", 3, "--seed", 1, "--strict", "--jsonl")
    words = ("generate.py", *options, "--prompt", "café", "--stop", "é")
    plain, usual = (
        start(*words, env=os.environ | variables).communicate()[0]
        for variables in ({"LC_ALL": "C"}, {})
    )
    assert json.loads(plain)["prompt"] == "café"
    assert plain == usual


def test_a_model_of_ones_own_is_said_to_hide_the_pretrained_one(
    run, prose_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    shutil.copy(prose_model, Path("models", "sonnets.h5"))
    said = run("generate", "--prompt", "x", "--length", 1, "--seed", 1).err
    own = f"model: {str(Path('models', 'sonnets.h5'))!r}, not the one that comes with"
    assert said.startswith(own)
    assert said.endswith("sonnets-pretrained.h5'\n")


def test_unknown_symbols_are_one_line_and_strict_refuses(complete):
    options = ("--prompt", "Café ☃", "--length", 5)
    result = complete(*options)
    assert result.status == 0
    assert result.out.startswith("Café ☃")
    (note,) = [line for line in result.err.splitlines() if "never seen" in line]
    assert "'é' (folded to 'e')" in note
    assert "'☃' (skipped)" in note
    complete(*options, "--strict").assert_refused("'é', '☃'")


# Poems


def test_a_poem_comes_line_by_line_and_as_the_library_writes_it(complete):
    pytest.importorskip("pronouncing")
    options = ("--form", "couplet", "--prompt", "Upon the ", "--jsonl", "--count", 2)
    result = complete(*options, "--seed", 3, model=SONNETS)
    one, other = [json.loads(line) for line in result.out.splitlines()]
    poem = generate_form(SONNETS, "couplet", "Upon the ", seed=3)
    assert one["prompt"] + one["completion"] == poem
    assert other["completion"] != one["completion"]
    own = ("--rhyme-scheme", "-", "--syllables", 4, "--seed", other["seed"])
    result = complete(*own, model=SONNETS, text=b"My\nThy\n")
    assert re.fullmatch(r"My .+[.!?]\n\nThy .+[.!?]\n\n", result.out)
    assert complete(*own, model=SONNETS, text=b"").out.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--form", "sonet"), "--form must be one of sonnet, couplet"),
        (("--form", "haiku", "--syllables", 8), "leave out --rhyme-scheme"),
        (("--syllables", 8), "--syllables needs a --rhyme-scheme"),
        (("--rhyme-scheme", "A?"), "'A?'"),
        (("--form", "haiku", "--length", 10), "leave out --length and --stop"),
        (("--form", "haiku", "--novel"), "can't be held to --novel as well"),
        (("--form", "haiku", "--min-p", 0.1), "leave out the other options"),
        (("--form", "haiku", "--prompt", "a\nb\nc\n"), "has 3 lines"),
        (
            ("--form", "haiku", "--prompt", "x", "--temperature", 0),
            "--temperature must",
        ),
    ],
)
def test_poems_that_can_not_be_are_one_line(complete, options, word):
    pytest.importorskip("pronouncing")
    complete(*options).assert_refused(word)


@pytest.mark.parametrize("options", [("--form", "couplet"), ("--rhyme-scheme", "AA")])
def test_models_of_words_write_no_forms(complete, tmp_path, options):
    pytest.importorskip("pronouncing")
    path = tmp_path / "words.h5"
    write_own_file(path, ["\n", " ", *"ab", " ab"], level="word")
    result = complete(*options, "--prompt", "ab", model=path)
    needed = "--form needs a model of characters; this one's symbols are words"
    result.assert_refused(needed)


# As a process


def test_tensorflow_is_never_imported(start, prose_model, tmp_path):
    for name in ("tensorflow", "keras", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    options = ("--model", prose_model, "--prompt", "x")
    process = start("generate.py", *options, env=environment)
    assert b"imported" not in process.communicate()[1]
    assert process.returncode == 0


@posix
def test_ctrl_c_is_status_130(start, prose_model):
    process = start("generate.py", "--model", prose_model, *ENDLESS)
    process.stdout.read(100)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == b"interrupted"


# What has to fit


def test_what_it_has_to_be_like_is_said_as_the_library_says_it(complete, names_model):
    wish = {"ends_with": "us", "min_length": 5, "max_length": 9}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in wish.items()]
    result = complete("--count", 6, "--seed", 1, *flags, model=names_model)
    made = generate_many(names_model, 6, seed=1, **wish)
    assert result.out.splitlines() == [name.text for name in made]
    assert all(re.fullmatch(".{3,7}us", name) for name in result.out.split())
    options = ("--prompt", "ty", "--seed", 3, "--ends-with", "x")
    (line,) = complete(*options, model=names_model).out.splitlines()
    assert re.fullmatch("ty.*x", line)
    lines = complete(*options[2:], model=names_model, text=b"ty\nab\n").out
    assert lines.splitlines()[0] == line


def test_so_many_that_do_not_come_are_said_with_what_they_should_be(
    complete, names_model
):
    wish = ("--matching", "(tri|bi)don")
    result = complete("--count", 5, *wish, "--seed", 1, model=names_model)
    assert sorted(result.out.split()) == ["bidon", "tridon"]
    assert "5 different lines with --matching '(tri|bi)don' were wanted" in result.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [(("--count", 3, "--starts-with", "Ab"), "try 'ab'"),
     (("--count", 3, "--matching", "a("), "--matching must be a regular expression"),
     (("--count", 3, "--max-length", 1, "--contains", "ab"), "nothing that the model"),
     (("--count", 3, "--min-length", 4, "--max-length", 2), "at most --max-length"),
     (("--prompt", "b", "--starts-with", "a"), "--prompt 'b' fits --starts-with 'a'"),
     (("--distinct",), "--distinct can't choose for a conversation"),
     (("--prompt", "b", "--novel"), "--novel can't be told"),
     (("--count", 3, "--novel"), "--novel can't be told"),
     (("--matching", "("), "--matching must be")],
)  # fmt: skip
def test_what_can_not_be_is_one_line(complete, names_model, options, expected):
    complete(*options, model=names_model).assert_refused(expected)


def test_one_text_is_novel_too(complete):
    known = Path(DINOS).parents[1] / "corpora" / "dinos.txt"
    names = known.read_text().lower().split()
    flags = ("--prompt", "alb", "--seed", 1)
    free = complete(*flags, model=DINOS)
    assert free.out.strip() in names
    novel = complete(*flags, "--novel", model=DINOS)
    assert novel == complete(*flags, "--novel", "--count", 1, model=DINOS)
    assert novel.out.startswith("alb")
    assert novel.out.count("\n") == 1
    assert novel.out.strip() not in names
    assert complete(*flags, "--distinct", model=DINOS).out == free.out


def test_nothing_at_all_is_no_success(complete):
    wish = ("--count", 2, "--novel", "--matching", "(triceratops|tyrannosaurus)")
    complete(*wish, "--seed", 1, model=DINOS).assert_refused("no more than 0 came")


# Several models


def test_models_given_together_are_mixed(complete, prose_model, window_model):
    flags = ("--prompt", "a b", "--length", 40, "--seed", 4)
    mix = (0.8, 0.2)
    mixed = mix_models([prose_model, window_model], mix)
    result = complete("--model", window_model, "--mix", "0.8,0.2", *flags)
    expected = generate_output(mixed, "a b", length=40, seed=4)
    assert result.out == expected + "\n"
    told = f"model: '0.8 {prose_model} + 0.2 {window_model}'\n"
    assert result.err == told
    first = complete("--model", window_model, "--mix", "1,0", *flags)
    assert first == complete(*flags)


def test_models_that_can_not_be_mixed_are_one_line(run, complete, names_model):
    weights = ("--mix", "1,2", "--prompt", "x")
    several = ("--model", names_model, "--mix", "1,2,3")
    complete(*several).assert_refused("--mix must be a weight for each of the models")
    complete("--model", names_model, *weights).assert_refused("models of one kind")
    complete("--mix", "a,b").assert_refused("--mix must be a number")
    complete("--corpus", "dinos").assert_refused("not allowed with")
    run("generate", *weights).assert_refused("give each of them as --model")
    complete(*weights).assert_refused("--mix is for several models")
    complete("--mix-logits").assert_refused("no option any more: leave it out")
