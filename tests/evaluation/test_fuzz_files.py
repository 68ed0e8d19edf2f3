"""Some thousands of damaged files; tests/faults/fuzz_files.py reads as many as one likes."""

from pathlib import Path

import pytest
from evaluation.formats import LIBRARY
from faults import fuzz_files


@pytest.mark.parametrize("name", fuzz_files.NAMES)
def test_damaged_files(tmp_path, name):
    if library := LIBRARY.get(Path(name).suffix):
        pytest.importorskip(library, reason="an optional library: the session adapters has it")
    counts = fuzz_files.run(500, 7, tmp_path, [name])
    assert counts[name, True] + counts[name, False] == 500
    assert counts[name, False] > 100
