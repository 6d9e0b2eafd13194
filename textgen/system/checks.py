"""What an option's value must be: a number within bounds, or one of a few words."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from textgen.errors import OptionError, shown

LARGEST = sys.float_info.max  # a whole number may be larger, but is of no use


def check_number(
    name: str,
    value: Any,
    lowest: float,
    highest: float = math.inf,
    *,
    whole: bool = False,
    above: bool = False,
    below: float = LARGEST,
) -> Any:
    """Return the value of a keyword as one of Python's own numbers.

    `OptionError` unless it is one from ``lowest`` (or ``above`` it) to ``highest``, and
    ``below`` that bound. NumPy's numbers are welcome.
    """
    if isinstance(value, np.generic):
        value = value.item()
    right_type = isinstance(value, int if whole else (int, float))
    if right_type and not isinstance(value, bool):
        high_enough = value > lowest if above else value >= lowest
        if high_enough and value <= highest and value < below:
            return value
    kind = "a whole number" if whole else "a number"
    bound = f"above {lowest:g}" if above else f"of at least {lowest:g}"
    limit = "" if math.isinf(highest) else f" and at most {highest:,.0f}"
    limit += "" if below == LARGEST else f" and below {below:g}"
    raise OptionError(f"`{name}` must be {kind} {bound}{limit}, but was {shown(value)}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise `OptionError` unless ``value`` is one of ``choices``."""
    if value not in choices:
        words = ", ".join(choices)
        raise OptionError(f"`{name}` must be one of {words}, but was {shown(value)}")
