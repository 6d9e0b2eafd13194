"""What the documents say is so: commands, code, samples, options, files, links.

Trainings are cut to a few steps of a small network over short windows, which is soon
compiled; the test command itself is what `.ci/run` calls.
"""

import gzip
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from keras_fixtures import keras_2_lstm, mapped, write_archive
from model_files import write_own_file
from training.together import tf_config

from textgen.cli.train import parse_arguments
from textgen.data.labels import label_symbol
from textgen.saving.model_file import load_model

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for pattern in ("*.md", "docs/*.md", "models/*.md", "corpora/*.md")
    for path in ROOT.glob(pattern)
}
README, GUIDE = DOCUMENTS["README.md"], DOCUMENTS["docs/guide.md"]
COMING_FROM = DOCUMENTS["docs/coming_from.md"]
RESULTS = DOCUMENTS["docs/results.md"]
EVERYTHING = "\n".join(DOCUMENTS.values())
LENGTHS = ("--steps", "--epochs", "--minutes")
# What a command is cut to: a window of its own stays, and a saved model's units.
SHORT = {"--steps": "2", "--units": "8", "--window": "16"}
OF_THE_SHIPPED = {"--steps": "2", "--window": "8", "--batch-size": "4",
                  "--held-out": "0.01"}  # fmt: skip


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(beginning: str) -> list:
    """The commands of README, guide, comparisons and table of abilities, each once.

    Those that stand in the last two only are long: others like them are run anyway.
    """
    usual = "\n".join(blocks("sh", README + GUIDE)).splitlines()
    lines = usual + "\n".join(blocks("sh", COMING_FROM)).splitlines()
    lines += [cell.split("`")[1] for cell in abilities() if "`" in cell]
    lines = dict.fromkeys(x for x in lines if x.startswith(beginning))
    return [x if x in usual else pytest.param(x, marks=pytest.mark.long) for x in lines]


def abilities() -> list[str]:
    """The last column of the table that compares what programs do."""
    _, table = RESULTS.split("\n## What it does, beside others\n")
    return re.findall(r"(?m)^\| (?:.* \| ){5}(.*) \|$", table)[2:]


