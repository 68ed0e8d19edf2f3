"""Ctrl-C ends a call of any function; `interrupt.py` measures how soon. The time limits only tell "soon" from "never".
"""

from faults.forked import run_forked
from faults.lengths import length

COMMON = """
import signal, sys, time
import numpy as np
from faults.calls import CALLS
from faults.forked import survey
from faults.interrupt import latency, repeated
from support import assert_same_bits
import crossent as xe

signal.signal(signal.SIGALRM, signal.default_int_handler)
"""

# One row of 2^33 classes takes from half a minute to an hour. What has an output is called again and again.
ENDS = COMMON + """
def job(call):
    def run():
        usual = call.draw((12, 9))
        wanted = call.results(usual)
        classes = 1 << (33 if call.out is None else 25)
        pool = np.empty(1 if call.out is None else classes, np.float16)
        latency(repeated(call, (1, classes), pool), 0.1)
        for got, one in zip(call.results(usual), wanted, strict=True):
            assert_same_bits(got, one)
    return run

survey({name: job(call) for name, call in CALLS.items()}, seconds=20)
"""

# The calls of the short form have a loop over the classes of a row besides the one over its logits.
LOOPS = ("softmax_backward", "log_softmax_backward", "cross_entropy with options: value",
         "kl_div_with_logits_forward: value", "distillation_loss_probabilities with options: backward")
ASKS = COMMON + """
pool = np.empty(1 << 28, np.float16)

def job(call):
    def longest_wait(function):
        times = [time.thread_time()]  # of this thread: a busy machine does not count
        signal.signal(signal.SIGALRM, lambda *_: times.append(time.thread_time()))
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        function()
        signal.setitimer(signal.ITIMER_REAL, 0)
        times.append(time.thread_time())
        return np.diff(times).max(), times[-1] - times[0]

    def run():
        for exponent in range(24, 29 if call.out else 34):
            wait, whole = longest_wait(repeated(call, (1, 1 << exponent), pool))
            if whole > 1:
                break
        assert wait < max(whole, 1) * 2 / 3, f"deaf to signals for {wait} of {whole} seconds, 2^{exponent} classes"
    return run

survey({name: job(CALLS[name]) for name in sys.argv[1].split("|")}, at_once=1)
"""


def test_ctrl_c_ends_every_function():
    """And the next call gives what it always gives."""
    run_forked(ENDS, timeout=600)


def test_a_long_row_is_open_to_ctrl_c_throughout():
    """No phase of a call is deaf: handlers of signals never wait for most of it."""
    from faults.calls import CALLS

    run_forked(ASKS, "|".join(length(LOOPS, CALLS)), timeout=600)
