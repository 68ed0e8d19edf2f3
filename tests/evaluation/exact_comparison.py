"""The figures of a comparison by their definitions, in extended precision and with an array for everything."""

import math

import exact_figures
import numpy as np

LEVELS = {"max": 1, "99.9 %": 0.999, "99 %": 0.99, "95 %": 0.95, "90 %": 0.9, "75 %": 0.75, "median": 0.5, "25 %": 0.25,
          "10 %": 0.1, "5 %": 0.05, "1 %": 0.01, "0.1 %": 0.001, "min": 0}


def log_probs(logits):
    x = np.asarray(logits).astype(np.longdouble)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def kl(a, b):
    """Of rows of log-probabilities."""
    used = a > -np.inf
    return np.where(used, np.exp(a) * (np.where(used, a, 0) - np.where(used, b, 0)), 0).sum(axis=1)


def js(a, b):
    middle = np.log((np.exp(a) + np.exp(b)) / 2)
    return (kl(a, middle) + kl(b, middle)) / 2


def in_common(a, b, k):
    """The share of the k largest of a row that are among those of another."""
    largest = [np.argsort(-x, axis=1, kind="stable")[:, :k] for x in (a, b)]
    return np.array([len({*row} & {*other}) / k for row, other in zip(*largest, strict=True)])


def rows(base, other):
    """The number of each row that each mean without a target is of."""
    b, q = log_probs(base), log_probs(other)
    same = b.argmax(axis=1) == q.argmax(axis=1)
    return {"kl": kl(b, q), "reverse_kl": kl(q, b), "js": js(b, q), "top1_agreement": same,
            "top5_agreement": in_common(b, q, 5), "top10_agreement": in_common(b, q, 10)}


def rows_with_target(base, other, target):
    """The numbers of each row that the other figures are of."""
    b, q = log_probs(base), log_probs(other)
    of_target = np.arange(len(b)), target
    right, right_in_other = b.argmax(axis=1) == target, q.argmax(axis=1) == target
    return {"base_loss": -b[of_target], "other_loss": -q[of_target], "base_accuracy": right,
            "other_accuracy": right_in_other, "right_to_wrong": right & ~right_in_other,
            "wrong_to_right": right_in_other & ~right, "delta_p": np.exp(q[of_target]) - np.exp(b[of_target])}


def quantile(x, level):
    ordered = sorted(x)
    position = level * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def errors(x, blocks):
    """By token and by block."""
    x = np.asarray(x).astype(np.longdouble)
    return exact_figures.standard_error(x), exact_figures.block_standard_error(x, blocks)


def perplexities(base_loss, other_loss, blocks):
    """The values, and the standard errors from variances and covariances, of what is made of two losses."""
    means = base_loss.mean(), other_loss.mean()
    b, q = np.exp(means[0]), np.exp(means[1])
    values = {"base_perplexity": b, "other_perplexity": q, "perplexity_ratio": q / b, "perplexity_difference": q - b,
              "log_perplexity_ratio": means[1] - means[0],
              "correlation": np.corrcoef(base_loss.astype(float), other_loss.astype(float))[0, 1]}
    found = []
    for sums in (np.eye(len(blocks)), np.array([blocks == k for k in np.unique(blocks)])):
        deviations = [sums @ (x - x.mean()) / len(x) for x in (base_loss, other_loss)]
        factor = len(sums) / (len(sums) - 1)
        vb, vq, cov = (factor * (x * y).sum() for x, y in ((deviations[0],) * 2, (deviations[1],) * 2, deviations))
        ratio_error = np.sqrt(vb + vq - 2 * cov)
        found.append({"base_perplexity": b * np.sqrt(vb), "other_perplexity": q * np.sqrt(vq),
                      "perplexity_ratio": q / b * ratio_error, "log_perplexity_ratio": ratio_error,
                      "perplexity_difference": np.sqrt(b * b * vb + q * q * vq - 2 * b * q * cov)})
    return values, *found
