"""The golden hashes: what every function gives for the corpus, at every level.

They hold a result over time, and AVX2, AVX-512 and NEON to the same bits; the SSE baseline has no fused multiply-add
and an entry of its own. They are written by one command, on a machine with AVX2:

    python tests/contract/golden.py --write

which is run when a function or an option is new, or when results are meant to change, and never to make test_bits.py
pass. A commit that changes a hash in golden.json says why.
"""

import hashlib
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from contract.corpus import Batch, corpus, integers, reals
from operations import FLOATS, FORMS, PAIRS, resolved
from support import DTYPES, bits, run_python

import crossent as xe
from crossent import _core, information
from crossent._fit_temperature import fit_silently

GOLDEN = Path(__file__).parents[1] / "data" / "golden.json"


def bits_of(isa):
    """The name of all levels with the bits of this one."""
    return "baseline" if isa == "baseline" else "fma"


# ---- Results ---------------------------------------------------------------------------------------------------------

SHAPES = ((40, 1), (40, 2), (40, 10), (40, 17), (24, 100), (12, 1024), (12, 3001), (1, 70_001))


def of_class_indices(x, target, g, weight, v):
    """The losses of class indices, and all that is no loss, by name."""
    everything = {"weight": weight, "sample_weight": v, "label_smoothing": 0.125, "ignore_index": 0}
    plain, grad = xe.cross_entropy(x, target, reduction="none", return_grad=True)
    full, full_grad = xe.cross_entropy(x, target, reduction="none", return_grad=True, **everything)
    with np.errstate(all="ignore"):
        log_p, finite = xe.log_softmax(x), np.where(np.isfinite(x), x, 0)
    sharp = {"temperature": 0.7}
    fixed = {"softcap": 5.0, "logit_bias": reals((x.shape[1],), np.float64, 67, 1)}
    transformed = {**fixed, "temperature": 0.25 + abs(reals((len(x),), np.float64, 61, 1))}
    return {
        "softmax transformed": xe.softmax(x, **transformed), "logsumexp transformed": xe.logsumexp(x, **transformed),
        "logsumexp_backward transformed": xe.logsumexp_backward(g, x, **transformed),
        "log_softmax transformed": xe.log_softmax(x, softcap=0.5, temperature=0.7),
        "fit_temperature transformed": np.array(fit_silently(finite.clip(-30, 30), target, **fixed)[:3]),
        **of_statistics(xe.row_statistics(x, target, **transformed), "row_statistics transformed"),
        "sigmoid": xe.sigmoid(x), "log_sigmoid": xe.log_sigmoid(x),
        "softmax": xe.softmax(x), "softmax temperature": xe.softmax(x, **sharp),
        "log_softmax": log_p, "log_softmax temperature": xe.log_softmax(x, **sharp), "logsumexp": xe.logsumexp(x),
        "softmax_backward": xe.softmax_backward(finite, xe.softmax(x), **sharp),
        "log_softmax_backward": xe.log_softmax_backward(finite, log_p, **sharp),
        "logsumexp_backward": xe.logsumexp_backward(g, x),
        "cross_entropy": plain, "cross_entropy grad": grad,
        "cross_entropy options": full, "cross_entropy options grad": full_grad,
        "cross_entropy z_loss": xe.cross_entropy(finite, target, reduction="none", z_loss=0.25),
        "cross_entropy z_loss grad": xe.cross_entropy(x, target, z_loss=0.25, reduction="sum", return_grad=True)[1],
        "cross_entropy entropy": xe.cross_entropy(x, target, reduction="none", entropy_weight=-0.5, **everything),
        "cross_entropy entropy grad": xe.cross_entropy(
            x, target, reduction="none", entropy_weight=0.25, return_grad=True)[1],
        "cross_entropy entropy options grad": xe.cross_entropy(
            x, target, reduction="none", entropy_weight=-0.5, return_grad=True, **sharp, **everything)[1],
        "row_statistics_backward": xe.row_statistics_backward(x, target, log_prob=g, entropy=v, logsumexp=-g, **sharp),
        "cross_entropy temperature": xe.cross_entropy(x, target, reduction="none", **sharp, **everything),
        "cross_entropy temperature grad": xe.cross_entropy(x, target, reduction="sum", return_grad=True, **sharp)[1],
        "cross_entropy mean grad": xe.cross_entropy(x, target, return_grad=True)[1],
        "cross_entropy mean": xe.cross_entropy(finite, target),
        "cross_entropy sum": xe.cross_entropy(finite, target, reduction="sum"),
        "cross_entropy_backward": xe.cross_entropy_backward(g, x, target, reduction="none", **everything),
        "fit_temperature": np.array(fit_silently(finite.clip(-30, 30), target, sample_weight=v)[:3]),
        **of_statistics(xe.row_statistics(x, target, top_k=min(3, x.shape[-1])), "row_statistics"),
        **of_statistics(xe.row_statistics(x, target, **sharp), "row_statistics temperature"),
        "row_divergences": np.stack(_core.row_divergences(x, np.roll(x, 1, axis=1), 1, None, None, None, None)),
        "row_divergences transformed": np.stack(_core.row_divergences(
            x, np.roll(x, 1, axis=1), 1, 5.0, fixed["logit_bias"], 3.0, None)),
        "cross_entropy hessian": xe.cross_entropy_gradient_hessian(x, target)[1],
        "cross_entropy hessian options": xe.cross_entropy_gradient_hessian(
            x, target, hessian_scale=1.5, hessian_floor=1e-9, **everything)[1],
        "cross_entropy hessian absolute": xe.cross_entropy_gradient_hessian(
            x, target, hessian="absolute", hessian_scale=1.5, **everything)[1],
        "nll_loss": xe.nll_loss(log_p, target, reduction="none", weight=weight),
        "nll_loss grad": xe.nll_loss(log_p, target, weight=weight, return_grad=True)[1],
    }


