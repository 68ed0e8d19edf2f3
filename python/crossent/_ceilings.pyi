# One pass over memory with a named kernel, in seconds; bench/ceilings.cpp.
from typing import Any

from numpy.typing import NDArray

kernels: dict[str, tuple[str, ...]]

def read(buffer: NDArray[Any], threads: int, kernel: str) -> float: ...
def copy(src: NDArray[Any], dst: NDArray[Any], threads: int, kernel: str) -> float: ...
def update(buffer: NDArray[Any], threads: int, kernel: str) -> float: ...
