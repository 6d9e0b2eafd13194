"""The conversation: what is said in it, and how it is on a real pseudo-terminal."""

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
from unittest.mock import Mock

import pytest
from fakes import alphabet_model, whimsical_model

from textgen.cli import chat
from textgen.config import CompletionConfig
from textgen.generation.batch import completion_seeds
from textgen.generation.streaming import generate_output
from textgen.saving.model_file import load_model

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

    def leave(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            os.close(self._ours)


@pytest.fixture
def open_terminal():
    with contextlib.ExitStack() as stack:

        def open_one(*arguments):
            terminal = Terminal(*arguments)
            stack.callback(terminal.process.kill)
            return terminal

        yield open_one


@pytest.fixture
def talk(monkeypatch, capsys):
    """Return a function that types lines at a conversation, and gives its answers."""

    def talk_about(model, *lines, seed=None, **options):
        monkeypatch.setattr(chat, "ask", Mock(side_effect=[*lines, EOFError]))
        chat.Conversation(model, CompletionConfig(**options), seed=seed).run()
        return capsys.readouterr()

    return talk_about


def test_settings_are_changed_and_shown(talk, prose_model):
    lines = [
        "/seed 3", "Shall I ", "Shall I ", "/length 5", "Shall I ", "/temperature 0.2",
        "/top-k 20", "/top-k none", "/top-k", "/help", "/quit now", "not read",
    ]  # fmt: skip
    shown = talk(load_model(prose_model), *lines, length=30, top_k=7)
    first, second, short, rest = shown.out.split("\n\n")
    assert first == second == generate_output(
        prose_model, "Shall I ", length=30, top_k=7, seed=3
    )  # fmt: skip
    assert (short, rest) == (first[: len("Shall I ") + 5], "")
    told = shown.err.splitlines()
    assert told[:3] == ["seed is 3", "length is 5", "temperature is 0.2"]
    assert told[3:6] == ["top-k is 20", "top-k is none", "top-k is none"]
    for command in chat.COMMANDS[1:]:
        assert re.search(rf"^/{command} ", shown.err, re.MULTILINE)


def test_more_goes_on_from_where_it_stopped(talk):
    model, seeds = whimsical_model("abcdef"), completion_seeds(7)
    shown = talk(model, "/more", "abc", "/more", "/more", length=20, seed=7)
    assert "nothing to go on from" in shown.err
    text = "abc"
    for piece in shown.out.split("\n\n")[:3]:
        whole = generate_output(model, text, length=20, seed=next(seeds))
        assert piece == (whole if text == "abc" else whole[len(text) :])
        text = whole


def test_more_of_names_is_another_one(talk, names_model):
    shown = talk(load_model(names_model), "tyr", "/more", length=9, seed=1)
    first, second, _ = shown.out.split("\n\n")
    assert first[:3] == second[:3] == "tyr"
    assert first != second


def test_slashes_seeds_and_unknown_symbols(talk, prose_model):
    model = load_model(prose_model)
    assert talk(model, "//help", length=3).out.startswith("/help")
    shown = talk(model, "/seed", "So", "/seed", "/seed 5", "/seed none")
    assert re.fullmatch(
        r"seed is fresh each time\nseed is fresh each time; the last was \d+\n"
        r"seed is 5\nseed is fresh each time; the last was \d+\n",
        shown.err,
    )
    with pytest.warns(UserWarning, match="'é' \\(folded to 'e'\\)") as told:
        talk(model, "né", "/more")
    assert len(told) == 1


@pytest.mark.parametrize(
    ("line", "answer"),
    [("/temperature hot", "/temperature must be a number, but was 'hot'"),
     ("/temperature -1", "/temperature must be a number of at least 0"),
     ("/length none", "/length must be a whole number, but was 'none'"),
     ("/top-k 0", "/top-k must be a whole number of at least 1"),
     ("/seed 1.5", "/seed must be a whole number, but was '1.5'"),
     ("/seed -1", "/seed must be"), ("/", "there is no command '/'"),
     ("/temprature", "no command '/temprature': did you mean /temperature?")],
)  # fmt: skip
def test_bad_values_are_answered_and_the_conversation_goes_on(talk, line, answer):
    shown = talk(alphabet_model(), line, "ab", length=2)
    assert answer in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == "abcd\n\n\n"


# On a terminal


def test_it_asks_completes_and_asks_again_until_ctrl_d(open_terminal, prose_model):
    pytest.importorskip("readline")
    terminal = open_terminal("--model", prose_model, "--length", 3, "--seed", 1)
    question = "Write the beginning of a poem, the model will finish it "
    assert question in terminal.until(QUESTION)
    assert re.fullmatch("(?s)So.{3}\n\n", terminal.ask("So"))
    up, left = "\x1b[A", "\x1b[D"
    terminal.type(up + left + "l\n")  # it has a history and can be edited
    assert "\nSlo" in terminal.until(QUESTION)
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
    # One that comes before readline waits for keys is seen at the next key only.
    for _ in range(5):
        terminal.type(CTRL_C)
        with contextlib.suppress(AssertionError):
            assert "(stopped; " in terminal.until(QUESTION, seconds=10)
            break
    else:
        pytest.fail("Ctrl-C at the question has no effect")
    terminal.type("/length 4\n")
    terminal.until("length is 4\n")  # two questions came if two of them were seen
    terminal.until(QUESTION)
    assert len(terminal.ask("/more")) == 4 + 2
    terminal.type("/quit\n")
    assert terminal.leave() == 0
