"""A call needs its inputs, its outputs, O(N) numbers per row and a tile per thread: never a second (N, C) array.

Measured as the growth of the peak resident memory over the call (memory_growth.py). (32, 128256) entries are 16 MiB in
float32 and half of that in float16, so a copy in either would be seen. Their row state is below 1 MiB (126 blocks of 16
bytes a row), the tiles and stacks of the threads well below another 2: 4 MiB leave room for the allocator. Transformed
logits need a bias per class in float64, of 1 MiB, for each of their rows and for a second temperature. All calls
of one set of arrays run in one process, one after the other; what each adds to the peak is its own.
"""

import functools
import json

import pytest
from contract.memory_growth import CALLS
from support import ALL, run_python

ALLOWED_MIB = 4
ARRAYS = (("C", "f32", "f32"), ("C", "f16", "f16"), ("F", "bf16", "f32"), ("every second class", "f32", "f64"),
          ("reversed", "f64", "f16"), ("unaligned", "f16", "f32"))
if ALL:
    ARRAYS += (("F", "f32", "f32"), ("reversed", "f32", "f32"), ("unaligned", "f32", "f32"))


@functools.cache
def growth(*arrays):
    """{call: MiB that it adds to the peak}."""
    return json.loads(run_python("from contract.memory_growth import main; main()", *arrays, timeout=300).stdout)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("layout", "first", "second"), ARRAYS, ids=str)
def test_no_second_array(layout, first, second, call):
    assert growth(layout, first, second)[call] < ALLOWED_MIB


def test_the_measure_sees_a_copy():
    """What it is for: a copy in float32 takes 15.7 MiB."""
    assert 15 < growth("C", "f32", "f32")["a copy"] < 17


def test_the_measure_sees_a_converted_array():
    """float16 widened is 15.7 MiB, a copy of it half of that; behind other calls too."""
    found = growth("C", "f16", "f16")
    assert 7 < found["a copy"] < 9
    assert 7 < found["a wider copy"] < 9
