"""The command `export`: what it writes, and what it refuses."""

import re
import shutil
from pathlib import Path

import pytest
from keras_fixtures import FIXTURES

from textgen.saving import onnx_file

ROOT = Path(__file__).parents[2]


def test_both_forms_are_written_at_once(run, tmp_path, monkeypatch, names_model):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    result = run(
        "textgen", "export", names_model, "--onnx", "a.onnx", "--html", "a.html"
    )
    assert (result.status, result.out, result.err) == (0, "a.onnx\na.html\n", "")
    assert Path("a.html").read_bytes().startswith(b"<!doctype html>")
    assert Path("a.onnx").stat().st_size > 1000
    # It replaces the page.
    assert run("textgen", "export", names_model, "--html", "a.html").status == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.html", "a.onnx"]


def test_a_model_is_found_by_its_name(run, tmp_path, monkeypatch, names_model):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    shutil.copy(names_model, "models/mine.h5")
    named = ("--html", "mine.html", "--title", "For Ann")
    assert run("textgen", "export", "mine", *named).status == 0
    assert "<h1>For Ann</h1>" in Path("mine.html").read_text()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("m.h5", "give --onnx or --html, or both"),
        ("m.h5 --onnx m.h5", "--onnx must end in .onnx, but was 'm.h5'"),
        ("m.h5 --html m.txt", "--html must end in .html, but was 'm.txt'"),
        ("m.h5 --html letter.html", "--html must be a new file, or a page"),
        ("m.h5 --html none/a.html", "'none', or choose another place by --html"),
        ("m.h5 --html a.html --weights float32", "did you mean --onnx, which keeps"),
        ("link.onnx --onnx link.onnx", "--onnx must be another file than the model"),
        ("none.h5 --html a.html", "'none.h5': "),
        (
            "mixed.h5 --onnx a.onnx --html a.html",
            "it was trained on as --vocabulary-from",
        ),
        ("mixed.h5 --html a.html --vocabulary-from text.txt", "further layers"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_writes_nothing(
    run, tmp_path, monkeypatch, names_model, line, expected
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(names_model, "m.h5")
    Path("link.onnx").symlink_to("m.h5")
    Path("letter.html").write_text("<p>Dear Sir")
    mixed = FIXTURES["Keras 2.2 mixed, relu"]()
    mixed.write(tmp_path / "mixed.h5")
    Path("text.txt").write_text(mixed.symbols * 9, newline="")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    run("textgen", "export", *line.split()).assert_refused(expected)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_package_leaves_nothing_behind(
    run, tmp_path, monkeypatch, names_model
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_file, "is_installed", lambda name: False)
    result = run(
        "textgen", "export", names_model, "--html", "a.html", "--onnx", "a.onnx"
    )
    result.assert_refused("pip install 'textgen-lstm[onnx]'")
    assert list(tmp_path.iterdir()) == []


def test_the_programs_in_the_documents_complete_a_prompt(
    run, tmp_path, monkeypatch, capsysbinary
):
    """With ONNX Runtime and NumPy alone, as it stands there."""
    pytest.importorskip("onnxruntime")
    document = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(textgen export .*?)\n", document)
    (program,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", document, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert run(*command.split()).status == 0
    assert not re.search(r"import (?!json|numpy|onnxruntime)", program)
    exec(compile(program, "export.md", "exec"), {})
    assert capsysbinary.readouterr().out.decode() == shown