def run_script(arguments: list[str], folder: Path, text: str | None = None):
    """Run a script of this clone, or ``-m`` a module of it."""
    program, *rest = arguments
    is_module = program == "-m"
    return subprocess.run(
        [sys.executable, program if is_module else ROOT / program, *rest],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=text,
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture
def workplace(tmp_path):
    """A folder with the files that the documents' commands speak of."""
    (tmp_path / "models").mkdir()
    for name in ("sonnets", "dinos"):
        shipped = ROOT / "models" / f"{name}-pretrained.h5"
        (tmp_path / "models" / f"{name}.h5").write_bytes(shipped.read_bytes())
    story = "It was a dark and stormy night;\nthe rain fell in torrents.\n\n" * 40
    (tmp_path / "story.txt").write_text(story)
    (tmp_path / "tales").mkdir()
    (tmp_path / "tales" / "tale.txt").write_text(story)
    (tmp_path / "letters.txt.gz").write_bytes(gzip.compress(story.encode()))
    (tmp_path / "messages.csv").write_text("id,text\n1,hello\n2,goodbye\n" * 40)
    (tmp_path / "poems.csv").write_text(
        "text,author\n" + "O sea,Keats\nO sky,Shelley\n" * 40
    )
    marks = label_symbol(0) + label_symbol(1)
    labelled = tmp_path / "models" / "poems.h5"
    write_own_file(labelled, f"\n Oaeksy{marks}", "lines", labels=["Keats", "Shelley"])
    (tmp_path / "beginnings.txt").write_text("Shall I compare\nO, how\n")
    (tmp_path / "stanza.txt").write_text("Shall I compare thee\nTo a summer's day\n")
    theirs = keras_2_lstm(38, (16, 16), window=40)
    theirs.config, theirs.version = mapped(theirs.config["config"]), "2.15.0"
    write_archive(tmp_path / "theirs.keras", theirs)
    (tmp_path / "their_text.txt").write_text(theirs.symbols * 9, newline="")
    return tmp_path


def shortened(command: str) -> list[str]:
    """Cut a training to two steps, and to a small network where it starts afresh."""
    words = shlex.split(command)[1:]
    if "--resume" in words:  # another training's model would be in its place
        words += ["--output", "models/short.h5"]
    for option in (*LENGTHS, "--units"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    short = OF_THE_SHIPPED if "--init-from" in words else SHORT
    return words + [x for pair in short.items() if pair[0] not in words for x in pair]


def test_the_readme_is_one_page_with_two_commands_for_set_up():
    assert len(README.splitlines()) <= 170
    sh = "\n".join(blocks("sh", README))
    set_up, tested = re.findall("(?m)^python3 -m venv.*$", sh)
    assert "train.py" in set_up
    assert "pytest" in tested


def test_each_ability_has_a_command_or_is_missing():
    assert len(abilities()) > 25
    for cell in abilities():
        assert re.match(r"`(python|textgen) |–", cell)


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("python train.py"))
def test_training_commands(command, workplace, run, monkeypatch):
    monkeypatch.chdir(workplace)
    _, *words = shortened(command)
    result = run("train", *words)
    assert result.status == 0, result.err
    assert Path(result.out.strip()).stat().st_size > 1000


@pytest.mark.parametrize("command", commands("python generate.py"))
def test_completing_commands(command, workplace, run, monkeypatch):
    monkeypatch.chdir(workplace)
    command, _, file = command.partition(" < ")
    text = Path(file).read_bytes() if file else b""
    words = shlex.split(command)[2:]
    result = run("generate", *words, text=text)
    assert result.status == 0, result.err
    if "--prompt" in words and "--count" not in words:
        assert result.out.startswith(words[words.index("--prompt") + 1])
    if file or any(word.startswith(("--prompt", "--count")) for word in words):
        assert result.out.strip()


@pytest.mark.parametrize("command", commands("textgen "))
def test_other_commands(command, workplace, run, monkeypatch):
    monkeypatch.chdir(workplace)
    result = run("textgen", *shlex.split(command)[1:])
    assert result.status == 0, result.err
    if "--json" in command:
        assert json.loads(result.out)["text"] == "story.txt"


def test_the_table_of_an_evaluation_is_what_is_printed(tmp_path):
    """But for the last digit of what other versions of the libraries compress."""
    (shown,) = re.findall(r"(?s)console\n\$ (textgen .*?)\n(.*?)```", GUIDE)
    result = run_script(["-m", *shlex.split(shown[0])], tmp_path)
    figure = r"\d+\.\d+"
    assert re.sub(figure, "", result.stdout) == re.sub(figure, "", shown[1])
    expected = [float(x) for x in re.findall(figure, shown[1])]
    received = [float(x) for x in re.findall(figure, result.stdout)]
    assert received == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/guide.md",
        pytest.param("docs/coming_from.md", marks=pytest.mark.long),
    ],
)
def test_python_code(document, workplace):
    """All python blocks together, top to bottom, with small and short trainings."""
    code = "\n".join(blocks("python", DOCUMENTS[document]))
    assert "textgen.generate_many" in code
    code = code.replace("steps=200", "steps=2, units=16, seq_length=16")
    code = code.replace("= windows.arrays()", "= (x[:8] for x in windows.arrays())")
    (workplace / "all.py").write_text(code, encoding="utf-8")
    result = run_script([str(workplace / "all.py")], workplace)
    assert result.returncode == 0, result.stderr
    assert "Forsooth" in result.stdout


@pytest.mark.slow
def test_the_search_for_settings_trains_with_the_best(workplace):
    """Two trials of two steps, all with small networks."""
    (code,) = blocks("python", DOCUMENTS["docs/tuning.md"])
    code = code.replace("30, 10", "30, 2")
    code = code.replace('"minutes": MINUTES / TRIALS', '"steps": 2')
    code = re.sub(r'("(?:units|seq_length)": DRAW.choice\()\[.*\]', r"\1[8, 16]", code)
    (workplace / "search.py").write_text(code)
    result = run_script([str(workplace / "search.py")], workplace)
    assert result.returncode == 0, result.stderr
    figures = re.findall(r"(?m)^(\d\.\d+) nats/char with ", result.stdout)
    assert len(figures) == 2
    trained = load_model(workplace / "models/tuned.h5")
    drawn = min(figures) == figures[1]
    assert (trained.config.model.units in (8, 16)) == drawn


