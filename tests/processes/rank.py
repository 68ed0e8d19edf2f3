"""What each process of launch.py runs: rank.py ENGINE FOLDER LIMIT, and for gloo its rank and the number of ranks."""

import faulthandler
import gc
import pickle
import signal
import sys
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def world(engine, folder, *numbers):
    """The communicator of all ranks."""
    if engine == "mpi":
        from mpi4py import MPI

        yield MPI.COMM_WORLD
    else:
        from torch import distributed

        rank, size = map(int, numbers)
        distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
        yield distributed.group.WORLD
        distributed.destroy_process_group()


def main(engine, folder, limit, *numbers):
    work = pickle.loads((Path(folder) / "work").read_bytes())
    with world(engine, folder, *numbers) as comm:
        # A rank that takes longer prints where it is; a second later, when all have, the signal ends it.
        faulthandler.dump_traceback_later(int(limit))
        signal.alarm(int(limit) + 1)
        result = work(comm)
        rank = comm.Get_rank() if engine == "mpi" else comm.rank()
        (Path(folder) / f"result-{rank}").write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
    gc.collect()  # PyTorch aborts if a process group is left when the interpreter ends, in a caught error for example
