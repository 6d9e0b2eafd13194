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
from dataclasses import fields
from itertools import islice
from pathlib import Path
from unittest.mock import Mock

import pytest
from fakes import alphabet_model, whimsical_model
from keras_fixtures import keras_2_lstm, mapped, write_archive

from textgen.cli import chat, picking
from textgen.config import CompletionConfig
from textgen.errors import OptionError
from textgen.generation.batch import completion_seeds, generate_many
from textgen.generation.continuations import continuations
from textgen.generation.streaming import generate_output
from textgen.saving.find_model import pretrained
from textgen.saving.model_file import load_model

pty = pytest.importorskip("pty")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

SCRIPT = Path(__file__).parents[2] / "generate.py"
QUESTION = "(/help for more): "
CTRL_C, CTRL_D = "\x03", "\x04"
MARK_PASTES = "\x1b[?2004h"
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
        self.marks_pastes = False  # whether it was asked to mark what is pasted
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
            self.marks_pastes |= MARK_PASTES in self._unread
            self._unread = READLINE_MODES.sub("", self._unread).replace("\r\n", "\n")
        before, self._unread = self._unread.split(expected, 1)
        return before + expected

    def ask(self, line: str, question: str = "\n> ") -> str:
        """Type a line at the question; return what is shown before the next one."""
        self.type(line + "\n")
        shown = self.until(question).removesuffix(question.lstrip("\n"))
        return shown[shown.index(line) + len(line) + 1 :]

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
        monkeypatch.setattr(chat, "ask", Mock(side_effect=[*lines, *[EOFError] * 2]))
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
        assert re.search(rf"^/(.*, /)?{command}\b", shown.err, re.MULTILINE)
    assert shown.err.count("\n") < 80


