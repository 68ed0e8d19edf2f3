from typing import Any

functions: dict[str, Any]

def set_num_threads(n: int) -> None: ...
