"""Reading on a thread of its own, so that it overlaps with computing."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Empty, Queue
from typing import Any, TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Yield `items`, of which a background thread reads the next while the caller works on one.

    There are at most ``depth + 2`` items at a time: the caller's, those that wait, and the one that is being read. What
    the thread raises is raised here. The thread ends with the generator: close it where items are left.
    """
    queue: Queue[tuple[bool, Any]] = Queue(depth)  # whether it is an item, or else what ended the items
    stopped = threading.Event()
    thread = threading.Thread(target=produce, args=(items, queue, stopped), name="crossent-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = queue.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
            del value  # not held while the next one is waited for
    finally:
        stopped.set()
        try:
            while True:  # the thread may wait for a place: after this it has one, and looks whether it should stop
                queue.get_nowait()
        except Empty:
            pass
        if thread is not threading.current_thread():  # where it is the one that collects this generator
            thread.join()


def produce(items: Iterable[Any], queue: Queue[tuple[bool, Any]], stopped: threading.Event) -> None:
    end: BaseException | None = None
    try:
        for item in items:
            queue.put((True, item))
            del item
            if stopped.is_set():
                break
    except BaseException as error:  # KeyboardInterrupt, too: the thread that computes is to know
        end = error
    try:
        if hasattr(items, "close"):
            items.close()  # files are closed here, not when the generator is collected
    finally:
        if not stopped.is_set():
            queue.put((False, end))
