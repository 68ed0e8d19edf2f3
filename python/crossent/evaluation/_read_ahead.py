"""Reading before it is asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """Yield `items`. Close it where some are left."""
    yield from items
