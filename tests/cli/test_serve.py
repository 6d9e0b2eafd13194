"""The command `serve`: what it needs, what it says, how it ends."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from textgen.cli import serve
from textgen.cli.serve import load_all_models, load_models, parse_arguments
from textgen.errors import ModelFileError, OptionError

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")


@pytest.fixture
def server():
    """Return a function that starts the command and gives process and address."""
    processes = []

    def start(*options):
        command = [sys.executable, "-m", "textgen", "serve", "--port", "0", *options]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        for line in process.stderr:
            if found := re.search(r"serving at (http://[\d.]+:\d+) ", line):
                return process, found[1]
        raise AssertionError("it ended")

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ask(address, **body):
    request = urllib.request.Request(
        f"{address}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    return urllib.request.urlopen(request, timeout=60)


@POSIX
def test_sigterm_lets_what_is_under_way_end(server):
    process, address = server("--model", "dinos", "--model", "sonnets")
    stream = ask(
        address, model="sonnets", prompt="", max_tokens=600, stream=True, seed=1
    )
    first = stream.readline()
    process.send_signal(signal.SIGTERM)
    rest = stream.read().decode()
    pieces = re.findall(r"data: (\{.*)", first.decode() + rest)
    text = "".join(json.loads(piece)["choices"][0]["text"] for piece in pieces)
    assert len(text) == 600
    assert rest.endswith("data: [DONE]\n\n")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert err == "stopping: what is under way has 30 s to end\n"
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(address, prompt="")


@POSIX
def test_a_second_signal_cuts_off_what_is_under_way(server):
    process, address = server("--model", "sonnets")
    stream = ask(address, prompt=["a"] * 16, max_tokens=5000, stream=True)
    stream.readline()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        process.stderr.readline()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    last = stream.read().decode().rstrip().rsplit("data: ", 1)[1]
    assert json.loads(last)["error"]["code"] == "stopping"


def test_a_port_in_use_a_model_twice_and_nonsense_are_one_line(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run("serve", "--port", port).assert_refused(f"--port {port}: Address already")
    alone = run("serve", "--model", "dinos", "--mix", "1")
    alone.assert_refused("--mix is for several models: give their names as --model")
    run("serve", "--port", 70_000).assert_refused("--port must be a whole number")
    run("serve", "--host", "no.such.host.").assert_refused("can't listen at --host")
    run("serve", "--max-length", 0).assert_refused("--max-length must be")
    run("serve", "--port", 0, "--model", "none").assert_refused("'none'")
    run("serve", "--prot", 1).assert_refused("did you mean --port?")
    copy = tmp_path / "dinos.h5"
    shutil.copy(ROOT / "models/dinos-pretrained.h5", copy)
    with pytest.raises(OptionError, match="a second one called 'dinos'"):
        load_models(["dinos", str(copy)])
    assert list(load_models([str(copy)])) == ["dinos"]


def test_all_models_that_have_a_name_are_served(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    pretrained = ROOT / "models/dinos-pretrained.h5"
    for name in ("dinos", "mine", "mine.previous"):
        shutil.copy(pretrained, f"models/{name}.h5")
    Path("models/broken.h5").write_bytes(b"no model")
    models = load_all_models()
    assert list(models) == ["sonnets", "dinos", "english", "mine"]
    assert models["dinos"].path == Path("models/dinos.h5")
    assert "'broken' is left out" in capsys.readouterr().err
    monkeypatch.setattr(serve, "model_names", lambda: ["broken"])
    with pytest.raises(ModelFileError, match="`model`"):
        load_all_models()


def test_without_its_libraries_it_says_how_to_install_them(run, monkeypatch):
    monkeypatch.setattr(serve, "is_installed", lambda package: package != "uvicorn")
    run("serve").assert_refused("pip install 'textgen-lstm[serve]'")


def test_the_token_may_be_in_the_environment(monkeypatch):
    monkeypatch.setenv("TEXTGEN_TOKEN", "from outside")
    assert parse_arguments([], "serve")[1].token == "from outside"
    assert parse_arguments(["--token", "given"], "serve")[1].token == "given"
    monkeypatch.delenv("TEXTGEN_TOKEN")
    assert parse_arguments([], "serve")[1].token is None


def test_everybody_is_warned_of_a_server_that_everybody_reaches(monkeypatch, capsys):
    from textgen.web import server as web_server

    monkeypatch.setattr(web_server, "serve", lambda *_: None)
    for host, token, warned in (
        ("0.0.0.0", [], True),
        ("0.0.0.0", ["--token", "x"], False),
        ("127.0.0.1", [], False),
    ):
        options = ["--host", host, "--port", "0", "--model", "dinos", *token]
        serve.main(options, "textgen serve", reader=None)
        assert ("everybody who reaches it" in capsys.readouterr().err) == warned


def test_help_fits_and_nothing_of_training_is_imported(tmp_path):
    code = (
        "import sys\nfrom textgen.cli import serve\nimport textgen.web.server\n"
        "print(*[m for m in sys.modules if m in ('tensorflow', 'keras', 'rich')])\n"
        "serve.parse_arguments(['--help'], 'textgen serve')\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    imported, *lines = said.splitlines()
    assert imported == ""
    assert len(lines) < 60
    plain = "import sys, textgen.cli.generate\nprint('starlette' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", plain]) == b"False\n"


def test_models_with_weights_are_served_as_one():
    names = ["sonnets", "english"]
    served = serve.mixed(load_models(names), (0.75, 0.25))
    assert list(served) == ["sonnets+english"]
    own = str(served["sonnets+english"])
    assert re.search("mixture of 0.75 .*sonnets.* 0.25 .*english", own)
