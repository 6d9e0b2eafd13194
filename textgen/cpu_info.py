"""What Linux says of the processor, by imports that take no time."""

from __future__ import annotations

CPU_INFO = "/proc/cpuinfo"
FIRST_CHARS = 8192  # the first core's entry; on large machines all of them take long


def cpu_info() -> dict[str, str]:
    """Return the first core's entry: ``vendor_id``, ``flags`` and what else there is.

    Empty where there is no such file.
    """
    try:
        with open(CPU_INFO, encoding="utf-8", errors="replace") as file:
            text = file.read(FIRST_CHARS)
    except OSError:
        return {}
    lines = text.split("\n\n")[0].splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def cpu_flags() -> set[str]:
    """Return what the processor can do, by Linux' names, such as ``avx512_bf16``."""
    return set(cpu_info().get("flags", "").split())
