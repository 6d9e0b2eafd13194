from pathlib import Path
from types import SimpleNamespace

import pytest

from textgen.errors import ModelFileError
from textgen.saving import find_model, model_file
from textgen.saving.find_model import find_models, is_model_name, passed_over
from textgen.saving.model_file import load_model, load_model_for


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


@pytest.fixture
def unfinished(shipped, monkeypatch) -> set[str]:
    """Names of the files whose training was interrupted; none can really be read."""
    names: set[str] = set()

    def of_contents(contents, path, vocabulary_from):
        return SimpleNamespace(path=path, is_unfinished=path.name in names)

    monkeypatch.setattr(model_file, "read_file", lambda path, reader: None)
    monkeypatch.setattr(model_file, "model_of_contents", of_contents)
    Path("models/sonnets.h5").touch()
    return names


@pytest.mark.parametrize("load", [load_model, load_model_for])
def test_an_unfinished_model_does_not_hide_the_pretrained_one(
    load, shipped, unfinished, recwarn
):
    own, pretrained = Path("models/sonnets.h5"), shipped / "sonnets-pretrained.h5"
    unfinished.add("sonnets.h5")
    (shipped / "sonnets.h5").touch()  # unfinished, too
    assert load("sonnets").path == own  # there is no other
    assert not recwarn
    pretrained.touch()
    with pytest.warns(UserWarning, match="unfinished") as caught:
        assert load("sonnets").path == pretrained
    assert repr(str(own)) in str(caught[0].message)
    assert repr(str(pretrained)) in str(caught[0].message)
    assert load_model(own).path == load_model(str(own)).path == own
    unfinished.clear()
    assert load("sonnets").path == own
