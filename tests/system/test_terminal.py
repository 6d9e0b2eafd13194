import io
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import OptionError
from textgen.system.terminal import (
    LossyStream,
    Parser,
    lines_from,
    number,
    one_line,
    printable,
    tell,
    whole_number,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\rb\x00\x1b[2J\x9b", r"a\rb\x00\x1b[2J\x9b"),
        ("\u200ea\u200fb\u061cc\u206a\u206f", r"\u200ea\u200fb\u061cc\u206a\u206f"),
        ("👩‍👧🏽 e\u0301 אב\u05b8 \ufeff☃\n\t", "👩‍👧🏽 e\u0301 אב\u05b8 \ufeff☃\n\t"),
        ("\udcff", r"\udcff"),
    ],
)
def test_printable_escapes_what_steers_a_terminal(text, shown):
    assert printable(text) == shown
    assert one_line(text) == shown.replace("\n", r"\n")


def test_nothing_is_left_that_steers_by_unicodes_own_properties():
    left = set(printable("".join(map(chr, range(0x110000)))))
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    steering = {x for x in left if unicodedata.category(x) in {"Cc", "Cs", "Zl", "Zp"}}
    steering |= {x for x in left if unicodedata.bidirectional(x) in turning}
    assert steering == {"\n", "\t"}
    assert len(left) > 0x10F000  # and everything else is


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_one_line_has_no_line_break_of_any_kind(text):
    assert len(one_line(text).splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"", []), (b"\n", [""]), (b"a\nb", ["a", "b"]), (b"a\r\nb\r", ["a", "b"]),
     (b"a\r\r\n b \n\n", ["a\r", " b ", ""]),
     (b"a\rb\x0b\x85\xe2\x80\xa8\0c", ["a\rb\x0b\udc85\u2028\0c"]),
     (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
     (b"\xef\xbb\xbf\xef\xbb\xbf", ["\ufeff"]), (b"\xef\xbb\xbf", []),
     (b"\xef\xbb\xbf\n", [""]), (b"\xef\xbb", ["\udcef\udcbb"]),
     (b"\xef", ["\udcef"])],
)  # fmt: skip
def test_lines_from_a_stream(data, lines):
    stream = io.TextIOWrapper(
        io.BytesIO(data), encoding="utf-8", errors="surrogateescape", newline="\n"
    )
    assert list(lines_from(stream)) == lines


def small_parser() -> Parser:
    parser = Parser("What it does.\n", instead={"--size": "--length"})
    parser.add_argument("--length", type=whole_number)
    group = parser.add_argument_group("others")
    group.add_argument("--heat", type=number)
    group.add_argument("--model", action="append")
    return parser


def test_parser_reads_values_and_lists():
    line = ["--length", "5", "--model", "a", "--heat", "5e-1", "--model", "b"]
    given = small_parser().parse_args(line)
    assert (given.length, given.heat, given.model) == (5, 0.5, ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--length", "1e15"], "--length must be a whole number, but was '1e15'"),
     (["--length", "9" * 9999], "--length must be a whole number, but was '9999"),
     (["--heat", "x\n"], r"--heat must be a number, but was 'x\\n'"),
     (["--leng", "5"], "unrecognized arguments: --leng 5"),
     (["--length"], "--length: expected one argument"),
     (["--heat", "1", "--heat", "1"], "--heat must be given once, but came again"),
     (["--length", "-x"], "a dash is given as --length=-…"),
     (["expected one argument"], r"arguments: expected one argument \("),
     (["a\n\x1b[2J", "b"], r"unrecognized arguments: a\\n\\x1b\[2J b"),
     (["--size", "5"], r"--size 5: did you mean --length\? \("),
     (["x" * 100_000], r"unrecognized arguments: x+ \.\.\. \(")],
)  # fmt: skip
def test_parser_raises_one_line(arguments, expected):
    parser = small_parser()
    with pytest.raises(OptionError, match=expected) as caught:
        parser.parse_args(arguments)
    assert len(str(caught.value)) < 400


