"""Ranks that are processes of MPI or of PyTorch's gloo, within a limit of time."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ENGINES = ("mpi", "gloo")
RANK = Path(__file__).with_name("rank.py")
TO_START = 60  # seconds until the ranks have found each other, at most

# One thread for each process, as there are more of them than processors; and gloo by the loopback interface, as the
# name of this machine need not be one that it can resolve.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def on_processes(engine, size, work, limit=60):
    """What `work(comm)` returns on each of `size` ranks. `work` and its results are pickled.

    A rank that takes longer than `limit` seconds ends. The error shows what all have printed, and where they were.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").write_bytes(pickle.dumps(work))
        statuses = run(_commands(engine, size, (folder, limit)), folder, limit + TO_START)
        results = [folder / f"result-{rank}" for rank in range(size)]
        # This mpiexec returns 0 if a signal has ended a rank.
        if any(status != 0 for status in statuses) or not all(result.exists() for result in results):
            printed = "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("printed-*")))
            raise AssertionError(f"{size} ranks of {engine} ended with status {statuses}, None if killed\n{printed}")
        return [pickle.loads(result.read_bytes()) for result in results]


def _commands(engine, size, arguments):
    python = (sys.executable, "-u")
    if engine == "gloo":
        return [(*python, RANK, engine, *arguments, rank, size) for rank in range(size)]
    # This mpiexec starts processes by fork, in its own process group and without the network. It mixes up what they
    # print, so that each has a file. `-m mpi4py` ends all ranks when one raises.
    mpiexec = Path(sys.executable).with_name("mpiexec.gforker")
    shell = ("sh", "-c", 'exec "$@" > printed-rank-$PMI_RANK 2>&1', "sh")
    return [(mpiexec, "-n", size, *shell, *python, "-m", "mpi4py", RANK, engine, *arguments)]


def run(commands, folder, limit):
    """Run the commands side by side: their exit statuses, None for one that was killed after `limit` seconds."""
    path = os.pathsep.join([str(RANK.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
    end = time.monotonic() + limit
    processes = []
    try:
        for number, command in enumerate(commands):
            with open(folder / f"printed-{number}", "w") as printed:
                processes.append(subprocess.Popen([*map(str, command)], cwd=folder, env=environment,
                                                  stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                                                  start_new_session=True))
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, end - time.monotonic()))
        return [process.poll() for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
