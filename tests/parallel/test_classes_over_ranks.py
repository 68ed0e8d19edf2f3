"""Losses of rows of which each rank has some classes: bits, collectives, and errors that reach all ranks."""

import itertools
import re

import numpy as np
import pytest
from parallel.shards import aligned_cuts, random_case
from parallel.threads import on_threads, outcomes
from support import assert_same_bits

from crossent import parallel


def over_ranks(case, cuts):
    ranges = list(itertools.pairwise(cuts))

    def work(comm):
        logits, target = case.shard(*ranges[comm.rank])
        result = parallel.cross_entropy(
            logits, target, comm, axis=case.axis, return_grad=True, **case.options, **case.reduction)
        return (*result, comm.sent)

    results = on_threads(len(ranges), work)
    losses, gradients, sent = zip(*results, strict=True)
    for loss in losses[1:]:
        assert_same_bits(loss, losses[0])
    return losses[0], np.concatenate(gradients, case.axis), sent


@pytest.mark.parametrize("seed", range(40))
def test_bits_of_one_process(seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    wanted, wanted_gradient = case.expected()
    for ranks in (1, 2, 3, 5, 8):
        loss, gradient, sent = over_ranks(case, aligned_cuts(rng, case.classes, ranks))
        assert_same_bits(loss, wanted)
        assert_same_bits(gradient, wanted_gradient)
        assert all([name for name, _ in of_rank] == ["allgather"] * 2 for of_rank in sent)


@pytest.mark.parametrize("name", ["options", "exact"])
def test_an_option_that_there_is_not(name):
    with pytest.raises(TypeError, match=rf"^cross_entropy\(\) got an unexpected keyword argument '{name}'$"):
        parallel.cross_entropy(np.zeros((1, 2)), [0], None, **{name: True})


def test_what_is_sent():
    """A branch is 4 numbers of float64, and a row has one more for its target."""
    rows, classes = 64, 8192
    logits, target = np.zeros((rows, classes), np.float32), np.arange(rows)

    def work(comm):
        start, stop = parallel.shard_range(classes, comm.rank, comm.size)
        parallel.cross_entropy(logits[:, start:stop], target, comm, start=start, n_classes=classes)
        return comm.sent

    for sent in on_threads(4, work):
        ((name, size),) = sent
        assert name == "allgather"
        assert 40 * rows <= size <= 40 * rows + 600


ROWS, CLASSES = 6, 4096
LOGITS, TARGET = np.random.default_rng(0).normal(size=(ROWS, CLASSES)), np.arange(ROWS) * 600


def failing(rank, change):
    """A call on three ranks, of which one has other arguments."""
    def work(comm):
        start, stop = parallel.shard_range(CLASSES, comm.rank, comm.size)
        call = {"logits": LOGITS[:, start:stop], "target": TARGET, "start": start, "n_classes": CLASSES}
        if comm.rank == rank:
            call |= change
        return parallel.cross_entropy(call.pop("logits"), call.pop("target"), comm, **call)

    return outcomes(3, work)


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"target": [0, 1, 2, 3, 4, CLASSES]}, IndexError, r"target\[5\] is 4096"),
        ({"target": [0, 1]}, ValueError, "target has shape"),
        ({"target": np.arange(ROWS)}, ValueError, "different targets or class weights"),
        ({"logits": LOGITS[:5, :1024]}, ValueError, "target has shape|shape is"),
        ({"logits": LOGITS[:, :1000]}, ValueError, "are in (no|two) state"),
        ({"logits": "x"}, TypeError, "logits has dtype"),
        ({"weight": np.full(CLASSES, np.nan)}, ValueError, "weight.* nan"),
        ({"weight": np.ones(5)}, ValueError, "weight has shape"),
        ({"sample_weight": np.full(ROWS, np.nan)}, ValueError, "sample_weight.* nan"),
        ({"label_smoothing": 2.0}, ValueError, "label_smoothing is 2.0"),
        ({"label_smoothing": 0.5}, ValueError, "label_smoothing is"),
        ({"reduction": "sum"}, ValueError, "has the options"),
        ({"z_loss": -1.0}, ValueError, "z_loss is -1.0"),
        ({"temperature": 0.0}, ValueError, "temperature is 0.0"),
        ({"denominator": 0.0}, ValueError, "denominator is 0.0"),
        ({"grad_out": np.zeros((ROWS, 1))}, ValueError, "without return_grad"),
        ({"grad_out": np.zeros((ROWS, 1)), "return_grad": True}, ValueError, "grad_out has shape"),
        ({"start": -5}, ValueError, "start is -5"),
        ({"start": None}, ValueError, "gathers"),
        ({"n_classes": CLASSES + 1}, ValueError, "n_classes is"),
    ],
)
def test_an_error_on_one_rank_is_an_error_on_all(rank, change, error, text):
    results = failing(rank, change)
    assert [type(result) for result in results] == [error] * 3, results
    assert any(re.search(text, str(result)) for result in results), results
