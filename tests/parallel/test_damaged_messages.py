"""What other processes send may be anything: `from_bytes` raises ValueError, whatever it is."""

import pytest
from support import run_python

import crossent as xe
from crossent import parallel
from crossent.parallel._state import pack, unpack

KINDS = (parallel.ShardState, parallel.DivergenceState, parallel.StatisticsState, parallel.RowSums)


def refused(kind, data):
    with pytest.raises(ValueError, match=rf"^data is not a result of {kind.__name__}\.to_bytes: expected all of its"):
        kind.from_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("facts", [b"", b"null", b"[]", b"{}", b'{"rows": 1}', b"\xff", b"[" * 100_000],
                         ids=["nothing", "null", "a list", "no facts", "one fact", "not UTF-8", "too deep"])
def test_other_facts(kind, facts):
    refused(kind, len(facts).to_bytes(4, "little") + facts)


STATES = parallel.ShardState.of_shard([[0.0, 1.0]], [1], 0, n_classes=2)
STATISTICS = parallel.StatisticsState.of_shard([[0.0, 1.0]], STATES, [1], top_k=1)


@pytest.mark.parametrize("top_k", [2**70, float("nan"), "1", None])
def test_top_k(top_k):
    facts, numbers = unpack(STATISTICS.to_bytes())
    refused(parallel.StatisticsState, pack({**facts, "top_k": top_k}, bytes(numbers)))


@pytest.mark.parametrize("about", [*({"shape": shape} for shape in (["a"], [float("nan")], [-1], [1.0], [[1]], None)),
                                   {"smoothed": -4}, {"smoothed": None}, {"another": 1}], ids=str)
@pytest.mark.parametrize("value", [STATES, STATISTICS], ids=["states", "statistics"])
def test_the_rows(value, about):
    facts, numbers = unpack(value.to_bytes())
    facts["rows"] |= about
    refused(type(value), pack(facts, bytes(numbers)))


@pytest.mark.parametrize("number", [1e13, -1e13, float("inf"), float("nan")])
def test_numbers_that_no_shard_has(number):
    """Among them the class of the largest logit, whose weight is looked up."""
    run_python(f"""
import numpy as np
from crossent import parallel
from crossent.parallel._state import pack, unpack
logits, target, weight = np.zeros((3, 1500), np.float32), [3, 5, 1400], np.ones(1500, np.float32)
states = parallel.ShardState.of_shard(logits, target, 0, n_classes=1500, weight=weight, label_smoothing=0.1)
facts, sent = unpack(states.to_bytes())
whole = np.frombuffer(sent).reshape(-1, 3)
for k in range(len(whole)):
    numbers = whole.copy()
    numbers[k] = float("{number}")
    parallel.ShardState.from_bytes(pack(facts, numbers)).loss(target, weight=weight)
""")


@pytest.mark.parametrize("dtype", ["float16", "int64", "O", "a", None])
def test_the_dtype_of_a_loss(dtype):
    facts, numbers = unpack(parallel.RowSums.of_rows(xe.cross_entropy, [[0.0, 1.0]], [1]).to_bytes())
    refused(parallel.RowSums, pack({**facts, "dtype": dtype}, bytes(numbers)))
