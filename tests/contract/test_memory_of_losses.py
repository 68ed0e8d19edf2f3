"""No second (N, C) array in the losses of two distributions, in mixed dtypes and any strides: as test_memory.py.

(64, 128256) entries are 31 MiB in float32 and half of that in float16, so a copy in either would be seen. All calls of
one set of arrays run in one process, one after the other; what each adds to the peak is its own.
"""

import functools
import json

import pytest
from support import run_python

ALLOWED_MIB = 4  # as in test_memory.py

SCRIPT = """
import json
import ml_dtypes
import numpy as np
import crossent as xe
from crossent import information

n, c = 64, 128_256
f16, bf16, f32, f64 = np.float16, ml_dtypes.bfloat16, np.float32, np.float64
LAYOUTS = {
    "C": lambda d: np.zeros((n, c), d), "F": lambda d: np.zeros((c, n), d).T,
    "every second class": lambda d: np.zeros((n, 2 * c), d)[:, ::2],
    "reversed": lambda d: np.zeros((n, c), d)[::-1, ::-1],
    "unaligned": lambda d: np.zeros(n * c * np.dtype(d).itemsize + 1, np.uint8)[1:].view(d).reshape(n, c),
}

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

def filled(dtype):  # 0.25 and 0.5: logits, probabilities and log-probabilities alike
    x = LAYOUTS[LAYOUT](dtype)
    for row in x:
        row[...] = 0.25
        row[::7] = 0.5
    return x

x, second = filled(globals()[FIRST]), filled(globals()[SECOND])
target, v, g = np.arange(n) * 7 % c, np.ones(n, f32), np.ones(n, f32)
grad = np.zeros_like(x)
w = np.broadcast_to(np.float32(0.5), (1, c))
growth = {}
xe.logsumexp(np.zeros((2000, 100), f32))  # starts the threads
for name, text in json.loads(CALLS).items():
    call = eval("lambda x, second, grad, target, v, g, w: " + text)
    call(*(np.array(a[:2, :50]) for a in (x, second, grad)), target[:2] % 50, v[:2], g[:2], w[:, :50])
    before = peak()
    call(x, second, grad, target, v, g, w)
    growth[name] = peak() - before
print(json.dumps(growth))
"""
GRAD = "return_grad=True, grad_out=grad"
CALLS = {
    "cross_entropy": "xe.cross_entropy(x, second, label_smoothing=0.1, sample_weight=v)",
    "cross_entropy fused": f"xe.cross_entropy(x, second, {GRAD})",
    "cross_entropy backward": "xe.cross_entropy_backward(g, x, second, reduction='none', out=grad)",
    "kl_div_with_logits": "xe.kl_div_with_logits(x, second, temperature=2.0, sample_weight=v)",
    "kl_div_with_logits fused": f"xe.kl_div_with_logits(x, second, {GRAD})",
    "kl_div_with_logits js": f"xe.kl_div_with_logits(x, second, divergence='js', {GRAD})",
    "kl_div_with_logits reverse": f"xe.kl_div_with_logits(x, second, divergence='reverse', {GRAD})",
    "kl_div_with_logits backward": "xe.kl_div_with_logits_backward(g, x, second, reduction='none', out=grad)",
    "distillation_loss": f"xe.distillation_loss(x, second, target, temperature=2.0, {GRAD})",
    "distillation_loss probabilities": f"xe.distillation_loss(x, second, second, {GRAD})",
    "distillation_loss backward": "xe.distillation_loss_backward(1.0, x, second, target, out=grad)",
    "binary_cross_entropy": f"xe.binary_cross_entropy(x, second, weight=w, {GRAD})",
    "binary_cross_entropy backward": "xe.binary_cross_entropy_backward(1.0, x, second, out=grad)",
    "binary_cross_entropy_with_logits":
        f"xe.binary_cross_entropy_with_logits(x, second, pos_weight=w, label_smoothing=0.1, {GRAD})",
    "binary_cross_entropy_with_logits value": "xe.binary_cross_entropy_with_logits(x, second, weight=w)",
    "binary_cross_entropy_with_logits weight": "xe.binary_cross_entropy_with_logits(x, second, weight=second)",
    "binary_cross_entropy_with_logits backward":
        "xe.binary_cross_entropy_with_logits_backward(second, x, second, reduction='none', out=grad)",
    "kl_div": f"xe.kl_div(x, second, {GRAD})",
    "kl_div rows": f"xe.kl_div(x, second, axis=1, log_target=True, reduction='none', {GRAD})",
    "kl_div backward": "xe.kl_div_backward(1.0, x, second, out=grad)",
    "entropy": "information.entropy(x)", "entropy_with_logits": "information.entropy_with_logits(x)",
    "information.cross_entropy": "information.cross_entropy(x, second)",
    "kl_divergence": "information.kl_divergence(x, second)", "js_divergence": "information.js_divergence(x, second)",
    "perplexity": "information.perplexity(x, target)",
    "cross_entropy indices": f"xe.cross_entropy(x, target, {GRAD})", "nll_loss": f"xe.nll_loss(x, target, {GRAD})",
    "softmax": "xe.softmax(x, out=grad)", "log_softmax": "xe.log_softmax(x, temperature=0.5, out=grad)",
    "logsumexp": "xe.logsumexp(x)", "softmax_backward": "xe.softmax_backward(second, x, out=grad)",
    "log_softmax_backward": "xe.log_softmax_backward(second, x, out=grad)",
    "logsumexp_backward": "xe.logsumexp_backward(g, x, out=grad)",
    "in place": "xe.kl_div_with_logits(x, second, return_grad=True, grad_out=x)",
}
ARRAYS = (("C", "f32", "f32"), ("C", "f16", "f16"), ("F", "bf16", "f32"), ("every second class", "f32", "f64"),
          ("reversed", "f64", "f16"), ("unaligned", "f16", "f32"))


@functools.cache
def growth(layout, first, second, calls=json.dumps(CALLS)):
    """{call: MiB that it adds to the peak}."""
    values = f"LAYOUT, FIRST, SECOND, CALLS = {layout!r}, {first!r}, {second!r}, {calls!r}\n"
    script = values + SCRIPT
    return json.loads(run_python(script, timeout=300).stdout)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("layout, first, second", ARRAYS, ids=str)
def test_no_second_array(layout, first, second, call):
    assert growth(layout, first, second)[call] < ALLOWED_MIB


def test_the_measure_sees_a_converted_array():
    """What it is for: float16 widened is 31 MiB, a copy of it half of that; behind other calls too."""
    calls = {"value": CALLS["kl_div"], "copy": "x.copy()", "wide": "x.astype(f32)"}
    found = growth("C", "f16", "f16", json.dumps(calls))
    assert found["value"] < ALLOWED_MIB and 15 < found["copy"] < 17 and 14 < found["wide"] < 17
