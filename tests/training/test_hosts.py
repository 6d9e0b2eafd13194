"""Two hosts, as network namespaces, whose cable is pulled: the commands as they are."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from training.helpers import PROSE
from training.together import LIFE_S, ROOT, tf_config

from textgen.training.checkpoint import read_checkpoint

TIMEOUT_S = 12
NETWORK = "10.213.77"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts():
    """The names of two namespaces that a cable joins."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip`")
    names = [f"textgen-{os.getpid()}-{n}" for n in range(2)]
    cable = [f"tg{os.getpid()}{n}" for n in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for number, (name, end) in enumerate(zip(names, cable, strict=True), start=1):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "link", "set", end, "name", "eth0")
            ip("-n", name, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces can be made here: {error.stderr.decode()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Command:
    """`train.py` on one of the hosts, as a user starts it."""

    def __init__(self, host, index, arguments, folder):
        addresses = [f"{NETWORK}.{n}:5000" for n in (1, 2)]
        self.path = folder / f"{host}.err"
        with self.path.open("w") as told:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", host, sys.executable, ROOT / "train.py",
                 *map(str, arguments)],
                env=os.environ | {"TF_CONFIG": tf_config(addresses, index)},
                stdout=subprocess.PIPE,
                stderr=told,
            )  # fmt: skip

    @property
    def told(self):
        return self.path.read_text()

    def wait_for(self, words):
        deadline = time.monotonic() + LIFE_S
        while words not in self.told:
            assert self.process.poll() is None, self.told
            assert time.monotonic() < deadline, self.told
            time.sleep(0.1)

    def ends(self):
        return self.process.wait(LIFE_S)


@pytest.mark.long
def test_a_pulled_cable_is_told_and_the_training_goes_on_later(hosts, tmp_path):
    text, output = tmp_path / "hour.txt", tmp_path / "model.h5"
    text.write_text(PROSE)
    arguments = [text, "--layers", 1, "--units", 8, "--window", 5, "--steps", 1_000_000,
                 "--distribute", "multiworker", "--peer-timeout", TIMEOUT_S,
                 "--output", output]  # fmt: skip
    commands = [Command(x, n, arguments, tmp_path) for n, x in enumerate(hosts)]
    try:
        commands[0].wait_for("epoch ")  # a line at an epoch's end
        ip("-n", hosts[1], "link", "set", "eth0", "down")
        pulled_s = time.monotonic()
        assert [command.ends() for command in commands] == [2, 2]
        assert time.monotonic() - pulled_s < 3 * TIMEOUT_S
        for command, lost in zip(commands, ("worker 1", "the chief"), strict=True):
            last = command.told.splitlines()[-1]
            assert f"but {lost} ({NETWORK}." in last, command.told
        ip("-n", hosts[1], "link", "set", "eth0", "up")
        safe = read_checkpoint(output)[0].state.global_step
        arguments.append("--resume")
        commands = [Command(x, n, arguments, tmp_path) for n, x in enumerate(hosts)]
        commands[0].wait_for("epoch ")
        commands[1].process.send_signal(signal.SIGINT)
        assert [command.ends() for command in commands] == [130, 130]
        assert read_checkpoint(output)[0].state.global_step > safe
    finally:
        for command in commands:
            command.process.kill()
