"""The communicators of mpi4py and torch.distributed, between processes; and that nothing of a failed test is left."""

import re
import sys
from functools import partial
from pathlib import Path

import pytest
from processes import groups
from processes.launch import ENGINES, on_processes, run


@pytest.mark.parametrize("size", (1, 2, 3))
@pytest.mark.parametrize("engine", ENGINES)
def test_collectives(engine, size):
    ranks, processes = zip(*on_processes(engine, size, groups.checks), strict=True)
    assert ranks == (*range(size),)
    assert len({*processes}) == size


@pytest.mark.parametrize("engine", ENGINES)
def test_some_of_the_ranks(engine):
    on_processes(engine, 3, groups.some_ranks)


def test_intercommunicator():
    on_processes("mpi", 2, groups.two_sides)


def is_running(process):
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"  # Z: only not waited for


@pytest.mark.parametrize("engine", ENGINES)
def test_ranks_that_hang_end(engine, tmp_path):
    work = partial(groups.one_does_not_come, file=tmp_path / "process")
    with pytest.raises(AssertionError, match=f"2 ranks of {engine} ended with") as failed:
        on_processes(engine, 2, work, limit=3)
    assert "sleeping" in str(failed.value)
    assert re.search(r"line \d+ in allgather", str(failed.value))  # where the other rank waits
    assert not is_running(int((tmp_path / "process").read_text()))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("work, printed", ((groups.one_fails_outside, "ValueError: told to nobody"),
                                           (groups.one_is_killed, "about to be killed")))
def test_a_rank_that_ends_does_not_leave_the_others(engine, work, printed):
    with pytest.raises(AssertionError, match=f"2 ranks of {engine} ended with") as failed:
        on_processes(engine, 2, work)
    assert printed in str(failed.value)
    assert "None" not in str(failed.value).partition(",")[0]


def test_what_does_not_start_is_killed(tmp_path):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    assert run([(sys.executable, "-c", "pass"), (sys.executable, "-c", code)], tmp_path, 3) == [0, None]
    assert not is_running(int((tmp_path / "printed-1").read_text()))
