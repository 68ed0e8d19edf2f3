"""The parts of the soak for a second or two each, and the test that they find what is planted."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from soak import calls_at_once, leaks, parsers


def test_calls_at_once():
    compared, findings = calls_at_once.run(3, 1, batch=20)
    assert compared >= calls_at_once.THREADS
    assert findings == []


def test_calls_at_once_see_other_bits():
    arguments = calls_at_once.CALLS["softmax"].draw((5, 3))
    _, findings = calls_at_once.Threads([("softmax", arguments, [b"other"])], time.monotonic() + 1, 0).run()
    assert "softmax: other bits beside other threads" in findings


def test_forks():
    """Without other libraries, whose threads the session has. At least one child of each kind."""
    script = Path(__file__).with_name("forks.py")
    done = subprocess.run([sys.executable, script, "--seconds", "0", "--libraries"], text=True, capture_output=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'a pool by spawn': 2" in done.stdout


def test_leaks():
    made, errors, findings = leaks.run(0, rounds=6)
    assert 0 < errors < made
    assert findings == []


def test_a_kept_reference_is_seen(monkeypatch):
    kept = []

    class Keeping:
        def results(self, arguments):
            kept.append(arguments["x"])

    monkeypatch.setitem(leaks.CALLS, "keeping", Keeping())
    found = list(leaks.check_references([("keeping", {"x": np.zeros(3)}, True)]))
    assert len(found) == 1 and "blocks and references" in found[0]


@pytest.mark.parametrize("name", parsers.PARSERS)
def test_parsers(name):
    executions, findings = parsers.run(0.5, 1, {name: parsers.PARSERS[name]})
    assert executions > 10
    assert findings == []
