"""Every format, dtype and layout that crossent.evaluation reads, by block."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from evaluation.formats import LIBRARY, read_all, write
from support import assert_same_bits, run_python

from crossent.evaluation._inputs import open_rows, open_targets

FORMATS = ("x.npy", "x.npz", "compressed.npz", "x.bin", "x.safetensors", "x.h5")
FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


def draw(shape, dtype=np.float32):
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def skip_without_library(name):
    if Path(name).suffix in LIBRARY:
        pytest.importorskip(LIBRARY[Path(name).suffix])


def raw(name, x):
    return {"shape": x.shape, "dtype": x.dtype} if name.endswith(".bin") else {}


@pytest.mark.parametrize("shape", [(7, 5), (1, 5), (7, 1), (2, 3, 5), (2, 1, 3, 5), (0, 5)])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path, name, dtype, shape):
    skip_without_library(name)
    if name.endswith(".h5") and dtype == ml_dtypes.bfloat16:
        pytest.skip("the format has no bfloat16")
    x = draw(shape, dtype)
    rows = open_rows(write(tmp_path / name, x), **raw(name, x))
    assert (rows.count, rows.classes, rows.dtype) == (np.prod(shape[:-1]), shape[-1], x.dtype)
    for size in (1, 3, 100):
        assert_same_bits(read_all(rows, size), x.reshape(-1, shape[-1]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", ["C", "F", "transposed", "sliced", "reversed", "broadcast"])
def test_arrays(layout, dtype):
    x = draw((2, 3, 5), dtype)
    x = {
        "C": x,
        "F": np.asfortranarray(x),
        "transposed": draw((5, 3, 2), dtype).T,
        "sliced": draw((4, 3, 9), dtype)[::2, :, 1:6],
        "reversed": x[::-1],
        "broadcast": np.broadcast_to(x[:1], (2, 3, 5)),
    }[layout]
    assert_same_bits(read_all(open_rows(x), 4), np.ascontiguousarray(x).reshape(-1, 5))


def test_blocks_of_an_array_are_views():
    x = draw((4, 3, 5))
    assert all(np.shares_memory(block, x) for _, block in open_rows(x).blocks(5))


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8"])
@pytest.mark.parametrize("name", ["x.npy", "compressed.npz", "x.h5"])
def test_the_other_byte_order(tmp_path, name, dtype):
    skip_without_library(name)
    x = draw((7, 5), dtype)
    assert_same_bits(read_all(open_rows(write(tmp_path / name, x))), x.astype(x.dtype.newbyteorder("=")))


def test_bfloat16_as_numpy_loads_it(tmp_path):
    x = draw((4, 3), ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", x)
    loaded = np.load(tmp_path / "x.npy")
    assert loaded.dtype == np.dtype("V2")
    assert_same_bits(read_all(open_rows(loaded)), x)


@pytest.mark.parametrize("dtype", [">f4", "<f2", ml_dtypes.bfloat16])
def test_fortran_order(tmp_path, dtype):
    x = draw((7, 5), dtype)
    np.save(tmp_path / "x.npy", np.asfortranarray(x))
    assert b"'fortran_order': True" in (tmp_path / "x.npy").read_bytes()
    native = x.astype(x.dtype.newbyteorder("="))
    assert_same_bits(read_all(open_rows(tmp_path / "x.npy")), native)
    assert_same_bits(read_all(open_rows(tmp_path / "x.npy", vocab_size=4)), native[:, :4])


@pytest.mark.parametrize("name", FORMATS)
def test_padding_columns(tmp_path, name):
    skip_without_library(name)
    x = draw((7, 5))
    path = write(tmp_path / name, x)
    assert_same_bits(read_all(open_rows(path, vocab_size=3, **raw(name, x))), x[:, :3])
    assert_same_bits(read_all(open_rows([path, path], vocab_size=3, **raw(name, x)), 4), np.tile(x[:, :3], (2, 1)))
    with pytest.raises(ValueError, match="has 5 classes: vocab_size 6"):
        open_rows(path, vocab_size=6, **{**raw(name, x)})


def test_open_rows_leaves_rows_as_they_are():
    rows = open_rows(draw((7, 5)))
    assert open_rows(rows, vocab_size=3).classes == 3
    assert rows.classes == 5


def test_natural_order_of_a_glob(tmp_path):
    x = draw((24, 5))
    for k in range(12):
        np.save(tmp_path / f"shard{k + 1}.npy", x[2 * k : 2 * k + 2])
    rows = open_rows(str(tmp_path / "shard*.npy"))
    assert rows.name == f"{tmp_path}/shard1.npy .. {tmp_path}/shard12.npy"
    for size in (1, 2, 3, 5, 24, 100):
        assert_same_bits(read_all(rows, size), x)


def test_a_sequence_keeps_its_order(tmp_path):
    x = draw((7, 5))
    np.save(tmp_path / "a.npy", x[4:])
    np.savez(tmp_path / "b.npz", x=x[:3], y=x)
    given = [tmp_path / "b.npz:x", x[3:4], str(tmp_path / "a.npy")]
    assert_same_bits(read_all(open_rows(given), 4), x)


def test_a_path_with_the_characters_of_a_glob(tmp_path):
    np.save(tmp_path / "x[1].npy", draw((7, 5)))
    assert open_rows(tmp_path / "x[1].npy").count == 7


def test_raw_shapes(tmp_path):
    x = draw((6, 5), ml_dtypes.bfloat16)
    path = write(tmp_path / "x.bin", x)
    for options in ({"shape": (-1, 5)}, {"shape": (6, -1)}, {"shape": (2, -1, 5)}, {"vocab_size": 5}):
        assert_same_bits(read_all(open_rows(path, dtype="bfloat16", **options)), x)
    assert open_rows(path, dtype=np.float16, shape=(6, 5)).dtype == np.float16


def test_two_readers_at_once(tmp_path):
    for name in FORMATS:
        if Path(name).suffix in LIBRARY:
            continue
        x = draw((7, 5))
        rows = open_rows(write(tmp_path / name, x), **raw(name, x))
        for (_, a), (_, b) in zip(rows.blocks(3), rows.blocks(3), strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("name", FORMATS)
def test_targets(tmp_path, name, dtype):
    skip_without_library(name)
    y = np.arange(6, dtype=dtype).reshape(2, 3)
    path = write(tmp_path / name, y)
    options = {"dtype": dtype} if name.endswith(".bin") else {}
    for given in (path, y, y.T.copy().T):
        found = open_targets(given, 6, classes=6, **(options if given is path else {}))
        assert found.dtype == np.int64
        assert found.tolist() == [*range(6)]
    assert open_targets([path, y], 12, **options).tolist() == [*range(6)] * 2


def test_targets_out_of_range():
    y = np.array([0, 4, -100, 5])
    assert open_targets(y, 4, classes=6).tolist() == y.tolist()
    with pytest.raises(IndexError, match="target has target 5 at position 3: expected 0"):
        open_targets(y, 4, classes=5)
    with pytest.raises(IndexError, match="target -100 at position 2"):
        open_targets(y, 4, classes=6, ignore_index=None)
    with pytest.raises(IndexError, match="2\\^63"):
        open_targets(np.array([2**63], np.uint64), 1)


SPARSE = """
import os, resource, sys
import numpy as np
from crossent.evaluation._inputs import open_rows
from crossent.evaluation._rows import read_ahead
kind, path = sys.argv[1:]
options = {}
if kind == "kld":
    header = b"_logits_" + np.array([512, 31998, 131], "<i4").tobytes()
    size = 20 + 4 * 512 * 131 + 131 * 255 * (8 + 2 * 31998)
