"""The figures of an evaluation by their definitions, in extended precision and with an array for everything."""

import itertools

import numpy as np

MEANS = ("loss", "bits_per_token", "accuracy", "top5_accuracy", "top10_accuracy", "mean_rank", "mean_reciprocal_rank",
         "entropy", "brier_score")


def rows(logits, target, temperature=1.0):
    """The number of each row that each mean is of, and the confidences."""
    x = np.asarray(logits).astype(np.longdouble) / np.longdouble(temperature)
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    of_target = np.arange(len(x)), target
    loss = -np.log(p[of_target])
    larger = x > x[of_target][:, None]
    equal_before = (x == x[of_target][:, None]) & (np.arange(x.shape[1]) < target[:, None])
    rank = (larger | equal_before).sum(axis=1) + 1
    one_hot = np.zeros(x.shape)
    one_hot[of_target] = 1
    entropy = -(p * np.where(p > 0, np.log(np.where(p > 0, p, 1)), 0)).sum(axis=1)
    numbers = (loss, loss / np.log(np.longdouble(2)), rank == 1, rank <= 5, rank <= 10, rank, np.longdouble(1) / rank,
               entropy, ((p - one_hot) ** 2).sum(axis=1))
    return dict(zip(MEANS, (x.astype(np.longdouble) for x in numbers), strict=True)), p.max(axis=1)


def standard_error(x):
    return np.sqrt(((x - x.mean()) ** 2).sum() / (x.size * (x.size - 1)))


def block_standard_error(x, blocks):
    ids = np.unique(blocks)
    sums = np.array([(x - x.mean())[blocks == b].sum() for b in ids])
    return np.sqrt(ids.size / (ids.size - 1) * (sums**2).sum()) / x.size


def bin_gaps(confidence, correct, members):
    """(share of the rows, gap between accuracy and confidence) of each bin that is not empty."""
    return [(m.mean(), abs(correct[m].mean() - confidence[m].mean())) for m in members if m.any()]


def equal_width(confidence, correct, bins):
    """(ECE, MCE)."""
    edges = [m / bins for m in range(bins + 1)]
    members = [(confidence > low) & (confidence <= high) for low, high in itertools.pairwise(edges)]
    gaps = bin_gaps(confidence, correct, members)
    return sum(share * gap for share, gap in gaps), max(gap for _, gap in gaps)


def equal_mass(confidence, correct, bins):
    order = np.argsort(confidence, kind="stable")
    n = len(order)
    members = []
    for m in range(bins):
        member = np.zeros(n, bool)
        member[order[-(-m * n // bins):-(-(m + 1) * n // bins)]] = True
        members.append(member)
    gaps = bin_gaps(confidence, correct, members)
    return sum(share * gap for share, gap in gaps), max(gap for _, gap in gaps)


def loss_and_entropy(x, target, log_temperature):
    """Their means, and the mean variance of the logits divided by the temperature."""
    z = x.astype(np.longdouble) * np.exp(-np.longdouble(log_temperature))
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    variance = (p * z**2).sum(axis=1) - (p * z).sum(axis=1) ** 2
    return -log_p[np.arange(len(x)), target].mean(), -(p * log_p).sum(axis=1).mean(), variance.mean()


def log_temperature(x, target, bounds=(1e-3, 1e3)):
    """Of the least loss, by bisection: the derivative of the loss is the entropy less the loss."""
    low, high = np.log(np.longdouble(bounds[0])), np.log(np.longdouble(bounds[1]))
    for _ in range(70):
        middle = (low + high) / 2
        loss, entropy, _ = loss_and_entropy(x, target, middle)
        low, high = (low, middle) if entropy > loss else (middle, high)
    return middle
