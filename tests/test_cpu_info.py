"""What is read of /proc/cpuinfo, from files of its form."""

import pytest

from textgen import cpu_info as module
from textgen.cpu_info import cpu_flags, cpu_info

CORE = """processor\t: {number}
vendor_id\t: AuthenticAMD
model name\t: AMD: a processor
flags\t\t: fpu avx2 avx512_bf16
power management:

"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(module, "CPU_INFO", str(path))
    return path


def test_the_first_cores_entry_is_read(file):
    file.write_text("".join(CORE.format(number=n) for n in range(1000)))
    assert cpu_info() == {
        "processor": "0",
        "vendor_id": "AuthenticAMD",
        "model name": "AMD: a processor",
        "flags": "fpu avx2 avx512_bf16",
        "power management": "",
    }
    assert cpu_flags() == {"fpu", "avx2", "avx512_bf16"}


def test_no_more_is_read_than_an_entry_may_take(file, monkeypatch):
    """Each further one would cost a large machine time."""
    many = " ".join(f"flag{number}" for number in range(400))  # twice what there are
    file.write_text(CORE.format(number=0).replace("fpu", many) * 9)
    assert len(cpu_flags()) == 402
    whole = file.read_text()
    monkeypatch.setattr(module, "FIRST_CHARS", whole.index("avx2"))
    assert len(cpu_flags()) == 400


@pytest.mark.parametrize("text", [None, b"", b"\n\n", b"Features: neon\n", b"\xff\n"])
def test_without_flags_there_are_none(file, text):
    if text is not None:
        file.write_bytes(text)
    assert cpu_flags() == set()
