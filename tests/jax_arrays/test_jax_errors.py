"""Wrong arguments: as crossent says, when a function is traced or, of values, when it runs."""

import re

import numpy as np
import operations
import pytest
from support import run_python

jax = pytest.importorskip("jax", reason="an optional library: the session adapters has it")
import jax.numpy as jnp  # noqa: E402

import crossent as xe  # noqa: E402
import crossent.jax as xj  # noqa: E402

X = np.float32([[0, 1, 2], [2, 0, 1]])
ARGUMENTS = {"cross_entropy": (X, [0, 2]), "binary_cross_entropy_with_logits": (X, X > 0), "kl_div_with_logits": (X, X),
             "distillation_loss": (X, X, [0, 2]), "softmax": (X,), "log_softmax": (X,)}
WRONG = [(name, option, value) for name in ARGUMENTS for option in operations.FUNCTIONS[name].options
         for value in (*operations.OPTIONS[option].bad_values, *operations.OPTIONS[option].bad_types)
         if value is not np.float32]  # that is the dtype of X


def refusal(call, *arguments, **options):
    with pytest.raises((TypeError, ValueError, IndexError)) as raised:
        call(*arguments, **options)
    return raised.type, str(raised.value)


@pytest.mark.parametrize(("name", "option", "value"), WRONG)
def test_options(name, option, value):
    options = {**operations.OPTIONS[option].needs, option: value}
    expected = refusal(getattr(xe, name), *ARGUMENTS[name], **options)
    assert refusal(getattr(xj, name), *ARGUMENTS[name], **options) == expected


@pytest.mark.parametrize(("name", "arguments", "options"), [
    ("cross_entropy", (X, [0, 1, 2]), {}),
    ("cross_entropy", (X, [True, False]), {}),
    ("cross_entropy", (X, X[0]), {}),
    ("cross_entropy", (X, X), {"ignore_index": 1}),
    ("cross_entropy", (X, [0, 1]), {"axis": 2}),
    ("cross_entropy", (X, [0, 1]), {"weight": [1.0, 2.0]}),
    ("cross_entropy", (X, [0, 1]), {"sample_weight": [1.0] * 3}),
    ("cross_entropy", (X, [0, 1]), {"reduction": "sum", "denominator": 2.0}),
    ("cross_entropy", (X, [0, 1]), {"reduction": "batchmean"}),
    ("cross_entropy", (X.astype(np.complex64), [0, 1]), {}),
    ("cross_entropy", (np.ma.MaskedArray(X), [0, 1]), {}),
    ("kl_div_with_logits", (X, X[:1]), {}),
    ("kl_div_with_logits", (X, X), {"divergence": "js", "beta": 1.0}),
    ("distillation_loss", (X, X), {"alpha": 0.5}),
    ("distillation_loss", (X, X), {"weight": [1.0, 2.0, 3.0]}),
    ("distillation_loss", (X, X), {"ignore_index": 2}),
    ("distillation_loss", (X, X), {"label_smoothing": 0.5}),
    ("distillation_loss", (X, X), {"z_loss": 0.5}),
    ("binary_cross_entropy_with_logits", (X, X[0]), {}),
    ("binary_cross_entropy_with_logits", (X, X > 0), {"pos_weight": [1.0, 2.0]}),
    ("softmax", (np.float32(1),), {"axis": 1}),
    ("softmax", (X,), {"axis": (0, -2)}),
])
def test_shapes_and_dtypes(name, arguments, options):
    expected = refusal(getattr(xe, name), *arguments, **options)
    assert refusal(getattr(xj, name), *arguments, **options) == expected


@pytest.mark.parametrize(("name", "options", "arrays"), [
    ("cross_entropy", {}, {"target": [0, 3]}),
    ("cross_entropy", {"ignore_index": None}, {"target": [-1, 0]}),
    ("cross_entropy", {}, {"target": np.float32([[0, 1, 0], [0, 1.5, 0]])}),
    ("cross_entropy", {}, {"target": np.float32([[0, 1, 0], [0, np.nan, 0]])}),
    ("cross_entropy", {}, {"target": [0, 1], "weight": np.float32([1, 2, -0.25])}),
    ("cross_entropy", {}, {"target": [0, 1], "sample_weight": np.float32([1, np.inf])}),
    ("binary_cross_entropy_with_logits", {}, {"target": np.float32([[0, 1, 0], [0, 1, -2]])}),
    ("binary_cross_entropy_with_logits", {}, {"target": X > 0, "weight": np.float32([1, 2, -np.inf])}),
    ("binary_cross_entropy_with_logits", {}, {"target": X > 0, "pos_weight": np.float32(np.nan)}),
    ("distillation_loss", {"alpha": 1.0}, {"logits": X[None], "teacher_logits": X[None], "target": [[1, 5, 0]]}),
])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_values(name, options, arrays, with_gradient, backend):
    """The message of crossent, when the computation runs."""
    arrays = {"logits": X, **arrays}
    _, message = refusal(getattr(xe, name), **arrays, **options)

    def value(logits, others):
        return getattr(xj, name)(logits, **others, **options)

    others = {name: jnp.asarray(x) for name, x in arrays.items() if name != "logits"}
    computed = jax.jit(jax.value_and_grad(value) if with_gradient else value)
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape(message)):
        jax.block_until_ready(computed(arrays["logits"], others))


