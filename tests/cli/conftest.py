"""Ways to run the commands: in this process, which is quick, or as processes."""

import contextlib
import io
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from textgen import __main__

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """Exit status and both streams; bytes that aren't UTF-8 are lone surrogates."""

    status: int
    out: str
    err: str

    def assert_refused(self, expected: str) -> None:
        """One short line on standard error says what is wrong, and that ends it."""
        assert (self.status, self.out) == (2, "")
        quiet = r"starting TensorFlow|model: |seed: |\w+: [\d,]+ characters, "
        told = [line for line in self.err.splitlines() if not re.match(quiet, line)]
        assert len(told) == 1, self.err
        assert told[0].startswith("error: ")
        assert expected in told[0]
        assert len(told[0]) < 800
        assert not re.search(r"[\x00-\x1f\x7f]", told[0])


@pytest.fixture
def run(monkeypatch, capsysbinary) -> Callable[..., Result]:
    """Return a function that runs a command in this process, as the shell would.

    Its name is ``textgen``, or that of a command of it, which goes by its script.
    """
    monkeypatch.setattr(__main__, "prepare_process", lambda: None)
    for command, each in __main__.COMMANDS.items():
        if "reader" in each.early:
            late = each._replace(early={"reader": lambda: None})
            monkeypatch.setitem(__main__.COMMANDS, command, late)

    def run_here(name: str, *arguments: object, text: bytes = b"") -> Result:
        given = list(map(str, arguments))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        monkeypatch.setattr(sys, "argv", ["textgen", *given])
        call = partial(__main__.start, name, given, f"{name}.py")
        with pytest.raises(SystemExit) as left:
            (__main__.main if name == "textgen" else call)()
        out, err = capsysbinary.readouterr()
        decoded = out.decode("utf-8", "surrogateescape"), err.decode()
        return Result(left.value.code or 0, *decoded)

    return run_here


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Return a function that starts a script as a process, in the foreground.

    Where the tests run in the background, it would inherit an ignored Ctrl-C.
    """
    with contextlib.ExitStack() as stack:

        def start_one(script: str, *arguments: object, **options) -> subprocess.Popen:
            if sys.platform != "win32":
                foreground = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
                options["preexec_fn"] = foreground
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            given = [x if isinstance(x, bytes) else str(x) for x in arguments]
            command = [sys.executable, ROOT / script, *given]
            process = stack.enter_context(subprocess.Popen(command, **pipes | options))
            stack.callback(process.kill)
            return process

        yield start_one
