"""PyTorch's own sample inputs of these functions: every value and gradient is PyTorch's, or a difference of ours.

The differences are those in docs/explanation/differences.md. `pytest -s` prints how many samples are which.
"""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's sample inputs need it")
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

import crossent.torch as xt  # noqa: E402

SAMPLED = {op.name.removeprefix("nn.functional."): [] for op in op_db}
for op in op_db:
    SAMPLED[op.name.removeprefix("nn.functional.")].append(op)
CASES = [
    (op, dtype)
    for name in xt.__all__
    for op in SAMPLED.get(name, ())
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
]
# What PyTorch's arithmetic in float32 or float64 loses; of half types a rounding in each library.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}


def wide(x):
    """Half types as float32: PyTorch computes losses in the half type itself, to two digits."""
    if isinstance(x, torch.Tensor) and x.dtype in (torch.bfloat16, torch.float16):
        return x.detach().float().requires_grad_(x.requires_grad)
    return x


def computed(function, arguments, options):
    inputs = [a for a in arguments if isinstance(a, torch.Tensor) and a.requires_grad]
    result = function(*arguments, **options)
    return result, *torch.autograd.grad(result.sum(), inputs)


def refused(function, arguments, options):
    """Whether the call is one of those with negative weights that crossent does not compute."""
    weight = options.get("weight")
    if weight is None or not (weight < 0).any():
        return False
    try:
        function(*arguments, **options)
    except ValueError as error:
        return "weight" in str(error)
    return False


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's kl_div
@pytest.mark.parametrize("op, dtype", CASES, ids=lambda v: getattr(v, "formatted_name", str(v)))
def test_sample_inputs(op, dtype):
    function = getattr(xt, op.name.removeprefix("nn.functional."))
    counts = Counter()
    for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
        arguments = (sample.input, *sample.args)
        if refused(function, arguments, sample.kwargs):
            counts["negative weights"] += 1
            continue
        ours = computed(function, arguments, sample.kwargs)
        options = sample.kwargs
        if "softmax" not in op.name:  # whose gradient is, in both, one of the result in the half type
            arguments, options = [wide(x) for x in arguments], {name: wide(x) for name, x in options.items()}
        theirs = computed(op.op, arguments, options)
        for a, b in zip(ours, theirs, strict=True):
            tolerance = TOLERANCE[dtype if a.dtype == dtype else torch.float32]
            if "softmax" in op.name:  # the gradient of a sum, 1 - C exp(y), multiplies the rounding of y by the classes
                tolerance *= 4
            torch.testing.assert_close(a.to(b.dtype), b, rtol=tolerance, atol=tolerance, equal_nan=True)
        counts["equal"] += 1
    print(op.formatted_name, str(dtype), dict(counts))
    assert counts["equal"] > 0