else:
    shape = (16384, 32768) if kind != "npy F" else (262144, 2048)
    size = 4 * shape[0] * shape[1]
    header = b""
    if kind.startswith("npy"):
        with open(path, "wb") as f:
            np.lib.format.write_array_header_1_0(f, dict(descr="<f4", fortran_order=kind == "npy F", shape=shape))
        header = open(path, "rb").read()
        size += len(header)
    else:
        options = dict(shape=shape, dtype=np.float32)
with open(path, "wb") as f:
    f.write(header)
    f.truncate(size)
assert size > 2e9
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows, seen = open_rows(path, **options), 0
step = (1 << 23) // (4 * rows.classes)  # 8 MiB
for first, block in read_ahead(rows.blocks(step)):
    seen += len(block)
os.remove(path)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(seen == rows.count, grown)
assert seen == rows.count and grown < 100, grown
"""


@pytest.mark.parametrize("kind, name", [("npy", "x.npy"), ("npy F", "f.npy"), ("raw", "x.bin"), ("kld", "x.kld")])
def test_constant_memory(tmp_path, kind, name):
    """Four blocks of 8 MiB, and what a block of codes is decoded from; the file has 2 GB, none on the disk."""
    run_python(SPARSE, kind, str(tmp_path / name))


def test_constant_memory_of_a_map(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, draw((8, 4)))
    rows = open_rows(np.load(path, mmap_mode="r"))
    assert_same_bits(read_all(rows), np.load(path))


def test_import_of_crossent_reads_none_of_this():
    run_python("import crossent, sys; assert not [m for m in sys.modules if 'evaluation' in m]")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path / "x.npy", draw((2, 3)))
    path.chmod(0)
    with pytest.raises(PermissionError, match=r"x\.npy"):
        open_rows(path)