def test_every_option_of_ours_in_the_documents_exists(tmp_path):
    known = set()
    scripts = (["train.py"], ["generate.py"])
    others = (
        ["-m", "textgen", name] for name in ("evaluate", "export", "inspect", "serve")
    )
    for command in (*scripts, *others):
        shown = run_script([*command, "--help"], tmp_path).stdout
        known |= set(re.findall(r"--[a-z][a-z-]+", shown))
    assert {"--help", "--corpus", "--prompt"} <= known
    theirs_and_ours = re.findall(r"(?m)^\| (.*) \| (.*?) \|$", COMING_FROM)
    assert len(theirs_and_ours) > 100
    texts = README + GUIDE + DOCUMENTS["docs/server.md"]
    texts += "\n".join(ours for _, ours in theirs_and_ours)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", texts))
    assert len(named) > 20
    assert named <= known


DISTRIBUTED = DOCUMENTS["docs/distributed.md"]
STUBS = """
scontrol() { printf 'node1\\nnode2\\n'; }
srun() { export SLURM_PROCID=1 HOSTS; "$@"; }
textgen() { echo "$TF_CONFIG"; echo "$*"; }
exec() { "$@"; }
export -f textgen
JOB=job SERVICE=svc WORKERS=2 JOB_COMPLETION_INDEX=1
"""


@pytest.mark.parametrize(
    "block",
    re.findall(r"(?s)```(?:sh|bash)\n(.*?)```", DISTRIBUTED),
    ids=lambda block: block.split()[0],
)
def test_commands_for_several_machines_are_understood(block, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    script = f"{STUBS}{textwrap.dedent(block)}"
    if "textgen train" not in block:
        script += "textgen train story.txt --distribute multiworker"
    if "TF_CONFIG" not in block:
        monkeypatch.setenv("TF_CONFIG", tf_config(["here:1", "there:1"], 1))
    said = subprocess.check_output(["bash", "-c", script], text=True)
    config, command = said.split("\ntrain ")
    monkeypatch.setenv("TF_CONFIG", config)
    request = parse_arguments(shlex.split(command), "textgen train")
    assert request.distribute == "multiworker"
    assert len(request.cluster.addresses) == 2


BENCHMARKS = re.findall(r"python\s+-m\s+(benchmarks\.[^`]*)`", EVERYTHING)


@pytest.mark.parametrize("command", sorted({" ".join(x.split()) for x in BENCHMARKS}))
def test_benchmark_commands_are_understood(command, tmp_path, monkeypatch):
    """Of each only the command line is read."""
    module, *words = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    for text in ("tinyshakespeare.txt", "story.txt"):
        (tmp_path / text).touch()
    assert importlib.import_module(module).parse_arguments(words)


def test_files_and_links_in_the_documents_exist():
    paths = re.findall(
        r"(?<![\w/.-])(?:textgen|tests|benchmarks|docs|corpora)/[\w/]+\.\w+", EVERYTHING
    )
    assert len(paths) > 30
    missing = {path for path in paths if not (ROOT / path).exists()}
    assert missing <= {"corpora/verse.txt", "corpora/english.txt"}  # made on demand
    for document, text in DOCUMENTS.items():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", text):
            assert ((ROOT / document).parent / link).exists(), (document, link)


SAMPLES = re.findall(
    r"(?s)```console\n\$ python (.*?)\n(.*?)```", README + DOCUMENTS["models/README.md"]
)


@pytest.mark.parametrize(("command", "output"), SAMPLES)
def test_samples_are_what_the_models_write(command, output, tmp_path):
    assert len(SAMPLES) >= 7
    assert run_script(shlex.split(command), tmp_path).stdout == output


def test_a_sonnet_in_the_documents_is_what_its_command_writes(tmp_path):
    """The first of them; the others are made by the same command."""
    pytest.importorskip("pronouncing")
    document = DOCUMENTS["docs/sonnets.md"]
    (command,) = blocks("sh", document)
    sonnets = dict(
        re.findall(r"## Seed (\d+)\n\n```text\n(.*?)```", document, re.DOTALL)
    )
    assert len(sonnets) == 10
    words = shlex.split(command)[1:]
    seed = words[words.index("--seed") + 1]
    assert run_script(words, tmp_path).stdout == sonnets[seed]
