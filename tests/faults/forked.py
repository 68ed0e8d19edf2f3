"""Jobs that may crash or hang, each in a process of its own: forks of one script, as an import for each takes longer.

    from faults.forked import survey
    survey({"a name": function, ...})

in a script that `run_forked` runs. The script prints what every job died of, and ends with status 1 if any did.
"""

import os
import signal
import sys
import time
import traceback

from support import run_python

# Threads of other libraries would not survive the fork.
ALONE = {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def run_forked(code, *args, env=None, timeout=300):
    """Run a script that ends in `survey`; the error of this process shows what its jobs died of."""
    return run_python(code, *args, env={**ALONE, **(env or {})}, timeout=timeout)


def survey(jobs, seconds=60, at_once=2):
    """Run each of the jobs, {name: function}, in a fork; fail if one raises, dies or takes longer than `seconds`."""
    waiting, running, failed = list(jobs.items()), {}, {}
    while waiting or running:
        while waiting and len(running) < at_once:
            name, job = waiting.pop(0)
            running[_start(job)] = name, time.monotonic() + seconds
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            name, _ = running.pop(pid)
            if status:
                failed[name] = _words(os.waitstatus_to_exitcode(status))
            continue
        for pid, (_, end) in running.items():
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    for name, why in failed.items():
        print(f"{name}: {why}")
    print(f"{len(failed)} of {len(jobs)} failed")
    if failed:
        sys.exit(1)


def _start(job):
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        job()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _words(code):
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"raised (exit status {code})"
