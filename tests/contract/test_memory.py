"""A call needs its inputs, its outputs, O(N) numbers per row and a tile per thread: never a second (N, C) array.

Measured in a fresh process as the growth of its peak resident memory over the call, inputs and outputs having been
touched before and a first small call made. (256, 128256) logits in float32 are 125 MiB. Their row state is below 1 MiB
(126 blocks of 16 bytes a row), the tiles and stacks of the threads well below another 2: 4 MiB leave room for the
allocator and are 3 % of what a copy would take.
"""

import pytest
from support import run_python

ROWS, CLASSES = 256, 128_256
ALLOWED_MIB = 4

SCRIPT = """
import sys
import numpy as np
import crossent as xe

n, c = {rows}, {classes}

def peak():  # VmHWM, not ru_maxrss: that one starts at what the parent process had
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def logits(shape):
    x = np.zeros(shape, np.float32)
    x += np.arange(shape[-1], dtype=np.float32) % 7
    return x

{layout}
target = np.arange(n) * 7 % c
grad = np.zeros_like(x)
g = np.ones(n, np.float32)
def call(x, target, grad, g):
    {call}
small = x[:2, :50]
call(small, target[:2] % 50, np.zeros_like(small), g[:2])
xe.logsumexp(np.zeros((2000, 100), np.float32))  # starts the threads
before = peak()
call(x, target, grad, g)
print(peak() - before)
"""

LAYOUTS = {
    "C": "x = logits((n, c))",
    "every second class": "x = logits((n, 2 * c))[:, ::2]",
    "F": "x = logits((c, n)).T",
    "reversed": "x = logits((n, c))[::-1, ::-1]",
    "unaligned": "x = np.zeros(n * c * 4 + 1, np.uint8)[1:].view(np.float32).reshape(n, c); x += np.arange(c) % 7",
}
CALLS = {
    "forward": "xe.cross_entropy(x, target)",
    "forward none": "xe.cross_entropy(x, target, reduction='none', label_smoothing=0.1)",
    "fused": "xe.cross_entropy(x, target, return_grad=True, grad_out=grad)",
    "in place": "xe.cross_entropy(x, target, return_grad=True, grad_out=x)",
    "backward": "xe.cross_entropy_backward(1.0, x, target, out=grad)",
    "softmax": "xe.softmax(x, out=grad)",
    "log_softmax": "xe.log_softmax(x, out=grad)",
    "logsumexp": "xe.logsumexp(x)",
    "softmax_backward": "xe.softmax_backward(grad, x, out=grad)",
    "log_softmax_backward": "xe.log_softmax_backward(grad, x, out=grad)",
    "logsumexp_backward": "xe.logsumexp_backward(g, x, out=grad)",
    "nll_loss": "xe.nll_loss(x, target, return_grad=True, grad_out=grad)",
}


def growth(layout, call):
    script = SCRIPT.format(rows=ROWS, classes=CLASSES, layout=LAYOUTS[layout], call=CALLS[call])
    return float(run_python(script, timeout=120).stdout)


@pytest.mark.parametrize("call", CALLS)
def test_no_second_array(call):
    assert growth("C", call) < ALLOWED_MIB


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "C"])
@pytest.mark.parametrize("call", ("forward", "fused"))
def test_no_copy_of_strided_inputs(call, layout):
    assert growth(layout, call) < ALLOWED_MIB


def test_the_measure_sees_a_copy():
    """What it is for: x.copy() grows the peak by the 125 MiB of x."""
    script = SCRIPT.format(rows=ROWS, classes=CLASSES, layout=LAYOUTS["C"], call="x.copy()")
    assert 120 < float(run_python(script, timeout=120).stdout) < 130