def test_position_in_an_example(backend):
    """Under vmap a position is that within one example, as the function sees it."""
    x, y = np.stack([X] * 64), np.zeros((64, 2), np.int32)
    y[40, 1] = 7
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape("target[1] is 7, outside [0, 3)")):
        jax.block_until_ready(jax.vmap(xj.cross_entropy)(x, y))
    weights = np.ones((64, 2), np.float32)
    weights[63, 1] = np.inf
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape("sample_weight[1] is inf: expected")):
        jax.block_until_ready(jax.vmap(lambda x, v: xj.cross_entropy(x, y[0], sample_weight=v))(x, weights))


def test_a_function_that_ran_before(backend):
    """JAX then raises a ValueError; the next call is as good as the first."""
    computed = jax.jit(lambda x, y: xj.cross_entropy(x, y))
    wrong = re.escape("target[1] is 3, outside [0, 3)")
    for _ in range(3):
        assert computed(X, jnp.array([0, 1])) == xe.cross_entropy(X, [0, 1])
        with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match=wrong):
            jax.block_until_ready(computed(X, jnp.array([0, 3])))


@pytest.mark.parametrize("wide", [2**32, 2**40 + 1, -(2**32)])
def test_indices_that_are_too_wide_are_not_wrapped(wide):
    expected = refusal(xe.cross_entropy, X, np.array([0, wide]))
    assert refusal(xj.cross_entropy, X, np.array([0, wide])) == expected


def test_set_backend(backend):
    before = xj.backend()
    xj.set_backend("callback")
    assert xj.backend() == "callback"
    with pytest.raises(ValueError, match="backend is 'python': expected one of"):
        xj.set_backend("python")
    xj.set_backend(before)
    assert xj.backend() == before == backend


def test_options_are_no_arrays():
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(lambda x, t: xj.softmax(x, temperature=t))(X, 2.0)


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_other_platforms(platform, backend):
    computed = jax.jit(jax.grad(lambda x: xj.cross_entropy(x, jnp.zeros(2, int))))
    with pytest.raises(NotImplementedError, match=f"crossent.jax on {platform}: expected arrays on a CPU device"):
        computed.trace(X).lower(lowering_platforms=(platform,))


def test_crossent_does_not_import_jax():
    run_python("import sys, crossent; assert 'jax' not in sys.modules")


def test_without_jax():
    """As on a machine where it is not installed."""
    done = run_python("import sys; sys.modules['jax'] = None; import crossent.jax", check=False)
    assert done.stderr.splitlines()[-1] == "ImportError: crossent.jax needs JAX: pip install 'crossent[jax]'"


def test_without_the_module_for_xla():
    """As in a build without JAX: the same results from Python."""
    run_python("""
import sys
sys.modules["crossent.jax._xla"] = None
import numpy as np, jax, crossent as xe, crossent.jax as xj
assert xj.backend() == "callback"
try:
    xj.set_backend("ffi")
except ValueError as error:
    assert str(error) == "backend is 'ffi': expected one of 'callback'"
else:
    raise AssertionError
x, y = np.float32([[0, 1], [2, 0]]), np.int32([1, 0])
loss, grad = jax.jit(jax.value_and_grad(xj.cross_entropy))(x, y)
assert (loss, grad.tolist()) == (xe.cross_entropy(x, y), xe.cross_entropy(x, y, return_grad=True)[1].tolist())
""")


def test_a_module_for_another_interface(tmp_path):
    """Built with another JAX: XLA would refuse it, so calls go through Python."""
    folder = tmp_path / "xla" / "ffi" / "api"
    folder.mkdir(parents=True)
    (folder / "c_api.h").write_text("#define XLA_FFI_API_MAJOR 0\n#define XLA_FFI_API_MINOR 1000\n")
    run_python("""
import sys, jax.ffi
jax.ffi.include_dir = lambda: sys.argv[1]
import crossent.jax as xj
assert xj.backend() == "callback"
assert xj.softmax([0.0, 0.0]).tolist() == [0.5, 0.5]
""", tmp_path)
