"""Our own metadata in a model file: JSON of a limited size, in today's form."""

from __future__ import annotations

import json
import re
from typing import Any

from textgen.data.vocabulary import MOST_SYMBOL_CHARS
from textgen.errors import shown
from textgen.saving.container import FORMAT_VERSION, refusal

KNOWN = {"format", "level", "symbols", "merges", "corpus", "config", "texts",
         "training"}  # fmt: skip
MAX_BYTES = 1 << 20  # of all but the symbols: JSON takes many times its size in memory
# Each character of a symbol may be two escapes, such as \ud83d. A word of so many is
# read in no more memory than the network's weights for it.
MOST_OF_A_SYMBOL = 12 * MOST_SYMBOL_CHARS
MOST_CHARS_OF_A_SYMBOL = MOST_OF_A_SYMBOL + 4  # quotes, what parts it from the next
_SYMBOLS = re.compile(
    rf"""
    "symbols": \s* ( \[
        (?: "(?: [^"\\] | \\. ){{1,{MOST_OF_A_SYMBOL}}}+" (?: , \s?)? )*+
    \] )
    """,
    re.VERBOSE,
)


def read_metadata(text: str, size: int) -> dict[str, Any]:
    """Return the metadata of a model of ``size`` symbols, whose values are unchecked.

    Unknown or long ones are a `ModelFileError`; what is no JSON, or not of this form,
    may be any error of `textgen.saving.container.ANOTHER_FORM`.
    """
    match = _SYMBOLS.search(text)
    if not match:
        raise ValueError("no symbols")
    rest = f"{text[: match.start(1)]}[]{text[match.end(1) :]}"
    if len(rest) > MAX_BYTES or len(match[1]) > MOST_CHARS_OF_A_SYMBOL * (size + 1):
        expected = f"metadata of at most {MAX_BYTES:,} characters and {size:,} symbols"
        raise refusal(expected, f"{len(rest):,} and {len(match[1]):,} characters")
    metadata = json.loads(rest)
    if unknown := metadata.keys() - KNOWN:
        raise refusal(f"only {', '.join(sorted(KNOWN))}", shown(min(unknown)))
    return _of_this_format(metadata) | {"symbols": json.loads(match[1])}


def _of_this_format(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata as they are written today; format 1 had three other names."""
    if metadata["format"] != 1:
        return metadata
    corpus, windows = metadata["corpus"], metadata["config"]["windows"]
    kind = {"stream": "text"}.get(corpus["kind"], corpus["kind"])
    renamed = {"window_chars": "seq_length", "stride_chars": "stride"}
    windows = {renamed.get(name, name): value for name, value in windows.items()}
    return metadata | {
        "format": FORMAT_VERSION,
        "corpus": corpus | {"kind": kind},
        "config": metadata["config"] | {"windows": windows},
    }
