"""Which files there are: names, paths, folders, patterns; order, and their names."""

import io
import os
import sys
from pathlib import Path

import pytest

from textgen.data import sources
from textgen.data.sources import data_folder, find_sources
from textgen.errors import CorpusError


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A folder of texts, which is the current folder."""
    for name in ("tales/b.txt", "tales/a.txt", "tales/more/c.txt.gz", "tales/more/d.md",
                 "tales/.hidden.txt", "tales/.git/config", "one.txt", "two.TXT.XZ",
                 "odd[1].txt", "-"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(given) -> tuple[str, list[str]]:
    result = find_sources(given)
    return result.name, [file.name for file in result.files]


@pytest.mark.parametrize(
    ("given", "name", "files"),
    [("one.txt", "one", ["one.txt"]), ("two.TXT.XZ", "two", ["two.TXT.XZ"]),
     ("odd[1].txt", "odd[1]", ["odd[1].txt"]), ("./-", "-", ["-"]),
     ("tales", "tales", ["a.txt", "b.txt", "more/c.txt.gz", "more/d.md"]),
     ("tales/", "tales", ["a.txt", "b.txt", "more/c.txt.gz", "more/d.md"]),
     ("tales/*.txt", "a", ["a.txt", "b.txt"]),
     ("tales/**/*.gz", "c", ["c.txt.gz"]),
     ("**/[ab].txt", "a", ["a.txt", "b.txt"]),
     (["tales/b.txt", "tales/a.txt"], "b", ["a.txt", "b.txt"]),
     (["tales", "tales/a.txt", "./tales/../tales/b.txt"], "tales",
      ["a.txt", "b.txt", "more/c.txt.gz", "more/d.md"]),
     (["tales", "tales/", "./tales"], "tales",
      ["a.txt", "b.txt", "more/c.txt.gz", "more/d.md"]),
     (["tales/more", "tales/b.txt"], "more", ["b.txt", "more/c.txt.gz", "more/d.md"]),
     (["one.txt"], "one", ["one.txt"]), (("tales/more",), "more", ["c.txt.gz", "d.md"]),
     (Path("tales/more"), "more", ["c.txt.gz", "d.md"])],
)  # fmt: skip
def test_what_is_named_in_which_order_and_what_it_is_called(tree, given, name, files):
    assert found(given) == (name, files)


def test_the_current_folder_has_its_name(tree):
    name, files = found(".")
    assert name == tree.name
    assert files == sorted(files, key=lambda file: Path(file).parts)
    assert len(files) == 8


@pytest.mark.parametrize(
    ("given", "path"),
    [("one.txt", "one.txt"), ("tales/more/../b.txt", "tales/b.txt"), ("tales", "tales"),
     (["tales/a.txt", "tales/more/d.md"], "tales"), (["one.txt", "two.TXT.XZ"], "."),
     ("tales/more", "tales/more"), ("sonnets", None), ("-", None),
     ("../elsewhere/x.txt", "x.txt"), ("../elsewhere", "elsewhere")],
)  # fmt: skip
def test_where_it_is_from_the_current_folder(tree, monkeypatch, given, path):
    (tree / "here").mkdir()
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere/x.txt").write_text("x")
    for name in ("tales", "one.txt", "two.TXT.XZ"):
        (tree / name).rename(tree / "here" / name)
    monkeypatch.chdir("here")
    assert find_sources(given).path == path


def test_the_order_does_not_depend_on_how_files_are_named(tree):
    absolute = [str(tree / "tales" / name) for name in ("more/d.md", "a.txt")]
    assert found(absolute)[1] == found(["tales/a.txt", "tales/more/d.md"])[1]


def test_a_tilde_is_the_home_folder(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree))
    monkeypatch.setenv("USERPROFILE", str(tree))
    monkeypatch.chdir("empty")
    assert found("~/one.txt") == ("one", ["one.txt"])
    assert found("~/tales/*.txt") == found("~/tales/[ab].txt")
    assert found("~/tales")[0] == "tales"


def test_named_corpora_may_be_among_files(tree):
    assert find_sources("sonnets").named
    assert find_sources(["sonnets"]).named
    both = find_sources(["sonnets", "one.txt"])
    assert not both.named
    assert sorted(file.path.name for file in both.files) == ["one.txt", "sonnets.txt"]
    Path("dinos").mkdir()
    assert found("dinos") == ("dinos", ["dinos.txt"])
    with pytest.raises(CorpusError, match=r"'dinos/?' has no file|folder of texts"):
        found("./dinos")


def test_standard_input_can_be_looked_at_before_it_is_read(tree, monkeypatch):
    text = "a line\n" * 100_000
    stream = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    result = find_sources("-")
    (source,) = result.files
    assert (result.name, source.name) == ("stdin", "stdin")
    for _ in range(2):
        beginning, is_whole = source.beginning()
        assert text.startswith(beginning)
        assert len(beginning) > 1000
        assert not is_whole
    assert "".join(source.pieces()) == text
    assert found(["-", "one.txt"])[1] == ["stdin", "one.txt"]


def test_the_beginning_of_a_file_and_whether_it_is_all(tree):
    (source,) = find_sources("one.txt").files
    for _ in range(2):
        assert source.beginning() == ("this is one.txt", True)
    assert list(source.pieces()) == list(source.pieces()) == ["this is one.txt"]
    Path("long.txt").write_text("abc\n" * 200_000)
    (source,) = find_sources("long.txt").files
    assert source.beginning()[1] is False
    Path("nothing.txt").write_text("")
    assert find_sources("nothing.txt").files[0].beginning() == ("", True)


@pytest.mark.parametrize(
    ("given", "said"),
    [("nope.txt", "no 'nope.txt': name one of the corpora (dinos, sh"),
     ("tales/nope", "no 'tales/nope'"), (["one.txt", "nope"], "no 'nope'"),
     ("tales/*.nope", "files that fit 'tales/*.nope'"), ("a\0*", "fit 'a\\x00*'"),
     ("a\0/*", "fit 'a\\x00/*'"), ("empty", "'empty' has no file"), ("", "no ''"),
     ([], r"must be a name or a path, but was []"), (5, "was 5: name a corpus or a fi"),
     ({"one.txt"}, "give strings as `texts`"), (["one.txt", 5], "one was 5"),
     ([["one.txt"]], "one was ['one.txt']"), (b"one.txt", "was b'one.txt'")],
)  # fmt: skip
def test_what_can_not_be_found(tree, given, said):
    with pytest.raises(CorpusError) as caught:
        find_sources(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.advice


def test_a_misspelled_corpus_is_asked_about():
    with pytest.raises(CorpusError, match="did you mean 'shakespeare'"):
        find_sources("shakespear")


@pytest.mark.skipif(not hasattr(os, "geteuid") or not os.geteuid(), reason="as root")
def test_a_folder_that_can_not_be_read(tree):
    (tree / "tales/more").chmod(0)
    with pytest.raises(CorpusError, match="can't be read"):
        find_sources("tales")
    (tree / "tales/more").chmod(0o700)


def test_data_folder_of_an_installed_package_is_inside_it(tmp_path, monkeypatch):
    root = tmp_path.resolve()
    monkeypatch.setattr(sources, "__file__", str(root / "textgen/data/sources.py"))
    assert data_folder("models") == root / "models"
    (root / "textgen/assets/models").mkdir(parents=True)
    assert data_folder("models") == root / "textgen/assets/models"
