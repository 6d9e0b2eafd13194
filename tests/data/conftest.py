"""What the tests of texts share: a file written for them."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def written(tmp_path) -> Callable[..., Path]:
    """Return a function that writes a text or bytes and gives the path."""

    def write(content: str | bytes, name: str = "some.txt") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
