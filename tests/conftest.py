"""Shared set-up: hypothesis runs the same examples everywhere, and a failing run names the ISA level it ran at.

The environment variable CROSSENT_EXAMPLES says how many of each property; then `--hypothesis-seed` chooses them.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import crossent as xe

EXAMPLES = os.environ.get("CROSSENT_EXAMPLES")
# Deterministic and without a time limit per example: a busy machine must not make a test fail.
settings.register_profile("crossent", derandomize=EXAMPLES is None, deadline=None, database=None,
                          max_examples=int(EXAMPLES or 60), suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crossent")


def pytest_report_header():
    return f"crossent: {xe.config()}"


@pytest.fixture
def rng():
    return np.random.default_rng(2024)


@pytest.fixture(params=(np.float32, np.float64), ids=("float32", "float64"))
def dtype(request):
    return request.param
