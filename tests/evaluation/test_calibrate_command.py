"""`crossent calibrate`: what it prints and writes, and what it does when it cannot."""

import argparse
import inspect
import json
import os
from functools import partial

import commands
import numpy as np
import pytest
from commands import run

from crossent.__main__ import main
from crossent.evaluation import _commands, _terminal, _token_statistics, calibrate

crossent = partial(run, "calibrate")
fails = partial(commands.fails, "calibrate")


def test_table(files):
    done = crossent("logits.npy", "targets.npy", "--blocks", "50")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{calibrate(*files, blocks=50)}\n"


def test_json(files):
    options = "--json --holdout --blocks 20 --bins 8 --vocab-size 11 --threads 1 --bounds 0.5 1.1"
    done = crossent("logits.npy", "targets.npy", *options.split())
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.warns(RuntimeWarning, match="upper bound"):  # which the command shows in its result alone
        result = calibrate(*files, blocks=20, bins=8, holdout=True, bounds=(0.5, 1.1))
    assert json.loads(done.stdout) == result.as_dict()


def test_max_passes(files):
    done = crossent("logits.npy", "targets.npy", "--max-passes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.warns(RuntimeWarning, match="max_passes=2"):
        result = calibrate(*files, max_passes=2)
    assert done.stdout == f"{result}\n"
    assert ["converged", "no"] in [line.split() for line in done.stdout.split("\n")]


def test_default_of_max_passes():
    parser = argparse.ArgumentParser()
    _commands.add_parsers(parser.add_subparsers())
    default = inspect.signature(calibrate).parameters["max_passes"].default
    assert parser.parse_args(["calibrate", "logits.npy", "targets.npy"]).max_passes == default


def test_bad_input(files):
    logits, target = files
    logits[123, 4] = np.nan
    np.save("nan.npy", logits)
    np.save("short.npy", target[:-1])
    np.save("none.npy", np.full(500, -100))
    expected = {
        ("nan.npy", "targets.npy"): "[123] has a NaN or an infinite maximum",
        ("logits.npy", "short.npy"): "499",
        ("logits.npy", "none.npy"): "no row is left to fit",
        ("absent.npy", "targets.npy"): "absent.npy: No such file or directory",
        ("logits.npy", "targets.npy", "--bounds", "2", "1"): "bounds is (2.0, 1.0)",
        ("logits.npy", "targets.npy", "--max-passes", "0"): "max_passes is 0",
        ("logits.npy", "targets.npy", "--bins", "0"): "bins is 0",
        ("logits.npy", "targets.npy", "--threads", "0"): "n is 0",
        ("logits.npy", "targets.npy", "--holdout", "--blocks", "1000"): "no row is left",
    }
    before = sorted(os.listdir())
    for arguments, message in expected.items():
        assert message in fails(crossent(*arguments)), arguments
    assert sorted(os.listdir()) == before


def test_interrupted(files, tmp_path, monkeypatch, capsys):
    """Ctrl-C is pressed in the third pass."""
    pytest.importorskip("matplotlib", reason="an optional library: the session adapters has it")
    (tmp_path / "out.html").write_text("old")
    before = sorted(os.listdir())
    reads = []

    def read_ahead(given):
        reads.append(given)
        if len(reads) == 3:
            raise KeyboardInterrupt
        yield from given

    monkeypatch.setattr(_token_statistics, "read_ahead", read_ahead)
    assert main(["calibrate", "logits.npy", "targets.npy", "--report", "out.html"]) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("crossent calibrate: interrupted in pass 3, at temperature ")
    assert printed.err.endswith("; out.html is not written\n")
    assert (tmp_path / "out.html").read_text() == "old" and sorted(os.listdir()) == before


def test_progress(files, monkeypatch, capsys):
    monkeypatch.setattr(_terminal, "INTERVAL", 0)
    monkeypatch.setattr(_terminal.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 550)
    assert main(["calibrate", "logits.npy", "targets.npy"]) == 0
    shown = capsys.readouterr().err
    assert "pass 1, at temperature 1: 100 % [" in shown and "pass 2, at temperature " in shown
