"""crossent.torch is tested where PyTorch is installed: a short form everywhere, the long one in `nox -s torch`."""

import pytest

torch = pytest.importorskip("torch", reason="crossent.torch needs PyTorch: the extra `torch`")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param
