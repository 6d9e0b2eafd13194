"""The loss in the units that people compare: nats, bits per character, perplexity.

>>> describe(1.632)
'1.632 nats/char, 2.354 bits/char, perplexity 5.11'
"""

from __future__ import annotations

import math


def bits_per_char(nats: float) -> float:
    """Return a mean cross-entropy per character in bits, given in nats."""
    return nats / math.log(2)


def perplexity(nats: float) -> float:
    """Return among how many symbols a uniform guess has this cross-entropy in nats."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def describe(nats: float) -> str:
    """Return a mean cross-entropy per character, given in nats, in all three units."""
    return (
        f"{nats:.3f} nats/char, {bits_per_char(nats):.3f} bits/char, "
        f"perplexity {perplexity(nats):.2f}"
    )
