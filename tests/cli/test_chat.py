"""The conversation, on a real pseudo-terminal."""

import codecs
import contextlib
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

SCRIPT = Path(__file__).parents[2] / "generate.py"
QUESTION = "(/help for more): "
CTRL_C, CTRL_D = "\x03", "\x04"
READLINE_MODES = re.compile(r"\x1b\[\?2004[hl]\r?")


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Where the tests run in the background, it would inherit an ignored Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A process on a terminal of its own, and what it has shown."""

    def __init__(self, *arguments) -> None:
        self._ours, theirs = pty.openpty()
        # Wide enough that readline never wraps a line.
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 50, 500, 0, 0))
        # Ctrl-C discards what a terminal has yet to show, an answer to it too.
        modes = termios.tcgetattr(theirs)
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env=os.environ | {"TERM": "dumb", "LC_ALL": "C.UTF-8"},
        )
        os.close(theirs)
        self._unread = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, expected: str, seconds: float = 30) -> str:
        """Return what is shown up to and with ``expected``."""
        deadline = time.monotonic() + seconds
        while expected not in self._unread:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._ours], [], [], left)[0]
            assert ready, f"expected {expected!r}, but saw {self._unread[-500:]!r}"
            self._unread += self._decode(os.read(self._ours, 65_536))
            self._unread = READLINE_MODES.sub("", self._unread).replace("\r\n", "\n")
        before, self._unread = self._unread.split(expected, 1)
        return before + expected

    def ask(self, line: str) -> str:
        """Type a line at the question; return what is shown before the next one."""
        self.type(line + "\n")
        shown = self.until(QUESTION).removesuffix(QUESTION)
        return shown[shown.index(line) + len(line) + 1 : shown.rindex("Write the")]

    def ctrl_c_at_the_question(self) -> str:
        """Press Ctrl-C until it is asked again; return what is shown before that.

        One that comes after the question is shown and before readline waits for keys
        is seen at the next key only.
        """
        for _ in range(5):
            self.type(CTRL_C)
            with contextlib.suppress(AssertionError):
                return self.until(QUESTION, seconds=10)
        pytest.fail("Ctrl-C at the question has no effect")

    def leave(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            os.close(self._ours)


@pytest.fixture
def open_terminal():
    opened = []

    def open_one(*arguments):
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield open_one
    for terminal in opened:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()


def test_a_conversation(open_terminal, prose_model):
    terminal = open_terminal("--model", prose_model, "--length", 30, "--top-k", 20)
    assert "Write the beginning of a poem, the model will finish it" in terminal.until(
        QUESTION
    )
    assert "seed is 3" in terminal.ask("/seed 3")
    first = terminal.ask("Shall I ")
    assert first.startswith("Shall I ")
    assert len(first) == len("Shall I ") + 30 + 2
    assert terminal.ask("Shall I ") == first
    assert "length is 5" in terminal.ask("/length 5")
    assert terminal.ask("Shall I ") == first[: len("Shall I ") + 5] + "\n\n"
    assert "temperature is 0.2" in terminal.ask("/temperature 0.2")
    assert "top-k is none" in terminal.ask("/top-k none")
    assert "top-k is none" in terminal.ask("/top-k")
    for command in ("temperature", "length", "more", "seed", "quit"):
        assert f"/{command}" in terminal.ask("/help")
    terminal.type("/quit\n")
    assert terminal.leave() == 0


def test_more_goes_on_from_where_it_stopped(open_terminal, prose_model):
    from textgen.generation.batch import completion_seeds
    from textgen.generation.streaming import generate_output

    terminal = open_terminal("--model", prose_model, "--length", 20, "--seed", 7)
    terminal.until(QUESTION)
    assert "nothing to go on from" in terminal.ask("/more")
    seeds = completion_seeds(7)
    text = generate_output(prose_model, "So ", length=20, seed=next(seeds))
    assert terminal.ask("So ") == text + "\n\n"
    for _ in range(2):
        whole = generate_output(prose_model, text, length=20, seed=next(seeds))
        assert terminal.ask("/more") == whole[len(text) :] + "\n\n"
        text = whole
    terminal.type(CTRL_D)
    assert terminal.leave() == 0


def test_ctrl_c_stops_the_completion_only(open_terminal, prose_model):
    terminal = open_terminal("--model", prose_model, "--length", 100_000_000)
    terminal.until(QUESTION)
    terminal.type("So long\n")
    terminal.until("So long\n")
    terminal.until("So long")
    time.sleep(0.2)
    terminal.type(CTRL_C)
    assert "(stopped; Ctrl-D or /quit leaves)" in terminal.until(QUESTION)
    assert "(stopped; Ctrl-D or /quit leaves)" in terminal.ctrl_c_at_the_question()
    terminal.type("/length 4\n")
    terminal.until("length is 4\n")  # two questions came if two of them were seen
    terminal.until(QUESTION)
    assert len(terminal.ask("/more")) == 4 + 2
    terminal.type(CTRL_D)
    assert terminal.leave() == 0


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/temperature hot", "/temperature must be a number, but was 'hot'"),
        ("/temperature -1", "/temperature must be a number of at least 0"),
        ("/temperature nan", "but was nan"),
        ("/length 0", "/length must be a whole number of at least 1"),
        ("/length none", "/length must be a whole number, but was 'none'"),
        ("/seed 1_0", "/seed must be a whole number, but was '1_0'"),
        ("/seed -1", "/seed must be"),
        ("/tempo", "there is no command '/tempo'; /help lists all"),
        ("/", "there is no command '/'"),
    ],
)
def test_bad_values_are_answered_and_the_conversation_goes_on(
    line, answer, monkeypatch, capsys
):
    from fakes import alphabet_model

    from textgen.cli import chat as interactive
    from textgen.config import CompletionConfig

    lines = iter([line, "ab"])
    monkeypatch.setattr(interactive, "ask", lambda question: next_or_end(lines))
    interactive.Conversation(alphabet_model(), CompletionConfig(length=2)).run()
    shown = capsys.readouterr()
    assert answer in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == "abcd\n\n\n"


def next_or_end(lines):
    for line in lines:
        return line
    raise EOFError


def test_slashes_seeds_and_unknown_symbols(open_terminal, prose_model):
    terminal = open_terminal("--model", prose_model, "--length", 3)
    terminal.until(QUESTION)
    assert terminal.ask("//help").startswith("/help")
    assert re.search(r"fresh each time; the last was \d+", terminal.ask("/seed"))
    assert "'é' (folded to 'e')" in terminal.ask("né")
    assert "folded" not in terminal.ask("/more")
    terminal.type("/quit now\n")
    assert terminal.leave() == 0


def test_names(open_terminal, names_model):
    terminal = open_terminal("--model", names_model, "--length", 9, "--seed", 1)
    assert "Write the beginning of a name" in terminal.until(QUESTION)
    name = terminal.ask("tyr")
    assert name.startswith("tyr")
    assert name.endswith("\n\n")
    another = terminal.ask("/more")
    assert another.startswith("tyr")
    assert another != name
    terminal.type(CTRL_D)
    assert terminal.leave() == 0


def test_history_and_line_editing(open_terminal, prose_model):
    pytest.importorskip("readline")
    terminal = open_terminal("--model", prose_model, "--length", 3, "--seed", 1)
    terminal.until(QUESTION)
    first = terminal.ask("So")
    up, left = "\x1b[A", "\x1b[D"
    terminal.type(up + left + "l\n")
    assert "\nSlo" in terminal.until(QUESTION)
    assert first.startswith("So")
    terminal.type(CTRL_D)
    assert terminal.leave() == 0


def test_control_characters_of_the_prompt_do_not_reach_the_terminal(
    open_terminal, prose_model
):
    terminal = open_terminal(
        "--model", prose_model, "--prompt", "\x1b[2Jx", "--length", 3
    )
    assert "\x1b" not in terminal.until("\\x1b[2Jx")
    assert terminal.leave() == 0