def test_more_goes_on_from_where_it_stopped(talk):
    model, seeds = whimsical_model("abcdef"), completion_seeds(7)
    shown = talk(model, "/more", "abc", "/more", "/more", length=20, seed=7)
    assert "no text yet" in shown.err
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
    [("/temperature hot", "/temperature must be a number"),
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


def test_every_option_of_a_completion_is_a_setting(talk):
    model = alphabet_model()
    for each in fields(CompletionConfig):
        if "setting" in each.metadata:
            name = each.name.replace("_", "-")
            assert f"/{name} " in talk(model, "/help").err
            assert talk(model, f"/{name}").err.startswith(f"{name} is ")
    told = talk(model, "/strict on", "abx", "/strict off", r"/stop d\n", "/stop none")
    assert "'x'" in told.err
    assert told.out == "\n"
    settings = [line for line in told.err.splitlines() if " is " in line]
    assert settings == [
        "strict is on", "strict is off", r"stop is 'd\n'", "stop is none"
    ]  # fmt: skip
    assert talk(model, r"/stop e\n", "/stop f", "ab").out == "abcde\n\n\n"


def test_the_options_of_samplers_are_settings(talk):
    model = whimsical_model("abcdef")
    lines = ["/temperature 0.4,0.8", "/repetition-penalty 1.5", "/min-p 0.1", "ab"]
    shown = talk(model, *lines, length=30, seed=3)
    options = {"temperature": (0.4, 0.8), "repetition_penalty": 1.5, "min_p": 0.1}
    expected = generate_output(model, "ab", length=30, seed=3, **options)
    assert shown.out == f"{expected}\n\n\n"
    assert shown.err.startswith("temperature is 0.4,0.8\nrepetition-penalty is 1.5\n")
    refused = talk(model, "/top-k 3", "/beam 4", "/beam none", "/temperature none").err
    assert "/beam takes the place of /top-k" in refused
    assert "/temperature must be a number" in refused


def test_what_belongs_to_the_command_is_told(talk):
    said = talk(whimsical_model("abc"), "/form couplet", "/ends-with don").err
    assert "there is no /form here: give --form to the command" in said
    assert "give --ends-with to the command" in said


def test_a_beam_search_gives_the_likeliest_and_picking_draws(talk):
    model = whimsical_model("ab \n")
    shown = talk(model, "/beam 4", "/count 2", "ab", "/count 9", "/pick 4", "/more")
    first, _ = generate_many(model, ["ab"] * 2, beam=4)
    assert first.text in shown.out
    assert "/count must be at most /beam" in shown.err
    assert len(offers(shown.err)) >= 4


def test_count_makes_several_and_more_goes_on_from_one_of_them(talk):
    model, seeds = whimsical_model("abcdef"), completion_seeds(7)
    lines = ["/more 2", "/count 3", "abc", "/more 2", "/more 4"]
    shown = talk(model, *lines, length=5, seed=7)
    first = generate_many(model, ["abc"] * 3, length=5, seed=next(seeds))
    texts = [each.prompt + each.text for each in first]
    more = generate_many(model, [texts[1]] * 3, length=5, seed=next(seeds))
    answers = ["\n\n".join(texts), "\n\n".join(each.text for each in more)]
    assert shown.out == "".join(f"{answer}\n\n" for answer in answers) + "\n"
    assert "no text yet" in shown.err
    assert "there is no 4, but 1 to 3" in shown.err


def test_several_names_differ_and_too_few_are_said(talk):
    model = alphabet_model(kind="lines")
    shown = talk(model, "/count 2", "ab", "/more", "/more 1")
    assert shown.out == "abcdef\n\n" * 3 + "\n"
    assert shown.err.count("no more than 1 came; a higher /temperature") == 3


@pytest.mark.filterwarnings("ignore:the model has never seen")
@pytest.mark.parametrize("word", ["/quit", "/exit", "/q", "/q now"])
def test_words_that_leave(talk, word):
    assert talk(alphabet_model(), word, "ab", length=2).out == ""
    assert talk(alphabet_model(), f"/{word}", length=2).out.startswith(word)


def test_after_the_first_question_a_short_one_is_asked(monkeypatch):
    asked = Mock(side_effect=["ab", "/help", KeyboardInterrupt, EOFError])
    monkeypatch.setattr(chat, "ask", asked)
    chat.Conversation(alphabet_model(), CompletionConfig(length=2)).run()
    (first,), *others = [call.args for call in asked.call_args_list]
    assert first.endswith(QUESTION)
    assert others == [("> ",)] * 3


@pytest.mark.filterwarnings("ignore:the model has never seen")
def test_a_pasted_text_is_a_beginning_whatever_it_begins_with(talk):
    model = alphabet_model("\n/abcd")
    shown = talk(model, "/quit\na", "//b\na", "/more\n", length=1)
    assert shown.out == "/quit\nab\n\n//b\nab\n\nc\n\n\n"


# Picking


def offers(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(?m)^  (\d)  .{7} %  (.*)$", text)


def test_a_number_takes_what_is_offered_and_undo_takes_it_back(talk):
    model, config = whimsical_model("ab \n"), CompletionConfig()
    lines = ["/pick 3", "ab", "2", "/undo", "9", "/undo", "3", "/pick none", "/q"]
    shown = talk(model, *lines, seed=4)
    seeds = completion_seeds(4)
    first = continuations(model, "ab", 24, next(seeds), config)[:3]
    second = continuations(model, "ab" + first[1].text, 24, next(seeds), config)[:3]
    asked = [
        [(str(i), each.text.replace("\n", "\\n")) for i, each in enumerate(found, 1)]
        for found in (first, second, first, first, first)
    ]
    assert offers(shown.err)[:15] == [each for found in asked for each in found]
    assert "expected a number of 1 to 3, but received '9'" in shown.err
    assert "there is nothing to take back" in shown.err
    assert shown.out == f"ab{first[2].text}\n\n"


def test_the_offers_in_the_manual_are_what_is_shown(talk):
    guide = (SCRIPT.parent / "docs/guide.md").read_text()
    (expected,) = re.findall(
        r"(?s)```console\n(Shall I compare\n  1 .*?)1-5 takes", guide
    )
    shown = talk(
        load_model(pretrained("sonnets")), "/pick 5", "Shall I compare", seed=3
    )
    received = shown.err[shown.err.index("Shall") : shown.err.index("(picking")]
    assert re.sub(" +\n", "\n", received) == expected


def test_enter_draws_and_words_are_added_as_they_are(talk):
    model = whimsical_model("ab \n")
    shown = talk(model, "/pick", "ab", "", " ba", "/more", length=4, seed=4)
    seeds = list(islice(completion_seeds(4), 5))
    (drawn,) = continuations(model, "ab", 1, seeds[1], CompletionConfig())
    text = f"ab{drawn.text} ba"
    whole = generate_output(model, text, length=4, seed=seeds[4])
    assert shown.out == f"{whole}\n\n\n\n"
    assert "(picking ends; Ctrl-D or /quit leaves)" in shown.err


def test_what_ends_a_line_ends_the_picking_of_it(talk):
    model = alphabet_model(kind="lines")
    shown = talk(model, "/pick", "ab", "1", "/undo", "", "cd", "1", "/pick 10", "/q")
    assert shown.out == "abcdef\n\n" * 2 + "cdef\n\n"
    assert shown.err.count("100 %  cdef (ends)") == 2
    assert "/pick must be a whole number of at least 1 and at most 9" in shown.err


def test_pick_again_offers_others_and_another_temperature_too(talk):
    model = whimsical_model("ab \n")
    shown = talk(model, "ab", "/undo", "/pick 9", "/pick 9", "/temperature 9", seed=1)
    first, again, bold = (offers(shown.err)[i : i + 9] for i in (0, 9, 18))
    assert first != again != bold != first


@pytest.mark.parametrize("error", [KeyboardInterrupt, OptionError("no text is such")])
def test_what_fails_or_is_stopped_while_offers_are_drawn_ends_picking(
    talk, monkeypatch, error
):
    model = alphabet_model()
    monkeypatch.setattr(picking, "continuations", Mock(side_effect=error))
    shown = talk(model, "/pick", "ab", "cd", length=2)
    assert shown.out.replace("\n", "") == "abcdef"
    expected = "stopped" if error is KeyboardInterrupt else "no text is such"
    assert expected in shown.err


# Files and models


def test_texts_are_saved_beside_each_other_and_grow(talk, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lines = [
        "/save a.txt", "/save", "ab", "/save a.txt", "/more", "/save a.txt", "cd",
        "/save a.txt", "/undo", "/save a.txt", "/save b.txt", "/undo",
    ]  # fmt: skip
    told = talk(alphabet_model(), *lines, length=2).err
    assert told.count("no text yet") == 1
    assert "/save needs the name of a file" in told
    assert "there is nothing to take back" in told
    assert Path("a.txt").read_text() == "abcdef\n\ncd\n"
    assert Path("b.txt").read_text() == "cd\n"
    assert sorted(os.listdir()) == ["a.txt", "b.txt"]


def test_of_several_names_all_are_saved_one_a_line(talk, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = whimsical_model("\nabc", kind="lines")
    lines = ["/count 3", "ab", "/save ~/my names", "c", "/save ~/my names"]
    shown = talk(model, *lines, length=9)
    saved = (tmp_path / "my names").read_text()
    assert saved.splitlines() == shown.out.split()
    assert len(set(saved.splitlines())) == 6


def test_no_file_is_overwritten_that_holds_anything_else(talk, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("other.txt").write_text("mine")
    Path("folder").mkdir()
    Path("link").symlink_to("other.txt")
    model = alphabet_model()
    for name, problem in {
        "other.txt": "'other.txt' holds something else already: choose another name",
        "folder": "'folder' holds something else",
        "link": "'link' holds something else",
        "no/where.txt": "No such file or directory",
        "a\0b": "is no name of a file",
    }.items():
        told = talk(model, "ab", f"/save {name}").err
        assert problem in told
        assert told.count("\n") == 1
    assert Path("other.txt").read_text() == "mine"

    lines = iter(["ab", "/save s.txt", "", "/save s.txt"])

    def ask_and_edit(question):
        line = next(lines, "/q")
        if not line:
            Path("s.txt").write_text("edited")
        return line

    monkeypatch.setattr(chat, "ask", ask_and_edit)
    chat.Conversation(model, CompletionConfig(length=2)).run()
    assert Path("s.txt").read_text() == "edited"


def test_another_model_goes_on_with_the_same_text_and_settings(
    talk, prose_model, names_model
):
    lines = ["Ab", f"/model {names_model}", "/more", "/model", "/length", "/model x"]
    with pytest.warns(UserWarning, match="'A' \\(folded to 'a'\\)"):
        shown = talk(load_model(prose_model), *lines, "/more", length=3, seed=1)
    first, second, third, _ = shown.out.split("\n\n")
    assert shown.err.count(f"model: {str(names_model)!r}") == 2
    assert "expected a model for 'x'" in shown.err
    assert "file as /model" in shown.err
    assert "length is 3" in shown.err
    assert first[:2] == "Ab"
    assert len(second) == 3
    assert third.startswith("Ab")  # a name: another completion of the beginning


def test_a_model_of_another_program_is_opened_with_its_text(talk, tmp_path):
    theirs = keras_2_lstm(38, (16, 16), window=40)
    theirs.config, theirs.version = mapped(theirs.config["config"]), "2.15.0"
    write_archive(tmp_path / "their s.keras", theirs)
    text = tmp_path / "text.txt"
    text.write_text(theirs.symbols * 9, newline="")
    command = f"/model {tmp_path}/their s.keras"
    shown = talk(alphabet_model(), command, f"{command} --vocabulary-from {text}")
    refused, opened = shown.err.splitlines()
    assert refused.endswith("trained on as --vocabulary-from")
    assert opened.startswith("model: ")


# On a terminal


def test_it_asks_completes_and_asks_again_until_ctrl_d(open_terminal, prose_model):
    pytest.importorskip("readline")
    terminal = open_terminal("--model", prose_model, "--length", 3, "--seed", 1)
    question = "Write the beginning of a poem, the model will finish it "
    assert question in terminal.until(QUESTION)
    assert re.fullmatch("(?s)So.{3}\n\n", terminal.ask("So"))
    up, left = "\x1b[A", "\x1b[D"
    terminal.type(up + left + "l\n")  # it has a history and can be edited
    assert "\nSlo" in terminal.until("\n> ")
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
    # An untrained network can write what looks like a question: wait for the message.
    terminal.until("(stopped; Ctrl-D or /quit leaves)\n> ")
    _stop_at_the_question(terminal)
    terminal.type("/length 4\n")
    terminal.until("length is 4\n")  # two questions came if two of them were seen
    terminal.until("> ")
    assert len(terminal.ask("/more")) == 4 + 2
    terminal.type("/quit\n")
    assert terminal.leave() == 0


def _stop_at_the_question(terminal: Terminal) -> None:
    # One that comes before readline waits for keys is seen at the next key only.
    for _ in range(5):
        time.sleep(0.2)
        terminal.type(CTRL_C)
        with contextlib.suppress(AssertionError):
            assert "(stopped; " in terminal.until("\n> ", seconds=10)
            return
    pytest.fail("Ctrl-C at the question has no effect")


def test_a_pasted_stanza_is_one_beginning(open_terminal, prose_model):
    readline = pytest.importorskip("readline")
    if "libedit" in (readline.__doc__ or ""):
        pytest.skip("libedit takes what is pasted line by line")
    terminal = open_terminal("--model", prose_model, "--length", 3, "--seed", 1)
    terminal.until(QUESTION)
    assert terminal.marks_pastes
    stanza = "/q leaves\nnot when pasted,\n"
    terminal.type(f"\x1b[200~{stanza}\x1b[201~")
    terminal.type("now\n")  # still the same beginning
    terminal.until(f"\n{stanza}now")
    assert len(terminal.until("\n\n> ")) == 3 + 4
    terminal.type("\x1b[200~two\rlines\x1b[201~\n")  # as most terminals paste them
    terminal.until("\ntwo\nlines")
    terminal.until("\n\n> ")
    terminal.type("/exit\n")
    assert terminal.leave() == 0


def test_picking_on_a_terminal(open_terminal, prose_model, tmp_path):
    terminal = open_terminal("--model", prose_model, "--seed", 1)
    terminal.until(QUESTION)
    terminal.ask("/pick 2")
    shown = terminal.ask("So long ", "takes back: ")
    (_, taken), _ = offers(shown)
    terminal.ask("1", "1-2> ")
    terminal.type(CTRL_D)
    shown = terminal.until("\n> ")
    assert f"\nSo long {taken}\n\n" in shown
    assert "(picking ends; Ctrl-D or /quit leaves)" in shown
    terminal.ask("/pick", "takes back: ")
    _stop_at_the_question(terminal)
    file = tmp_path / "poem.txt"
    assert terminal.ask(f"/save {file}").strip() == f"saved in {str(file)!r}"
    assert file.read_text() == f"So long {taken}\n"
    terminal.type(CTRL_D)
    assert terminal.leave() == 0


@pytest.mark.parametrize(
    "line", ["/count 256\n/length 1000000\nSo\n", "/model dinos\n", "/pick 9\nSo\n"]
)
def test_ctrl_c_in_the_middle_leaves_the_conversation_alive(
    open_terminal, prose_model, line
):
    terminal = open_terminal("--model", prose_model, "--seed", 1)
    terminal.until(QUESTION)
    terminal.type(line)
    time.sleep(0.3)
    terminal.type(CTRL_C)
    time.sleep(0.3)
    terminal.type("/length 5\n")
    terminal.until("length is 5\n")
    terminal.type("/q\n")
    assert terminal.leave() == 0
