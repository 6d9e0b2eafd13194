from pathlib import Path

import pytest

from textgen.errors import ModelFileError
from textgen.saving import find_model
from textgen.saving.find_model import resolve_model, what_it_hides


def test_resolve_model_prefers_the_users_own(tmp_path, monkeypatch):
    shipped, folder = tmp_path / "shipped", tmp_path / "here"
    shipped.mkdir()
    (folder / "models").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(find_model, "data_folder", lambda kind: shipped)
    assert str(resolve_model("any/file.h5")) == "any/file.h5"
    with pytest.raises(ModelFileError, match="no model at all"):
        resolve_model()
    for present in (
        shipped / "sonnets-pretrained.h5",
        shipped / "sonnets.h5",
        folder / "models" / "sonnets.h5",
    ):
        present.touch()
        assert resolve_model().resolve() == present
    with pytest.raises(ModelFileError, match=r"models/sonnets\.h5") as caught:
        resolve_model(corpus="odes\n")
    assert "'odes\\n'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("corpus", ["x" * 300, "x" * 100_000, "a\0b", "\ud800"])
def test_what_no_file_can_be_called_is_refused_in_a_line(corpus):
    with pytest.raises(ModelFileError, match="expected a model for") as caught:
        resolve_model(corpus=corpus)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("corpus", "name"),
    [
        ("story", "story"),
        ("story.v2", "story.v2"),
        ("story.v2.txt", "story.v2"),
        ("texts/story.v2.md", "story.v2"),
        ("./letters.md", "letters"),
        ("letters.md", "letters"),  # which is there
        ("missing.md", "missing.md"),
    ],
)
def test_a_suffix_is_cut_from_paths_alone(corpus, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters.md").touch()
    (tmp_path / "models").mkdir()
    for existing in ("story", "story.v2", "letters", "missing", "missing.md"):
        (tmp_path / "models" / f"{existing}.h5").touch()
    assert resolve_model(corpus=corpus) == Path("models", f"{name}.h5")


def test_a_model_of_ones_own_hides_the_pretrained_one(tmp_path, monkeypatch):
    monkeypatch.setattr(find_model, "data_folder", lambda kind: tmp_path)
    pretrained = tmp_path / "sonnets-pretrained.h5"
    assert what_it_hides(Path("models/sonnets.h5")) == ""
    pretrained.touch()
    assert repr(str(pretrained)) in what_it_hides(Path("models/sonnets.h5"))
    assert what_it_hides(Path("models/sonnets.h5"), "models/sonnets.h5") == ""
    assert what_it_hides(Path("models/odes.h5")) == ""
    assert what_it_hides(pretrained) == ""  # it hides no other
