"""The README's commands, options and code do what it says.

Trainings are cut to a few steps; the test command itself is what `.ci/run` calls.
"""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras_fixtures import keras_2_lstm

from textgen.cli import generate
from textgen.generation import batch_decoder as batch
from textgen.generation import streaming as generation
from textgen.generation.sampling import probabilities, sample_batch
from textgen.saving.sandbox import Reader

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL_CARD = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
SHORT = ["--steps", "2", "--units", "8"]
PROGRAMS = (
    "train.py",
    "generate.py",
    "textgen/numpy_rnn.py",
)
BENCHMARKS = ("speed.training_speed", "quality.held_out_loss")
LENGTHS = ("--steps", "--epochs", "--minutes")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    found = [line.split("  #")[0].strip() for line in lines]
    return [line for line in found if line.startswith(f"python {program}")]


def run(arguments: list[str], folder: Path, text: str | None = None):
    program, *rest = arguments
    program = ROOT / program if program.endswith(".py") else program
    return subprocess.run(
        [sys.executable, program, *rest],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture
def workplace(tmp_path):
    """A folder with the files that the README's commands speak of."""
    (tmp_path / "models").mkdir()
    for name in ("sonnets", "dinos"):
        shipped = ROOT / "models" / f"{name}-pretrained.h5"
        (tmp_path / "models" / f"{name}.h5").write_bytes(shipped.read_bytes())
    story = "It was a dark and stormy night; the rain fell in torrents.\n" * 40
    (tmp_path / "story.txt").write_text(story, encoding="utf-8")
    beginnings = "Shall I compare\nO, how\n"
    (tmp_path / "beginnings.txt").write_text(beginnings, encoding="utf-8")
    theirs = keras_2_lstm(38, (16, 16), window=40)
    theirs.write(tmp_path / "theirs.h5")
    (tmp_path / "their_text.txt").write_text(theirs.symbols * 9, newline="")
    return tmp_path


def shortened(command: str) -> list[str]:
    """Cut a training to two steps, and to few units where it starts afresh."""
    words = shlex.split(command)[1:]
    for option in (*LENGTHS, "--units"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    short = SHORT[:2] if "--init-from" in words else SHORT
    return words + short


def test_set_up_commands_are_one_line_each_and_make_an_environment():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    set_up = [line for line in lines if line.startswith("python3 -m venv")]
    assert len(set_up) == 2
    assert "train.py" in set_up[0]
    assert "pytest" in set_up[1]


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("train.py"))
def test_training_commands(command, workplace):
    result = run(shortened(command), workplace)
    assert result.returncode == 0, result.stderr
    saved = workplace / result.stdout.strip()
    assert saved.suffix == ".h5"
    assert saved.stat().st_size > 1000


@pytest.mark.parametrize("command", commands("generate.py"))
def test_completing_commands(command, workplace):
    words = shlex.split(command)[1:]
    text = None
    if "<" in words:
        text = (workplace / words[words.index("<") + 1]).read_text(encoding="utf-8")
        words = words[: words.index("<")]
    result = run(words, workplace, text)
    assert result.returncode == 0, result.stderr
    if "--prompt" in words and "--jsonl" not in words:
        assert result.stdout.startswith(words[words.index("--prompt") + 1])
    if text is not None or "--prompt" in words or "--count" in words:
        assert result.stdout.strip()


@pytest.mark.slow
def test_python_code(workplace):
    """All python blocks together, top to bottom, with trainings cut short."""
    code = "\n".join(blocks("python"))
    assert "keras.models.load_model" in code
    code = code.replace("steps=200", "steps=2")
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workplace,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    assert "Forsooth" in result.stdout


@pytest.mark.parametrize("program", ["train.py", "generate.py"])
def test_options_in_the_readme_are_those_of_the_help(program, tmp_path):
    shown = run([program, "--help"], tmp_path)
    assert shown.returncode == 0
    offered = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown.stdout)) - {"--help"}
    section = README.split(f"### Options of `{program}`")[1].split("\n#")[0]
    documented = set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))
    assert documented == offered


def test_every_option_anywhere_in_the_readme_exists(tmp_path):
    known = set()
    for program in PROGRAMS:
        shown = run([program, "--help"], tmp_path).stdout
        known |= set(re.findall(r"--[a-z][a-z-]+", shown))
    for benchmark in BENCHMARKS:
        shown = run(["-m", f"benchmarks.{benchmark}", "--help"], ROOT).stdout
        known |= set(re.findall(r"--[a-z][a-z-]+", shown))
    assert {"--help", "--corpus", "--prompt", "--iterations"} <= known
    text = re.sub(r"^python3 -m venv .*$", "", README, flags=re.MULTILINE)
    text = re.sub(r"corpora/prepare\.py[^\n]*", "", text)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert len(named) > 20
    assert named <= known


def benchmark_commands() -> list[str]:
    """Commands that the documents give for their figures, each on one line."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    found = re.findall(r"`python\s+-m\s+(benchmarks\.[^`]*)`", text)
    return sorted({" ".join(command.split()) for command in found})


@pytest.mark.parametrize("command", benchmark_commands())
def test_benchmark_commands_are_understood(command, tmp_path, monkeypatch):
    """Of each only the command line is read."""
    module, *words = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tinyshakespeare.txt").touch()
    assert importlib.import_module(module).parse_arguments(words)


def test_no_placeholder_is_left():
    assert not re.findall(r"@[A-Z_]+@", README)


def test_files_in_the_map_exist():
    table = README.split("## File map")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([^`*]+)`", table, re.MULTILINE)
    assert len(named) > 20
    for name in named:
        assert (ROOT / name).exists(), name
    modules = {f"textgen/{path.name}" for path in (ROOT / "textgen").glob("*.py")}
    assert modules - {"textgen/__init__.py"} <= set(named)


def test_samples_are_what_the_models_write(tmp_path):
    """The samples at the top and in the model card repeat, command and output."""
    text = README + MODEL_CARD
    samples = re.findall(r"```console\n\$ python (.*?)\n(.*?)```", text, re.DOTALL)
    assert len(samples) >= 7
    for command, output in samples:
        result = run(shlex.split(command), tmp_path)
        assert result.stdout == output


def test_no_last_bit_decides_a_symbol_of_the_samples(tmp_path, monkeypatch):
    """Those of logits differ between processors: no draw may be near a boundary."""
    margins = []

    def draw_batch(logits, uniforms, *drawing):
        bounds = probabilities(logits, *drawing).cumsum(axis=-1)
        margins.append(np.abs(bounds - uniforms[:, None]).min())
        return sample_batch(logits, uniforms, *drawing)

    def draw(logits, rng, *drawing):
        return draw_batch(logits[None], np.array([rng.random()]), *drawing)[0]

    monkeypatch.setattr(batch, "sample_batch", draw_batch)
    monkeypatch.setattr(generation, "sample", draw)
    monkeypatch.chdir(tmp_path)
    text = README + MODEL_CARD
    samples = re.findall(r"^\$ python (generate\.py .*)", text, re.MULTILINE)
    assert len(samples) >= 7
    for command in samples:
        prog, *arguments = shlex.split(command)
        margins.clear()
        generate.main(arguments, prog, reader=Reader())
        assert len(margins) >= 9
        assert min(margins) > 1e-5
