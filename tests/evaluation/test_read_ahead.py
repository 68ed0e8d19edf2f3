"""The thread that reads ahead: order, errors, and an end in every case."""

import gc
import threading

import pytest

from crossent.evaluation._rows import read_ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "crossent-read-ahead"]


@pytest.mark.parametrize("depth", [1, 2])
def test_order(depth):
    assert list(read_ahead(range(1000), depth)) == [*range(1000)]
    assert not threads()


def test_it_reads_while_the_caller_works():
    made = []
    ahead = threading.Semaphore(0)

    def items():
        for k in range(10):
            made.append(k)
            ahead.release()
            yield k

    blocks = read_ahead(items())
    assert next(blocks) == 0
    for _ in range(3):  # the caller's, the one that waits, the one that has been read
        assert ahead.acquire(timeout=60)
    assert made == [0, 1, 2]
    blocks.close()
    assert made == [0, 1, 2] and not threads()


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), MemoryError()])
def test_what_the_thread_raises_is_raised_here(error):
    def items():
        yield 1
        raise error

    blocks = read_ahead(items())
    assert next(blocks) == 1
    with pytest.raises(type(error)) as raised:
        next(blocks)
    assert raised.value is error
    assert not threads()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_the_thread_ends_when_the_caller_stops(count):
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    blocks = read_ahead(items())
    for _ in range(count):
        next(blocks)
    blocks.close()
    assert not threads()
    assert closed == ["crossent-read-ahead"] * (count > 0)


def test_the_thread_ends_when_the_caller_forgets():
    blocks = read_ahead(iter(range(100)))
    next(blocks)
    del blocks
    gc.collect()
    assert not threads()


def test_the_thread_ends_when_the_caller_raises():
    def work():
        for block in read_ahead(range(100)):
            if block == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    gc.collect()
    assert not threads()