def of_statistics(s, name):
    """The numbers and the classes of rows, side by side."""
    return {
        name: np.column_stack([s.log_prob, s.max_log_prob, s.entropy, s.logsumexp, s.sum_of_squares,
                               s.top_k_log_probs]),
        f"{name} classes": np.column_stack([s.rank, s.argmax, s.top_k]),
    }


def of_losses(batch):
    """Every row or element of the forms of the registry, and of the measures, by name."""
    found = {}
    for form in FORMS:
        arrays = batch.arrays(form)
        for name, options in form.golden.items():
            options = {"reduction": "none", **form.fixed, **resolved(options, lambda _, kind: batch.weights(kind))}
            if name.endswith("_backward"):
                found[name] = form.backward(batch.upstream(form), *arrays, **options)
            else:
                found[name], found[name + " grad"] = form.function(*arrays, return_grad=True, **options)
            if name in ("cross_entropy options", "binary_cross_entropy_with_logits"):
                function = getattr(xe, f"{form.loss.name}_gradient_hessian")
                options.pop("reduction")
                found[name + " hessian"] = function(*arrays, **options)[1]
    q = batch.q
    found["entropy"], found["entropy_with_logits"] = information.entropy(q), information.entropy_with_logits(batch.x)
    for name in ("cross_entropy", "kl_divergence", "js_divergence"):
        found["information " + name] = getattr(information, name)(q, q[:, ::-1], base=2)
    return found


def cases():
    """(name, array) of every dtype, and of the pairs that mix them."""
    for dtype in DTYPES:
        for n, c in SHAPES:
            arrays = (corpus((n, c), dtype), integers(n, 11) % c, reals((n,), dtype, 13, 1),
                      abs(reals((c,), dtype, 17, 1)), abs(reals((n,), dtype, 19, 1)))
            for name, array in of_class_indices(*arrays).items():
                yield f"{name} {np.dtype(dtype)} {n}x{c}", array
    for pair in PAIRS:
        for n, c in ((40, 1), (40, 10), (24, 17), (24, 100), (12, 3001), (1, 20_001)):
            for name, array in of_losses(Batch((n, c), *pair)).items():
                yield f"{name} {pair[0]} {pair[1]} {n}x{c}", array
    for dtype in FLOATS:
        x = Batch((40, 10), dtype).x
        for name in ("softmax", "log_softmax"):
            yield f"{name} half corpus {dtype}", getattr(xe, name)(x, temperature=0.7)
        yield f"logsumexp half corpus {dtype}", xe.logsumexp(x).astype(dtype)  # which it was up to 0.2


# ---- Hashes ----------------------------------------------------------------------------------------------------------


def digests():
    """{case: sha256 prefix of the bytes} of this process's ISA level."""
    return {name: hashlib.sha256(bits(array)).hexdigest()[:16] for name, array in cases()}


def digests_at(level):
    """The same of another level, in a process of its own."""
    script = "import json; from contract.golden import digests; print(json.dumps(digests()))"
    return json.loads(run_python(script, env={"CROSSENT_ISA": level}).stdout)


def main(arguments):
    if arguments != ["--write"]:
        raise SystemExit("usage: python tests/contract/golden.py --write")
    golden = {"fma": digests_at("avx2"), "baseline": digests_at("baseline")}
    GOLDEN.write_text(json.dumps(golden, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
