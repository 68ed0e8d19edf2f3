"""Ranks that are threads of this process: they need no library, and count what they send."""

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

GONE = object()


class LeftAloneError(RuntimeError):
    """Another rank has ended, or is in another collective: processes would hang here, or mix their messages up."""


class ThreadCommunicator:
    """A communicator that takes and returns arrays. `sent` is the name and the number of bytes of each collective."""

    def __init__(self, rank, queues):
        self.rank, self.size, self.sent = rank, len(queues), []
        self._queues = queues  # [from][to]

    def allgather(self, array):
        return self._exchange("allgather", array)

    def leave(self):
        for queue in self._queues[self.rank]:
            queue.put((GONE, None))

    def _exchange(self, name, array):
        self.sent.append((name, array.nbytes))
        for queue in self._queues[self.rank]:
            queue.put((name, array.copy()))
        received = [queues[self.rank].get() for queues in self._queues]
        for rank, (other, _) in enumerate(received):
            if other is not name:
                doing = "has ended" if other is GONE else f"is in {other}"
                raise LeftAloneError(f"rank {self.rank} is in {name}, rank {rank} {doing}")
        return [array for _, array in received]


def outcomes(size, work):
    """What `work(comm)` returns on each of `size` ranks, or the exception that it raises there."""
    queues = [[SimpleQueue() for _ in range(size)] for _ in range(size)]

    def run(rank):
        comm = ThreadCommunicator(rank, queues)
        try:
            return work(comm)
        except BaseException as error:
            return error
        finally:
            comm.leave()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


def on_threads(size, work):
    """What `work(comm)` returns on each of `size` ranks."""
    results = outcomes(size, work)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise BaseExceptionGroup(f"{len(errors)} of {size} ranks failed", errors)
    return results
