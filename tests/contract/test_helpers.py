"""The threads that help a call: what they do to the process, in company, and where the system refuses them."""

import sys
from pathlib import Path

import pytest
from support import run_python

import crossent as xe

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks at threads in /proc"),
    pytest.mark.skipif(xe.get_num_threads() < 2, reason="calls have one thread here"),
]

COMMON = """
import ctypes, os, resource, sys, time
from pathlib import Path
import numpy as np, crossent as xe
x = np.random.default_rng(0).normal(0, 3, (2000, 1000)).astype(np.float32)
target = np.arange(2000) % 1000
xe.set_num_threads(2)
with xe.num_threads(1):
    wanted = xe.cross_entropy(x, target)
def helpers():  # ids of the threads besides the main one
    return set(map(int, os.listdir("/proc/self/task"))) - {os.getpid()}
assert not helpers()
def wait_until_asleep(thread):
    while Path(f"/proc/self/task/{thread}/stat").read_text().split()[2] != "S":
        time.sleep(0.001)
"""
# OpenBLAS has threads of its own.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


def run(script, *args, **env):
    return run_python(COMMON + script, *args, env={**ENVIRONMENT, **env}).stdout


def test_one_thread_needs_no_helper():
    run("""
with xe.num_threads(1):
    assert xe.cross_entropy(x, target) == wanted
xe.cross_entropy(x[:10], target[:10])
assert not helpers()
""")


def test_helpers_end_before_a_fork():
    """Python warns of a fork with threads. Parent and child then have helpers again."""
    run("""
for _ in range(10):
    assert xe.cross_entropy(x, target) == wanted
    assert len(helpers()) == 1
    child = os.fork()
    assert not helpers()
    if not child:
        assert xe.cross_entropy(x, target) == wanted
        os._exit(0 if len(helpers()) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
""")


def test_signals_are_for_the_threads_of_the_program():
    out = run("""
xe.cross_entropy(x, target)
[helper] = helpers()
wait_until_asleep(helper)  # one that starts blocks every signal
print(next(line for line in open(f"/proc/self/task/{helper}/status") if line.startswith("SigBlk")))
""")
    blocked = int(out.split()[1], 16)
    assert all(blocked >> (number - 1) & 1 for number in (1, 2, 10, 15, 17))  # HUP, INT, USR1, TERM, CHLD
    assert not any(blocked >> (number - 1) & 1 for number in (4, 6, 7, 8, 11))  # ILL, ABRT, BUS, FPE, SEGV


def test_helpers_keep_off_the_processor_of_the_caller():
    """Linux may wake a thread on that of the thread which wakes it, where both then take turns."""
    run("""
allowed = os.sched_getaffinity(0)
for _ in range(20):
    xe.cross_entropy(x, target)
    [helper] = helpers()
    left = os.sched_getaffinity(helper)
    assert left < allowed and len(left) == len(allowed) - 1, (left, allowed)
""")


def test_a_thread_that_the_system_refuses_is_done_without():
    """No memory for a stack is refused as the limit on a user's threads is. Once there is some, there are helpers."""
    run("""
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 20), resource.RLIM_INFINITY))
for _ in range(3):
    assert xe.cross_entropy(x, target) == wanted
assert not helpers()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert xe.cross_entropy(x, target) == wanted
assert len(helpers()) == 1
""")


# ---- Beside OpenMP ---------------------------------------------------------------------------------------------------


@pytest.fixture
def libgomp(tmp_path):
    """A function that copies the libgomp of this process, under its own name or under one like those in wheels."""
    # Not the copy in a wheel: other tests load scikit-learn, whose own is called libgomp-<hash>.so.
    own = next((Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines()
                 if line.endswith("/libgomp.so.1") or "/libgomp.so.1." in line), None)
    if own is None:
        pytest.skip("this build has no libgomp")
    original = own.read_bytes()

    def copy(renamed):
        name = "libgomp-t.so" if renamed else "libgomp.so.1"  # of the same length
        path = tmp_path / name
        path.write_bytes(original.replace(b"libgomp.so.1\0", name.encode() + b"\0"))
        return path

    return copy


REGION = """
Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def region(function):  # on two threads, the second of which then waits for more
    other.GOMP_parallel(Function(lambda _: function()), None, 2, 0)
"""


@pytest.mark.parametrize("renamed", [False, True], ids=["same name", "name of a wheel"])
@pytest.mark.parametrize("first", [False, True], ids=["loaded later", "loaded first"])
def test_beside_another_copy_of_openmp(libgomp, renamed, first):
    """Its threads spin and never sleep. crossent has threads of its own and waits for none of them; a fork works."""
    load = "import ctypes, sys\nother = ctypes.CDLL(sys.argv[1])\n"
    script = REGION + """
region(lambda: None)
before = helpers()
assert len(before) == 1
for _ in range(20):
    assert xe.cross_entropy(x, target) == wanted
    region(lambda: None)
assert len(helpers() - before) == 1
child = os.fork()
if not child:
    os._exit(0 if xe.cross_entropy(x, target) == wanted else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    parts = (load, COMMON, script) if first else (COMMON, load, script)
    run_python("".join(parts), libgomp(renamed), env={**ENVIRONMENT, "OMP_WAIT_POLICY": "active"})


def test_a_limit_of_openmp_is_kept(libgomp):
    """threadpoolctl sets it in every copy that is loaded; the one that was loaded first under the name counts."""
    run_python("import ctypes, sys\nother = ctypes.CDLL(sys.argv[1])\n" + COMMON + """
assert xe.get_num_threads() == 2
other.omp_set_num_threads(1)
assert xe.get_num_threads() == 1
assert xe.cross_entropy(x, target) == wanted
assert not helpers()
""", libgomp(False), env=ENVIRONMENT)


def test_one_thread_within_a_parallel_region(libgomp):
    run_python("import ctypes, sys\nother = ctypes.CDLL(sys.argv[1])\n" + COMMON + REGION + """
seen = []
region(lambda: seen.append((xe.get_num_threads(), xe.cross_entropy(x, target) == wanted)))
assert seen == [(1, True)] * 2
""", libgomp(False), env=ENVIRONMENT)
