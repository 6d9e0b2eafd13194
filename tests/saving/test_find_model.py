from pathlib import Path
from types import SimpleNamespace

import pytest

from textgen.config import Config
from textgen.errors import ModelFileError
from textgen.modeling.model import build_model
from textgen.saving import find_model, model_file
from textgen.saving.find_model import (
    find_models,
    is_model_name,
    looks_unfinished,
    model_names,
    passed_over,
)
from textgen.saving.model_file import (
    load_model,
    load_model_for,
    load_trainable,
    save_model,
)


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """The program's folder of models; the current folder has one of its own."""
    folder, here = tmp_path / "shipped", tmp_path / "here"
    folder.mkdir()
    (here / "models").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(find_model, "data_folder", lambda kind: folder)
    return folder


def test_the_users_own_models_come_first(shipped):
    with pytest.raises(ModelFileError, match="no model at all"):
        find_models("sonnets")
    files = [
        shipped / "sonnets-pretrained.h5",
        shipped / "sonnets.h5",
        Path("models/sonnets.h5"),
    ]
    for count, present in enumerate(files, 1):
        present.touch()
        assert find_models("sonnets") == files[count - 1 :: -1]
    Path("models/dinos.h5").touch()
    with pytest.raises(ModelFileError, match=r"^.*'odes\\n'.*'dinos', 'sonnets':.*\Z"):
        find_models("odes\n")
    for number in range(20):
        Path(f"models/a{number:02}.h5").touch()
    with pytest.raises(ModelFileError, match=r"12 more.* mean 'sonnets'"):
        find_models("sonets")


def test_models_are_listed_once_without_what_trainings_leave(shipped):
    assert model_names() == []
    for name in ("odes", "odes.previous", "odes.step-200", "sonnets"):
        Path(f"models/{name}.h5").touch()
    for name in ("sonnets-pretrained", "dinos-pretrained"):
        (shipped / f"{name}.h5").touch()
    assert model_names() == ["dinos", "odes", "sonnets"]


def test_a_file_is_found_once_where_two_folders_are_one(shipped, monkeypatch):
    monkeypatch.setattr(find_model, "data_folder", lambda kind: Path.cwd() / "models")
    Path("models/sonnets.h5").touch()
    assert find_models("sonnets") == [Path("models/sonnets.h5")]


@pytest.mark.parametrize("corpus", ["x" * 300, "x" * 100_000, "a\0b", "\ud800"])
def test_what_no_file_can_be_called_is_refused_in_a_line(corpus):
    with pytest.raises(ModelFileError, match="expected a model for") as caught:
        load_model(corpus)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("corpus", "name"),
    [("story", "story"), ("story.v2", "story.v2"), ("story.v2.txt", "story.v2"),
     ("texts/story.v2.md", "story.v2"), ("./letters.md", "letters"),
     ("letters.md", "letters"),  # which is there
     ("missing.md", "missing.md")],
)  # fmt: skip
def test_a_suffix_is_cut_from_paths_alone(corpus, name, shipped):
    Path("letters.md").touch()
    for existing in ("story", "story.v2", "letters", "missing", "missing.md"):
        Path("models", f"{existing}.h5").touch()
    assert find_models(corpus) == [Path("models", f"{name}.h5")]


def test_names_are_told_from_paths(shipped):
    Path("here").touch()
    Path("sonnets").mkdir()
    assert all(map(is_model_name, ["sonnets", "dinos", "story.v2"]))
    paths = ["models/sonnets.h5", "sonnets.h5", "./sonnets", "here", Path("sonnets")]
    paths += ["my.hdf5", "my.keras", ""]
    assert not any(map(is_model_name, paths))


def test_a_model_that_is_used_in_place_of_the_pretrained_one_says_so(shipped):
    pretrained = shipped / "sonnets-pretrained.h5"
    assert passed_over(Path("models/sonnets.h5")) == ""
    pretrained.touch()
    assert repr(str(pretrained)) in passed_over(Path("models/sonnets.h5"))
    assert passed_over(Path("models/odes.h5")) == ""
    assert passed_over(pretrained) == ""


# Finished models first

FINISHED = b'{"interrupted": false, "diverged": null, "snapshot": false}'


@pytest.fixture
def opened(shipped, monkeypatch) -> None:
    """No file can really be read; any is taken for a model."""

    def of_contents(contents, path, vocabulary_from):
        return SimpleNamespace(path=path)

    monkeypatch.setattr(model_file, "read_file", lambda path, reader=None: None)
    monkeypatch.setattr(model_file, "model_of_contents", of_contents)
    monkeypatch.setattr(model_file, "trainable", lambda model: model)


@pytest.mark.parametrize("load", [load_model, load_model_for, load_trainable])
@pytest.mark.parametrize(
    "mark", [b'"interrupted": true', b'"diverged": "at step 3"', b'"snapshot": true']
)
def test_an_unfinished_model_does_not_hide_the_pretrained_one(
    load, mark, shipped, opened, recwarn
):
    own, pretrained = Path("models/sonnets.h5"), shipped / "sonnets-pretrained.h5"
    for path in (own, shipped / "sonnets.h5"):
        path.write_bytes(bytes(10**7) + mark + bytes(10**6 - 30))
    assert load("sonnets").path == own  # there is no other
    assert not recwarn
    pretrained.write_bytes(FINISHED)
    with pytest.warns(UserWarning, match="give the other's path") as caught:
        assert load("sonnets").path == pretrained
    assert repr(str(own)) in str(caught[0].message)
    assert repr(str(pretrained)) in str(caught[0].message)
    assert load_model(own).path == load_model(str(own)).path == own
    own.write_bytes(FINISHED)
    assert load("sonnets").path == own
    assert len(recwarn) == 0


@pytest.mark.parametrize(
    ("units", "symbols", "name"),
    [(16, 20, "n"), (300, 2, "n"), (8, 3, '"interrupted": true'), (8, 3, "x" * 9000)],
)
def test_real_files_look_as_they_are(tmp_path, units, symbols, name):
    """HDF5 writes small metadata beside other small arrays, at either end."""
    config = Config().override(units=units, embedding=7)
    model = build_model(config.model, symbols, seed=1)
    record = {"interrupted": False, "diverged": None, "snapshot": False}
    metadata = {
        "format": 2,
        "level": "character",
        "symbols": [chr(97 + n) for n in range(symbols)],
        "corpus": {"name": name, "kind": "text"},
        "config": config.to_dict(),
    }
    for changes in ({}, {"interrupted": True}, {"diverged": "x"}, {"snapshot": True}):
        path = tmp_path / "model.h5"
        save_model(model, metadata | {"training": record | changes}, path)
        found = load_model(path)
        assert looks_unfinished(path) == found.is_unfinished == bool(changes)
        assert ("snapshot" in found.remark) == ("snapshot" in changes)
    assert not looks_unfinished(tmp_path / "missing.h5")
