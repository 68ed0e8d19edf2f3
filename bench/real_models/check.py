"""Figures of `crossent compare` against their formulas in float64 NumPy: python check.py BASE OTHER TARGETS

Prints the largest relative difference of a figure, of a quantile and of a row's divergence.
"""

import sys

import numpy as np

from crossent.evaluation import compare

AT_ONCE = 64  # rows


def fraction(name):
    """Of a quantile, by its name."""
    return {"max": 1.0, "median": 0.5, "min": 0.0}[name] if name.isalpha() else float(name.removesuffix("%")) / 100


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def rows(base, other, targets):
    """(N,) arrays: what NumPy says of each row."""
    found = []
    for k in range(0, len(targets), AT_ONCE):
        some = slice(k, k + AT_ONCE)
        y = np.arange(len(targets[some])), targets[some]
        b, q = log_softmax(base[some]), log_softmax(other[some])
        m = np.logaddexp(b, q) - np.log(2)
        p_b, p_q = np.exp(b), np.exp(q)
        # With p - p' added, which sums to 0, no term is negative, and rounding errors are those of small numbers.
        kl = (p_b * (b - q) - p_b + p_q).sum(axis=1)
        reverse = (p_q * (q - b) - p_q + p_b).sum(axis=1)
        js = ((p_b * (b - m) + p_q * (q - m)) / 2).sum(axis=1)
        found.append(np.stack([-b[y], -q[y], kl, reverse, js, p_q[y] - p_b[y], b.argmax(1), q.argmax(1)]))
    return np.concatenate(found, axis=1)


def main():
    base, other, targets = (np.load(path, mmap_mode="r") for path in sys.argv[1:4])
    loss_b, loss_q, kl, reverse, js, delta_p, top_b, top_q = rows(base, other, targets)
    expected = {
        "base_perplexity": np.exp(loss_b.mean()),
        "other_perplexity": np.exp(loss_q.mean()),
        "perplexity_ratio": np.exp((loss_q - loss_b).mean()),
        "log_perplexity_ratio": (loss_q - loss_b).mean(),
        "correlation": np.corrcoef(loss_b, loss_q)[0, 1],
        "kl": kl.mean(),
        "reverse_kl": reverse.mean(),
        "js": js.mean(),
        "delta_p": delta_p.mean(),
        "rms_delta_p": np.sqrt((delta_p**2).mean()),
        "top1_agreement": (top_b == top_q).mean(),
        "base_accuracy": (top_b == targets).mean(),
        "other_accuracy": (top_q == targets).mean(),
    }
    of_rows = {"kl": kl, "log_perplexity_ratio": loss_q - loss_b, "delta_p": delta_p}
    found = compare(*sys.argv[1:4])
    print(f"{kl.size:,} rows of {base.shape[1]:,}, {base.dtype}")
    for name, value in expected.items():
        print(f"{name:24} {getattr(found, name):.10g}  {getattr(found, name) / value - 1:+.1e}")
    for name, values in of_rows.items():
        value = values.std(ddof=1) / np.sqrt(values.size)
        print(f"{name + ' +-':24} {found.standard_errors[name]:.10g}  {found.standard_errors[name] / value - 1:+.1e}")
    for name, values in ("kl_quantiles", kl), ("delta_p_quantiles", delta_p):
        quantiles = getattr(found, name)
        differences = (np.quantile(values, [*map(fraction, quantiles)]) - [*quantiles.values()]) / values.max()
        print(f"{name:24} largest difference, as a share of the largest: {np.abs(differences).max():.1e}")


if __name__ == "__main__":
    main()
