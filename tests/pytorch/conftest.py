"""crossent.torch is tested where PyTorch is installed: a short form everywhere, the long one by `adapter(torch)`."""

import pytest


@pytest.fixture(autouse=True)
def seed():
    pytest.importorskip("torch").manual_seed(0)


@pytest.fixture(params=("float64", "float32", "bfloat16", "float16"))
def dtype(request):
    return getattr(pytest.importorskip("torch"), request.param)
