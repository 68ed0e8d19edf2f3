"""What each process does with rows of its own."""

import pytest
from parallel.rows import FORMS, Batch

from crossent import parallel
from crossent.parallel._communicator import communicator


def losses_and_gradients(comm, bounds):
    """Of the mean of every form of every loss of rows, of which each rank has a part."""
    rank, results = communicator(comm).rank, []
    for batch in map(Batch, FORMS):
        _, arrays, options = batch.parts(bounds)[rank]
        results.append(parallel.over_rows(batch.loss, comm, *arrays, return_grad=True, **options))
    return results


def an_error_of_one_rank(comm, rank):
    """The text of the error on each rank, after which the next call works."""
    batch = Batch(FORMS[0])
    logits, target = batch.arrays
    own = communicator(comm).rank
    with pytest.raises(ValueError, match="target has shape") as raised:
        parallel.over_rows(batch.loss, comm, logits, target[:7] if own == rank else target)
    parallel.over_rows(batch.loss, comm, logits, target)
    return str(raised.value)
