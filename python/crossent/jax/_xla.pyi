from typing import Any

functions: dict[str, Any]
interface: tuple[int, int]

def set_num_threads(n: int) -> None: ...