def run_main(body: str, **options) -> subprocess.CompletedProcess:
    script = f"""
import os, sys
from textgen.errors import OptionError
from textgen.system import terminal
from textgen.system.terminal import print_result, run, say
def main():
    {body}
run(main)
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([sys.executable, "-c", script], **(pipes | options))


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("print('é☃')", 0, ""),
        (r"raise OptionError('`seq_length` is\n')", 2, "error: --window is\\n"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise terminal.Terminated", 143, "interrupted"),
        ("raise terminal.HungUp", 129, "interrupted"),
        ("raise ZeroDivisionError", 1, "Traceback"),  # a defect
        ("bytes(1 << 62)", 2, "error: there is not enough memory"),
        ("open('/nowhere/x')", 2, "error: can't read or write '/nowhere/x': No such"),
    ],
)
def test_exit_statuses_and_messages(body, status, message):
    result = run_main(body)
    assert result.returncode == status
    assert result.stderr.decode().startswith(message)
    assert status == 1 or result.stderr.count(b"\n") == bool(message)


def test_closed_streams_are_no_traceback():
    result = run_main("say('told'); print('made')", preexec_fn=lambda: os.close(2))
    assert (result.returncode, result.stdout) == (0, b"made\n")
    result = run_main("print('made')", preexec_fn=lambda: os.close(1))
    assert result.returncode == 2
    assert b"standard output is closed" in result.stderr


def test_streams_are_utf8_in_any_locale_and_bytes_survive():
    result = run_main(
        "sys.stdout.write(sys.stdin.read() + chr(0x2603))",
        input=b"\xffa\r\n\xc3\xa9\0",
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert result.stdout == b"\xffa\r\n\xc3\xa9\0" + "☃".encode()
    assert result.stderr == b""


def test_a_lone_carriage_return_ends_no_line():
    as_windows = "sys.stdin = __import__('io').TextIOWrapper(sys.stdin.detach())"
    script = "import sys; from textgen.system.terminal import run; "
    script += f"{as_windows}; run(lambda: print(list(sys.stdin)))"
    command = [sys.executable, "-c", script]
    printed = subprocess.check_output(command, input=b"a\rb\r\nc")
    assert printed.decode().strip() == r"['a\rb\r\n', 'c']"


# Streams that nobody takes


def broken_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def full_disk():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    return open("/dev/full", "wb")


def test_a_reader_that_has_had_enough_is_no_error():
    with broken_pipe() as closed:
        result = run_main("print('x' * 100_000)", stdout=closed)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_full_disk_is_one_line():
    with full_disk() as stdout:
        result = run_main("print('x')", stdout=stdout)
    assert (result.returncode, result.stderr.count(b"\n")) == (2, 1)
    assert b"the standard streams: No space" in result.stderr


@pytest.mark.parametrize("make", [broken_pipe, full_disk])
def test_messages_that_nobody_takes_change_no_status(make):
    """Nor does what is left of them in a buffer, for which Python leaves with 120."""
    with make() as stderr:
        result = run_main("say('told'); print('made')", stderr=stderr)
        assert (result.returncode, result.stdout) == (0, b"made\n")
        result = run_main("say('told'); raise KeyboardInterrupt", stderr=stderr)
        assert result.returncode == 130


@pytest.mark.parametrize(
    ("make", "said"), [(broken_pipe, b""), (full_disk, b"a.h5 (standard output can't")]
)
def test_finished_work_whose_last_line_nobody_takes_is_done(make, said):
    with make() as stdout:
        result = run_main("print_result('a.h5')", stdout=stdout)
        assert result.returncode == 0
        assert result.stderr.startswith(said)
        assert result.stderr.count(b"\n") == bool(said)
        stopped = "print_result('a.h5'); raise terminal.HungUp"
        assert run_main(stopped, stdout=stdout).returncode == 129


@pytest.mark.parametrize("make", [broken_pipe, full_disk])
def test_a_lossy_stream_never_fails(make):
    target = io.TextIOWrapper(make())
    stream = LossyStream(target)
    for _ in range(3):
        print("x" * 10_000, file=stream, flush=True)
    assert stream.isatty() is False
    stream.write("left in the buffer")
    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
    target.close()
    print("into a closed file", file=stream, flush=True)
    print("to nowhere", file=LossyStream(None), flush=True)


def test_a_lossy_stream_writes_what_can_be(tmp_path):
    with open(tmp_path / "log", "w", encoding="ascii") as file:
        print("step 1 …", file=LossyStream(file), flush=True)
        assert (tmp_path / "log").read_bytes() == b"step 1 \\u2026\n"


def test_a_note_is_wrapped_at_words_on_a_terminal_and_whole_elsewhere(
    monkeypatch, capsys
):
    words = ["word", "another-word", "x" * 50] * 9
    line = " ".join(words)
    tell(line)
    assert capsys.readouterr().err == line + "\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tell(line)  # a terminal that doesn't say how wide it is
    wrapped = capsys.readouterr().err
    assert wrapped.split() == words
    assert max(map(len, wrapped.split("\n"))) <= 80
    tell(line, wrap=False)
    tell("two  spaces and one behind ")
    assert capsys.readouterr().err == f"{line}\ntwo  spaces and one behind \n"
