"""The tests of crossent.jax run where JAX is installed. The session `jax` installs it and builds the module for XLA.

CROSSENT_JAX=long takes every dtype, option and reduction instead of some; CROSSENT_JAX_WAYS names the ways that there
must be.
"""

import os

import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install 'crossent[jax]'")

from crossent.jax import _ways  # noqa: E402

BUILT = _ways.chosen
WAYS = os.environ.get("CROSSENT_JAX_WAYS", "ffi callback" if BUILT == "ffi" else "callback").split()


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Both ways from JAX to the core, where the module for XLA was built."""
    assert request.param in ("callback", BUILT), "the module for XLA was not built"
    monkeypatch.setattr(_ways, "chosen", request.param)
    return request.param
