"""Memory between two pages that nobody may touch: to read or write beyond either end kills the process.

    pool = Pool()
    block = pool.take(1000)        # 4096 bytes, the first and the last of them beside a guard page
    block.bytes[-8:].view(np.float64)[0] = 1.0
    block.protect(read_only=True)  # now writing anywhere in it kills, too
    pool.give_back(block)
"""

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
NOTHING, READ, READ_WRITE = 0, mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def _protect(address, size, access):
    if _libc.mprotect(address, size, access):
        raise OSError(ctypes.get_errno(), "mprotect failed")


class Block:
    """Some pages, and a guard page on either side."""

    def __init__(self, pages):
        self._mapping = mmap.mmap(-1, (pages + 2) * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        everything = np.frombuffer(self._mapping, np.uint8)
        self.pages = pages
        self.bytes = everything[PAGE:-PAGE]
        self.address = self.bytes.ctypes.data
        self._access = READ_WRITE
        _protect(self.address - PAGE, PAGE, NOTHING)
        _protect(self.address + pages * PAGE, PAGE, NOTHING)

    def protect(self, read_only):
        access = READ if read_only else READ_WRITE
        if access != self._access:
            _protect(self.address, self.pages * PAGE, access)
            self._access = access


class Pool:
    """Blocks that are used again, as mapping anew would take most of the time of a small call."""

    def __init__(self):
        self._free = {}  # by number of pages, a power of 4

    def take(self, size):
        """A writable block of at least `size` bytes. What is in it is left from before."""
        pages = 1
        while pages * PAGE < size:
            pages *= 4
        free = self._free.setdefault(pages, [])
        block = free.pop() if free else Block(pages)
        block.protect(read_only=False)
        return block

    def give_back(self, block):
        self._free[block.pages].append(block)
