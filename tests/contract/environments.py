"""Floating-point environments that another library may have left behind."""

import ctypes
import platform

LIBM = ctypes.CDLL(None)
X86 = platform.machine() in ("x86_64", "AMD64")
DOWNWARD, UPWARD, TOWARDS_0 = (0x400, 0x800, 0xC00) if X86 else (0x800000, 0x400000, 0xC00000)
# Where fenv_t keeps the control word of vector arithmetic, and its bits that flush subnormals.
WORD, FLUSH = (7, 0x8040) if X86 else (0, 1 << 24)
EXCEPTIONS = 0x3F if X86 else 0  # what NumPy and python have met on the way


class Environment(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 16)]  # 32 bytes on x86-64, 8 on arm64


def environment():
    now = Environment()
    assert LIBM.fegetenv(ctypes.byref(now)) == 0
    return now


class Changed:
    """Another rounding direction, or subnormals flushed, for the block; checks that the block left it so."""

    def __init__(self, rounding=0, flush=False):
        self.rounding, self.flush = rounding, flush

    def __enter__(self):
        self.before = environment()
        LIBM.fesetround(self.rounding)
        self.set = environment()
        if self.flush:
            self.set.words[WORD] |= FLUSH
            assert LIBM.fesetenv(ctypes.byref(self.set)) == 0

    def __exit__(self, *error):
        after = environment()
        assert LIBM.fesetenv(ctypes.byref(self.before)) == 0
        if error[0] is None:
            assert (after.words[WORD] ^ self.set.words[WORD]) & ~EXCEPTIONS == 0


ENVIRONMENTS = {"down": (DOWNWARD,), "up": (UPWARD,), "towards 0": (TOWARDS_0,), "flush": (0, True)}
