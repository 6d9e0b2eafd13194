"""How the command `evaluate` prints what a model copies: a table, or a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from textgen.evaluation.novelty import SIZES, Novelty
from textgen.system.terminal import one_line


def as_json_line(about: Mapping[str, Any], found: Novelty) -> str:
    """Return all figures as one object, with what they are about before them."""
    return json.dumps({**about, **asdict(found)}) + "\n"


def as_table(name: str, found: Novelty) -> str:
    """Return the shares of new stretches, of known lines, and the longest copies."""
    drawn = f"{found.samples:,} texts, {found.characters:,} characters"
    if found.distinct_lines is not None:
        drawn = f"{found.samples:,} lines"
    lines = [
        f"{one_line(name)}: {drawn} at temperature {found.temperature}",
        f"  {'stretches of characters':36}" + "".join(f"{size:>9}" for size in SIZES),
    ]
    rows = {
        "not in the text": found.novel,
        "the same of its held-out part": found.novel_held_out,
        "different from each other": found.distinct,
    }
    lines += [
        f"  {label:36}" + "".join(f"{_percent(shares[size]):>9}" for size in SIZES)
        for label, shares in rows.items()
        if shares
    ]
    of_lines = {
        "lines in the text": found.known_lines,
        "lines in its held-out part": found.held_out_lines,
        "lines not written before": found.distinct_lines,
    }
    lines += [
        f"  {label:36}{_percent(share):>9}"
        for label, share in of_lines.items()
        if share is not None
    ]
    if found.copies:
        lines.append("  longest copies of the text")
        lines += [f"  {len(copy):>9}  {copy!r}" for copy in found.copies]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
