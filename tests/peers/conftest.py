"""Comparison with other libraries. Not part of the default run (pyproject.toml: norecursedirs); run it as

    pip install -r tests/peers/requirements.txt && pytest tests/peers
"""

from collections import Counter

import jax
import pytest

jax.config.update("jax_enable_x64", True)
compared = Counter()  # cases per library


def pytest_addoption(parser):
    group = parser.getgroup("peers")
    group.addoption("--peer-cases", type=int, default=105_000, help="random cases in total")
    group.addoption("--peer-seed", type=int, default=2026, help="seed of the random cases")


def pytest_report_header(config):
    return f"peers: --peer-seed={config.getoption('--peer-seed')} --peer-cases={config.getoption('--peer-cases')}"


def pytest_collection_modifyitems(items):
    for item in items:  # what other libraries warn of is not ours to repair
        item.add_marker(pytest.mark.filterwarnings("ignore"), append=False)


def pytest_terminal_summary(terminalreporter):
    if compared:
        per_peer = ", ".join(f"{name} {n:,}" for name, n in compared.items())
        terminalreporter.write_line(f"cases compared: {sum(compared.values()):,} ({per_peer})")


@pytest.fixture
def count():
    return compared
