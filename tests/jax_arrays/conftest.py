"""The tests of crossent.jax run where JAX is installed. The session adapter(jax) builds the module for XLA.

CROSSENT_JAX=long takes every dtype, option and reduction instead of some; CROSSENT_JAX_WAYS names the ways that there
must be.
"""

import importlib.util
import os

import pytest


def ways():
    if importlib.util.find_spec("jax") is None:
        return []  # each file of tests is skipped
    from crossent.jax import way

    built = ["ffi", "callback"] if way() == "ffi" else ["callback"]
    wanted = os.environ.get("CROSSENT_JAX_WAYS", " ".join(built)).split()
    if not set(wanted) <= set(built):
        raise RuntimeError(f"expected {wanted}: the module for XLA was not built")
    return wanted


@pytest.fixture(params=ways())
def way(request, monkeypatch):
    """Each way from JAX to the core."""
    from crossent.jax import _ways

    monkeypatch.setattr(_ways, "chosen", request.param)
    return request.param
