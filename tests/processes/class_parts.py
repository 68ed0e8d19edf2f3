"""What each process computes of logits of which it has some classes."""

import itertools
from hashlib import sha256

import numpy as np
import pytest
from parallel.shards import aligned_cuts, random_case
from support import bits

import crossent as xe
from crossent import parallel
from crossent.parallel._communicator import communicator

SEEDS = range(12)
DIVERGENCES = ("forward", "reverse", "js")


def cases():
    """Cases of many options, and a teacher for each."""
    for seed in SEEDS:
        rng = np.random.default_rng(7000 + seed)
        case = random_case(rng)
        teacher = (case.logits.astype(np.float64) + rng.normal(0, 2, case.logits.shape)).astype(np.float32)
        yield rng, case, teacher


def digest(x):
    return sha256(bits(x)).hexdigest()


def of_processes(comm):
    """Of each case cross_entropy and three divergences: a hash of the loss, and the gradient of the classes here."""
    own = communicator(comm)
    rank, size, results = own.rank, own.size, []
    for rng, case, teacher in cases():
        begin, end = list(itertools.pairwise(aligned_cuts(rng, case.classes, size)))[rank]
        logits, target = case.shard(begin, end)
        loss, gradient = parallel.cross_entropy(
            logits, target, comm, axis=case.axis, return_grad=True, **case.options, **case.reduction)
        results.append((digest(loss), gradient))
        for divergence in DIVERGENCES:
            loss, gradient = parallel.kl_div_with_logits(
                logits, case.part(teacher, begin, end), comm, axis=case.axis, divergence=divergence, reduction="none",
                return_grad=True)
            results.append((digest(loss), gradient))
    return results


def of_one_process():
    results = []
    for _, case, teacher in cases():
        loss, gradient = case.expected()
        results.append((digest(loss), digest(gradient), case.axis))
        for divergence in DIVERGENCES:
            loss, gradient = xe.kl_div_with_logits(
                case.logits, teacher, axis=case.axis, divergence=divergence, reduction="none", return_grad=True)
            results.append((digest(loss), digest(gradient), case.axis))
    return results


def an_error_of_one_rank(comm, rank):
    """The text of the error on each rank, after which the next call works."""
    own, target = communicator(comm).rank, [1, 2, 3]
    with pytest.raises(ValueError, match="target has shape") as raised:
        parallel.cross_entropy(np.zeros((3, 1024)), target[:2] if own == rank else target, comm)
    parallel.cross_entropy(np.zeros((3, 1024)), target, comm)
    return str(raised.value)
