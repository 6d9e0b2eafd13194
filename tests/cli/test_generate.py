"""generate.py as a whole process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from textgen.cli import generate as command
from textgen.errors import OptionError, as_command_line

ROOT = Path(__file__).parents[2]
# Where the tests run in the background, children would inherit an ignored Ctrl-C.
FOREGROUND = (
    {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    if sys.platform != "win32"
    else {}
)
SCRIPT = ROOT / "generate.py"


def generate(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    defaults = {"capture_output": True, "timeout": 600}
    if "input" not in options:
        defaults["stdin"] = subprocess.DEVNULL
    return subprocess.run(command, **(defaults | options))


def assert_one_line_error(result, *expected):
    assert result.returncode == 2
    assert result.stdout == b""
    message = result.stderr.decode().splitlines()[-1]
    assert message.startswith("error: ")
    assert "Traceback" not in result.stderr.decode()
    for part in expected:
        assert part in message


def test_prompt_and_completion_and_nothing_else_on_stdout(prose_model):
    result = generate("--model", prose_model, "--prompt", "Forsooth ", "--seed", 1)
    text = result.stdout.decode()
    assert result.returncode == 0
    assert text.startswith("Forsooth ")
    assert text.endswith("\n")
    assert len(text) == len("Forsooth ") + 400 + 1
    assert result.stderr.decode() == f"model: {str(prose_model)!r}\n"


def test_a_fresh_seed_is_said_and_repeats(prose_model):
    first = generate("--model", prose_model, "--prompt", "x", "--length", 50)
    seed = first.stderr.decode().split("seed: ")[1].strip()
    options = ("--model", prose_model, "--prompt", "x", "--length", 50)
    assert generate(*options, "--seed", seed).stdout == first.stdout
    assert generate(*options).stdout != first.stdout


def test_it_says_what_the_library_says(prose_model):
    from textgen.generation.streaming import generate_output

    options = {"length": 30, "temperature": 1.3, "top_k": 9, "top_p": 0.8, "seed": 4}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
    result = generate("--model", prose_model, "--prompt", "a b", "--stop=q", *flags)
    expected = generate_output(prose_model, "a b", stop="q", **options)
    assert result.stdout.decode() == expected + "\n"


@pytest.mark.parametrize("prompt", ["Forsooth this maketh no sense", "", "x" * 100])
def test_windowed_model_with_and_without_last_space(window_model, prompt):
    for ending in ("", " "):
        result = generate(
            "--model", window_model, "--prompt", prompt + ending, "--length", 20
        )
        text = result.stdout.decode()
        assert text.startswith(prompt + ending)
        assert len(text) == len(prompt + ending) + 21


def test_count_of_names_gives_distinct_lines(names_model):
    options = ("--model", names_model, "--count", 20, "--length", 12, "--seed", 2)
    result = generate(*options)
    names = result.stdout.decode().splitlines()
    assert len(names) == len(set(names)) == 20
    assert generate(*options).stdout == result.stdout
    tyr = generate(*options, "--prompt", "tyr").stdout.decode().splitlines()
    assert len(set(tyr)) == 20
    assert all(name.startswith("tyr") for name in tyr)


def test_count_that_can_not_be_reached_is_said(names_model):
    result = generate("--model", names_model, "--count", 20, "--temperature", 0)
    assert result.returncode == 0
    assert len(result.stdout.decode().splitlines()) == 1
    assert "20 different lines were wanted, but no more than 1" in (
        result.stderr.decode()
    )


def test_count_of_texts_is_parted_by_empty_lines(prose_model):
    options = ("--model", prose_model, "--prompt", "ab", "--length", 9, "--seed", 0)
    text = generate(*options, "--count", 3, "--top-k", 5).stdout.decode()
    objects = generate(*options, "--count", 3, "--top-k", 5, "--jsonl").stdout
    records = [json.loads(line) for line in objects.splitlines()]
    texts = [record["prompt"] + record["completion"] for record in records]
    assert text == "\n\n".join(texts) + "\n"
    assert len({record["seed"] for record in records}) == 3
    alone = generate(*options[:-1], records[2]["seed"], "--top-k", 5).stdout.decode()
    assert alone == texts[2] + "\n"


def test_each_line_of_standard_input_is_a_prompt(prose_model):
    options = ("--model", prose_model, "--length", 8, "--seed", 0)
    lines = b"\xef\xbb\xbfone \r\n\ntwo\nlast"
    result = generate(*options, "--stop", "\n", input=lines)
    blocks = result.stdout.decode().split("\n\n")
    assert result.returncode == 0
    assert blocks.pop() == ""
    prompts = ["one ", "", "two", "last"]
    assert len(blocks) == 4
    assert all(b.startswith(p) for b, p in zip(blocks, prompts, strict=True))
    objects = generate(*options, "--stop", "\n", "--jsonl", input=lines).stdout
    records = [json.loads(line) for line in objects.splitlines()]
    assert [record["prompt"] for record in records] == prompts
    assert [r["prompt"] + r["completion"] for r in records] == blocks
    assert records[0]["seed"] == 0
    assert generate(*options, input=b"").stdout == b""


def test_a_line_is_answered_before_the_next_comes(prose_model):
    command = [sys.executable, str(SCRIPT), "--model", str(prose_model), "--jsonl"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        for prompt in (b"one", b"two"):
            process.stdin.write(prompt + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["prompt"] == prompt.decode()
        process.stdin.close()
        assert process.wait(30) == 0


def test_bytes_that_are_not_utf8_are_unknown_symbols(prose_model):
    result = generate("--model", prose_model, "--length", 5, input=b"a\xff\xfeb\n")
    assert result.returncode == 0
    assert result.stdout.startswith(b"a\xff\xfeb")
    assert b"byte 0xff (skipped)" in result.stderr
    json_result = generate(
        "--model", prose_model, "--length", 5, "--jsonl", input=b"a\xff\n"
    )
    # Lone surrogates are JSON that many readers refuse.
    assert json.loads(json_result.stdout)["prompt"] == "a\ufffd"
    assert json_result.stdout.isascii()


@pytest.mark.skipif(sys.platform == "win32", reason="needs arguments of bytes")
def test_an_argument_that_is_not_utf8_comes_out_as_it_went_in(prose_model):
    # A byte of Latin-1, a surrogate as UTF-8 would write it, a symbol cut short.
    prompt = b"a\xe9 \xed\xa0\x80\xf0\x9f"
    options = ("--model", prose_model, "--length", "5", "--seed", "1", "--prompt")
    command = [sys.executable, str(SCRIPT), *map(os.fsencode, options), prompt]
    result = subprocess.run(command, capture_output=True, timeout=600)
    assert result.returncode == 0
    assert result.stdout.startswith(prompt)
    assert len(result.stdout) == len(prompt) + 6
    assert b"byte 0xe9 (skipped)" in result.stderr
    refused = subprocess.run([*command, "--strict"], capture_output=True, timeout=600)
    assert_one_line_error(refused, "byte 0xe9", "byte 0xed")


def test_nul_on_standard_input_is_a_symbol_like_others(prose_model):
    options = ("--model", prose_model, "--length", 5, "--seed", 1)
    result = generate(*options, input=b"a\0b\0\n\0")
    first, second, rest = result.stdout.split(b"\n\n")
    assert (first[:4], len(first), second[:1], len(second)) == (b"a\0b\0", 9, b"\0", 6)
    assert rest == b""
    assert result.stderr.count(rb"'\x00' (skipped)") == 2
    objects = generate(*options, "--jsonl", input=b"a\0b\0\n\0").stdout
    prompts = [json.loads(line)["prompt"] for line in objects.splitlines()]
    assert prompts == ["a\0b\0", "\0"]


@pytest.mark.parametrize("option", ["--corpus", "--model", "--temperature", "--oops"])
def test_a_whole_text_in_the_wrong_place_is_not_repeated(option):
    text = "Shall I compare thee\n\x1b[2J" * 4_000
    result = generate(option, text, "--length", 5)
    assert_one_line_error(result, r"thee\n\x1b")
    assert len(result.stderr) < 1500


@pytest.mark.skipif(sys.platform == "win32", reason="needs a C locale")
def test_a_prompt_is_utf8_in_any_locale_and_a_path_what_it_is(make_model_file):
    path = make_model_file("é", "text", "\nacfé")
    environment = {"LC_ALL": "C"}
    options = ("--model", path, "--length", 3, "--seed", 1, "--strict", "--jsonl")
    results = [
        generate(*options, "--prompt", "café", "--stop", "é", env=os.environ | changes)
        for changes in ({}, environment)
    ]
    assert json.loads(results[1].stdout)["prompt"] == "café"
    assert results[0].stdout == results[1].stdout


def test_model_and_corpus_at_once_are_refused(prose_model):
    result = generate("--model", prose_model, "--corpus", "dinos", "--prompt", "x")
    assert_one_line_error(result, "--corpus: not allowed with argument --model")


def test_a_model_of_ones_own_is_said_to_hide_the_pretrained_one(prose_model, tmp_path):
    (tmp_path / "models").mkdir()
    shutil.copy(prose_model, tmp_path / "models" / "sonnets.h5")
    said = generate("--prompt", "x", "--length", 1, "--seed", 1, cwd=tmp_path).stderr
    own = f"model: {str(Path('models', 'sonnets.h5'))!r}, not the one that comes with"
    assert said.decode().startswith(own)
    assert said.decode().endswith("sonnets-pretrained.h5'\n")


def test_a_megabyte_on_standard_input(prose_model):
    prompt = b"So long lives this " * 55_000
    start = time.perf_counter()
    result = generate("--model", prose_model, "--length", 5, input=prompt + b"\n")
    assert result.stdout.startswith(prompt)
    assert len(result.stdout) == len(prompt) + 7
    assert time.perf_counter() - start < 30


def test_unknown_symbols_are_one_line_and_strict_refuses(prose_model):
    options = ("--model", prose_model, "--prompt", "Café ☃", "--length", 5)
    result = generate(*options)
    assert result.returncode == 0
    assert result.stdout.decode().startswith("Café ☃")
    (note,) = [
        line for line in result.stderr.decode().splitlines() if "never seen" in line
    ]
    assert "'é' (folded to 'e')" in note
    assert "'☃' (skipped)" in note
    assert_one_line_error(generate(*options, "--strict"), "'é'", "'☃'")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--length", "0"),
        ("--length", "-3"),
        ("--length", "1e15"),
        ("--length", "1000000000000000"),
        ("--length", "ten"),
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--temperature", "inf"),
        ("--temperature", "hot"),
        ("--top-k", "0"),
        ("--top-p", "0"),
        ("--top-p", "nan"),
        ("--top-p", "2"),
        ("--seed", "-1"),
        ("--seed", "4294967296"),
        ("--count", "0"),
        ("--count", "1e15"),
        ("--count", "1000000000000000"),
    ],
)
def test_nonsense_numbers_are_one_line(arguments, capsys):
    # In this process, which is a hundred times faster than a new one for each.
    with pytest.raises(OptionError) as caught:
        command.parse_arguments(["--prompt", "x", *arguments], "generate.py")
    message = as_command_line(str(caught.value))
    assert message.startswith(f"{arguments[0]} must be ")
    assert arguments[1].lstrip("-")[:9] in message.replace("_", "")
    assert "\n" not in message
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--temperature", "nan"),
        ("--stop", ""),
        ("--nonsense",),
        ("stray\x1b",),
        ("--length",),
        ("--model", "missing.h5"),
        ("--corpus", "no-such-corpus"),
    ],
)
def test_errors_are_one_line_and_status_2(arguments):
    result = generate("--prompt", "x", *arguments)
    assert_one_line_error(result)
    assert len(result.stderr.splitlines()) == 1
    assert b"\x1b" not in result.stderr


@pytest.mark.parametrize("content", [b"", b"\x00random" * 99, b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_is_no_model_is_one_line(tmp_path, content):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    assert_one_line_error(generate("--model", path, "--prompt", "x"), "model.h5")


def test_help_is_documentation():
    result = generate("--help")
    assert result.returncode == 0
    text = result.stdout.decode()
    for option in ("model", "corpus", "prompt", "length", "top-p", "seed", "jsonl"):
        assert f"--{option}" in text
    assert "(default: 400)" in text
    assert "generate.py --corpus dinos --count 20" in text


def test_tensorflow_is_never_imported(prose_model, tmp_path):
    trap = tmp_path / "trap"
    for name in ("tensorflow", "keras"):
        (trap / name).mkdir(parents=True)
        (trap / name / "__init__.py").write_text("raise SystemExit('imported')")
    paths = os.pathsep.join([str(trap), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    result = generate("--model", prose_model, "--prompt", "x", env=environment)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX resource usage")
def test_first_character_takes_less_than_a_second(prose_model):
    """Of processor time: other work on the machine is not what is measured.

    A slow machine may take four times as long as for the libraries that it needs;
    TensorFlow alone takes more than ten times as long.
    """
    import resource

    def spent_s():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before_s = spent_s()
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "import numpy, h5py"]
    subprocess.run(command, check=True, env=one_thread)
    libraries_s = spent_s() - before_s
    result = generate("--model", prose_model, "--prompt", "", "--length", 1)
    assert len(result.stdout) == 2
    took_s = spent_s() - before_s - libraries_s
    assert 0 < took_s < max(1, 4 * libraries_s)


def test_a_reader_that_has_had_enough_is_no_error(prose_model):
    command = [sys.executable, str(SCRIPT), "--model", str(prose_model)]
    command += ["--prompt", "x", "--length", "100000000", "--seed", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(100)
        process.stdout.close()
        assert process.wait(30) == 0
        assert len(process.stderr.read().splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_is_status_130(prose_model):
    command = [sys.executable, str(SCRIPT), "--model", str(prose_model)]
    command += ["--prompt", "x", "--length", "100000000", "--seed", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **FOREGROUND
    ) as process:
        process.stdout.read(100)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 130
        assert process.stderr.read().splitlines()[-1] == b"interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_while_it_starts_shows_no_traceback(tmp_path):
    """Some way into the imports: at a library that says so, and takes its time."""
    slow = "import os, time\nos.write(2, b'importing\\n')\ntime.sleep(60)"
    (tmp_path / "numpy.py").write_text(slow)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(SCRIPT), "--prompt", "x"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
        **FOREGROUND,
    ) as process:
        assert process.stderr.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert out == b""
    assert err == b""
