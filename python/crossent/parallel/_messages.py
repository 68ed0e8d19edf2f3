"""What one process sends to others: a few facts as JSON, and arrays as their bytes."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import Array

_LENGTH = 4  # bytes that hold how long the facts are
# What it raises to take apart a message that is damaged: its facts are missing, of another kind, too large or too deep.
_DAMAGED = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


def pack(about: Any, *parts: bytes | Array) -> bytes:
    """`parts`: arrays are sent as they are, in C order; their dtype is for the receiver to know."""
    facts = json.dumps(about).encode()
    sent = (part if isinstance(part, bytes) else part.tobytes() for part in parts)
    return b"".join((len(facts).to_bytes(_LENGTH, "little"), facts, *sent))


def unpack(data: bytes | memoryview) -> tuple[Any, memoryview]:
    """The facts, and the rest without a copy; one of `_DAMAGED` if the facts are none."""
    view = memoryview(data)
    begin = _LENGTH + int.from_bytes(view[:_LENGTH], "little")
    return json.loads(bytes(view[_LENGTH:begin])), view[begin:]


class Received:
    """The arrays of a message, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def array(self, *shape: int, kind: str = "f8") -> Array:
        size = 8 * math.prod(shape)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return np.frombuffer(taken, f"<{kind}").astype(kind).reshape(shape)

    def finish(self) -> None:
        if self._rest:
            raise ValueError


class Message:
    """A value that other processes receive, of any version of Python and NumPy: facts, and float64 or int64 arrays."""

    def _parts(self) -> tuple[dict[str, Any], Sequence[Array]]:
        raise NotImplementedError

    @classmethod
    def _of_parts(cls, facts: Any, arrays: Received) -> Self:
        """One of `_DAMAGED` where they do not belong together."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """For another process, of any version of Python and NumPy."""
        facts, arrays = self._parts()
        return pack(facts, *(x.astype(x.dtype.newbyteorder("<"), copy=False) for x in arrays))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """From the result of `to_bytes`; ValueError if it is not one."""
        try:
            facts, rest = unpack(data)
            arrays = Received(rest)
            value = cls._of_parts(facts, arrays)
            arrays.finish()
        except _DAMAGED:
            raise ValueError(f"data is not a result of {cls.__name__}.to_bytes: expected all of its bytes") from None
        return value
