"""Random calls agree with PyTorch, JAX, optax, SciPy and scikit-learn in float64, within the bounds of peer_bounds.py.

A failure is shrunk and printed as a test for test_found.py.
"""

import zlib

import numpy as np
import peer_jax
import peer_scipy
import peer_torch
import pytest
from differential import check
from peer_cases import draw, shrink

NOT_OF_LOG_LOSS = {"weight", "label_smoothing", "temperature"}
FLOATS = ("float16", "bfloat16", "float32", "float64")
# The share of each library in all cases, divided evenly among its functions.
SHARES = {"torch": (0.60, peer_torch.SUPPORTED), "scipy": (0.22, peer_scipy.SUPPORTED), "jax": (0.06, peer_jax.JAX),
          "optax": (0.08, peer_jax.OPTAX), "sklearn": (0.04, peer_scipy.SKLEARN)}


def wanted(peer, case):
    """Whether the library has this call at all."""
    o, arrays = case.options, case.arrays
    if peer == "scipy":  # 0 * -inf in the composition of log_softmax and weights
        return not (case.function == "cross_entropy" and np.isneginf(case.first.astype(float)).any())
    if peer == "optax":
        return not (case.function == "kl_div" and case.reduction == "none" and "axis" not in o)
    if peer == "sklearn":
        y, x = arrays["target"], case.first.astype(float)
        if y.size == 0 or case.reduction == "none":
            return False
        if case.function == "binary_cross_entropy":
            counts, hard = o.get("weight", 1.0), np.isin(y.astype(float), (0, 1)).all()
        elif y.dtype.kind not in "iu" or set(o) & NOT_OF_LOG_LOSS or x.shape[case.axis] == 1:
            return False
        else:  # log_loss clips probabilities at 2e-16
            counts, hard = o.get("sample_weight", 1.0) * (y != o.get("ignore_index")), np.ptp(np.maximum(x, -1e9)) < 30
        return bool(hard) and bool(np.any(np.asarray(counts) != 0))  # log_loss refuses weights that are all 0
    if peer == "torch":  # test_differences.py has these
        if case.function == "binary_cross_entropy":
            return not np.isin(case.first.astype(float), (0, 1)).any()
        return not (case.function == "entropy_with_logits" and np.isneginf(case.first.astype(float)).any())
    return True


def draw_for(peer, function, rng):
    only = peer_jax.ONLY.get(function, ()) if peer == "optax" else ()
    while True:
        if peer == "optax" and function == "cross_entropy":
            only = tuple(x for x in peer_jax.ONLY[function] if x != "probabilities" or rng.random() < 0.5)
        case = draw(rng, function, shapes=peer_jax.SHAPES if peer in ("jax", "optax") else None, only=only,
                    plain=peer in ("scipy", "optax"))
        if wanted(peer, case):
            return case


def complaint(case, peer):
    """What `check` says of the case, without the numbers; None where it passes or is no valid call."""
    try:
        check(case, peer)
    except AssertionError as error:
        return str(error).split(" at ")[0]
    except Exception as error:
        return type(error).__name__
    return None


@pytest.mark.parametrize(("peer", "function"), [(p, f) for p, (_, functions) in SHARES.items() for f in functions])
def test_agrees(peer, function, count, request):
    share, functions = SHARES[peer]
    seed = request.config.getoption("--peer-seed")
    rng = np.random.default_rng([seed, zlib.crc32(f"{peer} {function}".encode())])
    for _ in range(max(1, round(request.config.getoption("--peer-cases") * share / len(functions)))):
        case = draw_for(peer, function, rng)
        try:
            check(case, peer)
        except Exception as first:
            said, error = complaint(case, peer), first
            small = shrink(case, lambda c, said=said: complaint(c, peer) == said)
            try:
                check(small, peer)
            except Exception as smaller_error:
                error = smaller_error
            pytest.fail(f"{type(error).__name__}: {error}\nseed {seed}; as a test:\n\n"
                        f"def test_{function}_{peer}():\n    check({small!r}, \"{peer}\")\n", pytrace=False)
        count[peer] += 1
