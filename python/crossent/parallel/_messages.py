"""What one process sends to others: a few facts as JSON, and arrays as their bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._types import Array

_LENGTH = 4  # bytes that hold how long the facts are
# What it raises to take apart a message that is damaged: its facts are missing, of another kind, too large or too deep.
DAMAGED = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


def pack(about: Any, *parts: bytes | Array) -> bytes:
    """`parts`: arrays are sent as they are, in C order; their dtype is for the receiver to know."""
    facts = json.dumps(about).encode()
    sent = (part if isinstance(part, bytes) else part.tobytes() for part in parts)
    return b"".join((len(facts).to_bytes(_LENGTH, "little"), facts, *sent))


def unpack(data: bytes | memoryview) -> tuple[Any, memoryview]:
    """The facts, and the rest without a copy; one of `DAMAGED` if the facts are none."""
    view = memoryview(data)
    begin = _LENGTH + int.from_bytes(view[:_LENGTH], "little")
    return json.loads(bytes(view[_LENGTH:begin])), view[begin:]
