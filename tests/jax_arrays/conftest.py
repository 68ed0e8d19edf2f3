"""The tests of crossent.jax run where JAX is installed. The session adapter(jax) builds the module for XLA.

CROSSENT_JAX=long takes every dtype, option and reduction instead of some; CROSSENT_JAX_BACKENDS names the backends
that there must be.
"""

import importlib.util
import os

import pytest


def backends():
    if importlib.util.find_spec("jax") is None:
        return []  # each file of tests is skipped
    from crossent.jax import backend

    built = ["ffi", "callback"] if backend() == "ffi" else ["callback"]
    wanted = os.environ.get("CROSSENT_JAX_BACKENDS", " ".join(built)).split()
    if not set(wanted) <= set(built):
        raise RuntimeError(f"expected {wanted}: the module for XLA was not built")
    return wanted


@pytest.fixture(params=backends())
def backend(request, monkeypatch):
    """Each backend of crossent.jax."""
    from crossent.jax import _backends

    monkeypatch.setattr(_backends, "chosen", request.param)
    return request.param
