"""What cannot be read: one error each, which names the file and what was expected."""

import os
import struct
import zipfile

import numpy as np
import pytest
from evaluation.commands import fails, run
from evaluation.formats import kld_bytes, read_all, write
from support import run_python

from crossent.evaluation._inputs import open_rows, open_targets


def refused(message, given, error=ValueError, **options):
    with pytest.raises(error, match=message) as raised:
        for _ in open_rows(given, **options).blocks(4):
            pass
    if isinstance(given, os.PathLike):
        assert str(given) in str(raised.value)
    assert "\n" not in str(raised.value)


def draw(shape, dtype=np.float32):
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def header(shape, descr="'<f4'", order="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_paths(tmp_path):
    refused("No such file", tmp_path / "none.npy", FileNotFoundError)
    refused("no file matches .*none", str(tmp_path / "none*.npy"), FileNotFoundError)
    (tmp_path / "folder.npy").mkdir()
    refused("is not a regular file", tmp_path / "folder.npy")
    os.mkfifo(tmp_path / "pipe.npy")
    refused("is not a regular file", tmp_path / "pipe.npy")
    refused("null character", "a\0.npy")
    refused("empty sequence", [])
    refused("does not say what it holds", write(tmp_path / "x.bin", draw((2, 3))))
    refused("is a dict", {}, TypeError)
    refused("is a int", 3, TypeError)


@pytest.mark.parametrize("content, message", [
    (b"", "is not an .npy file"),
    (b"PK\x03\x04 and more of it", "is not an .npy file"),
    (header((2, 3))[:20], "ends within its .npy header"),
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header of 4294967295 bytes"),
    (b"\x93NUMPY\x01\x00\x01\x00{}", "header of 1 bytes"),
    (b"\x93NUMPY\x09\x00\xff\xff\xff\xff", "version 9.0"),
    (header((2, 3)) + bytes(23), "bytes: expected .* for \\(2, 3\\) of float32"),
    (header((2, 3)) + bytes(25), "bytes: expected .* for \\(2, 3\\) of float32"),
    (header((2**62, 2**62)) + bytes(24), "bytes: expected"),
    (header((2**31, 3)) + bytes(24), "bytes: expected"),
    (header((-2, -3)) + bytes(24), "damaged .npy header"),
    (header("(True, 24)") + bytes(24), "damaged .npy header"),
    (header("__import__('os')") + bytes(24), "damaged .npy header"),
    (header("(" * 200) + bytes(24), "damaged .npy header"),
    (header("-" * 9000 + "1") + bytes(24), "damaged .npy header"),
    (header((2, 3), order="1") + bytes(24), "damaged .npy header"),
    (header((2, 3), "'|O'") + bytes(48), "dtype '|O': expected float16"),
    (header((2, 3), "'<c8'") + bytes(48), "dtype '<c8': expected float16"),
    (header((2, 3), "[('a', '<f4')]") + bytes(24), "expected float16"),
    (header((2, 3), "'<i4'") + bytes(24), "dtype int32: expected float16"),
    (header("(6,)") + bytes(24), r"shape \(6,\): expected \(rows, classes\)"),
    (header((6, 0)), "expected at least one class"),
    (header((2, 3, 2), order="True") + bytes(48), "Fortran order: expected C order, or two dimensions"),
])
def test_npy(tmp_path, content, message):
    (tmp_path / "x.npy").write_bytes(content)
    refused(message, tmp_path / "x.npy")


def test_npz(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"nothing")
    refused("is damaged or not supported: File is not a zip file", path)
    np.savez(path, a=draw((9, 3)), b=draw((9, 3)))
    refused("holds a, b: expected one array", path)
    refused("there is no 'c'", f"{path}:c")
    np.savez(path, a=np.asfortranarray(draw((9, 3))))
    refused("Fortran order", path)
    np.savez(path, a=draw((90, 30)))
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-200])
    refused("zip file", path)
    content[5000] ^= 1
    path.write_bytes(content)
    refused("Bad CRC-32", path)


def test_a_member_that_promises_more_than_it_has(tmp_path):
    path = tmp_path / "x.npz"
    for content, message in ((header((2**40, 2**20)) + bytes(24), "bytes: expected"), (b"", "is not an .npy file")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
        refused(message, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", header((2, 3)) + bytes(24))
    refused("expected stored or deflated", path)


def test_a_message_is_one_line_of_sensible_length(tmp_path):
    """Python's zipfile quotes the name that the member itself claims to have, with whatever follows it."""
    path = tmp_path / "x.npz"
    np.savez(path, x=draw((90, 30)))
    content = bytearray(path.read_bytes())
    content[26:28] = b"\xff\x0f"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz:x\.npy is damaged or not supported: File name") as raised:
        open_rows(path)
    assert len(str(raised.value)) < 300 + len(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a\nb" * 1000, header((2, 3)))
    refused("bytes: expected", path)


def test_raw(tmp_path):
    path = write(tmp_path / "x.raw.bin", draw((6, 5)))
    refused("has 120 bytes: expected 140, for", path, shape=(7, 5), dtype="f4")
    refused("expected a multiple of 28, for", path, shape=(-1, 7), dtype="f4")
    refused("expected a multiple of 0, for", path, shape=(-1, 0), dtype="f4")
    refused("but one -1", path, shape=(-1, -1), dtype="f4")
    refused("but one -1", path, shape=(-2, 5), dtype="f4")
    refused("expected its dtype and shape", path, shape=(6, 5))
    refused("expected its dtype and shape", path, dtype="f4")
    refused("expected float16", path, shape=(6, 5), dtype="complex64")
    refused("dtype int32: expected float16", path, shape=(6, 5), dtype="int32")


@pytest.mark.parametrize("at, value, message", [
    (0, b"_logp16_", "expected it to begin with _logits_"),
    (12, 7, "bytes: expected .* for n_ctx 6, n_vocab 7, n_chunk 3"),  # rows of 6 codes have the size of rows of 5
    (12, 3, "bytes: expected"),
    (12, 0, "expected at least 3, 1 and 1"),
    (12, -5, "expected at least 3, 1 and 1"),
    (12, 2**31 - 1, "bytes: expected"),
    (8, 2, "expected at least 3, 1 and 1"),
    (8, 2**31 - 1, "bytes: expected"),
    (16, 0, "expected at least 3, 1 and 1"),
    (16, 2**31 - 1, "bytes: expected"),
    (16, -1, "expected at least 3, 1 and 1"),
    (24, -1, "token -1 at 1: expected 0 .. 4"),
    (24, 5, "token 5 at 1: expected 0 .. 4"),
    (92, np.float32(np.nan), "damaged in row 0: its scale is nan"),
    (92, np.float32(-1), "damaged in row 0: its scale is -1"),
    (96, np.float32(np.inf), "damaged in row 0: .* its low inf"),
])
def test_logits_files(tmp_path, at, value, message):
    content = bytearray(kld_bytes(6, 5, 3)[0])
    value = value if isinstance(value, bytes) else struct.pack("<i" if isinstance(value, int) else "<f", value)
    content[at : at + len(value)] = value
    (tmp_path / "x.kld").write_bytes(content)
    refused(message, tmp_path / "x.kld")


@pytest.mark.parametrize("length", [0, 5, 19, 20, 80, -1, 1])
def test_cut_logits_files(tmp_path, length):
    content = kld_bytes(6, 5, 3)[0]
    (tmp_path / "x.kld").write_bytes(content + b"\0" if length == 1 else content[:length])
    refused("expected", tmp_path / "x.kld")


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = write(tmp_path / "x.safetensors", draw((6, 5)))
    content = path.read_bytes()
    refused("there is no 'y'", f"{path}:y")
    for changed in (content[:-1], content + b"\0", content[:20], b"", b"\xff" * 8 + content[8:],
                    content.replace(b"[6,5]", b"[9,5]")):
        path.write_bytes(changed)
        refused("is not a whole .safetensors file", path)
    safetensors.save_file({"a": draw((6, 5)), "b": draw((6, 5))}, path)
    refused("holds a, b: expected one array", path)
    safetensors.save_file({"a": np.zeros((6, 5), bool)}, path)
    refused("has dtype BOOL", path)


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = write(tmp_path / "x.h5", draw((6, 5)))
    content = path.read_bytes()
    refused("there is no 'y'", f"{path}:y")
    for changed in (content[: len(content) // 2], b"", b"nothing"):
        path.write_bytes(changed)
        refused("HDF5", path)
    with h5py.File(path, "w") as file:
        file["a/b"] = draw((6, 5))
        file["c"] = np.arange(3)
    refused("holds a/b, c: expected one array", path)
    assert open_rows(f"{path}:a/b").count == 6


@pytest.mark.parametrize("name", ["x.zarr", "X.ZARR", "x", "x.npy"])
@pytest.mark.parametrize("metadata", ["zarr.json", ".zarray", ".zgroup"])
def test_zarr(tmp_path, name, metadata):
    """Its metadata may name a codec that runs code, so nothing of it is read."""
    path = tmp_path / name
    path.mkdir()
    (path / metadata).write_text("{}")
    message = "is a Zarr array, which is not read: save it as .npy, or pass dask.array.from_zarr of it to crossent.dask"
    for options in ({}, {"dtype": "float32", "shape": (2, 3)}):
        refused(message, path, **options)
        refused(message, str(tmp_path / f"*{path.suffix}"), **options)
    with pytest.raises(ValueError, match=message):
        open_targets(path, 3)


def test_the_name_of_a_zarr_array(tmp_path):
    (tmp_path / "file.zarr").write_bytes(b"PK")
    for name in ("none.zarr", "none.zarr:a/b", "file.zarr", "file.zarr:a"):
        refused("is a Zarr array, which is not read", str(tmp_path / name))
    for command in ("eval", "compare", "calibrate"):
        assert "is a Zarr array, which is not read" in fails(command, run(command, "x.zarr", "y.npy"))


@pytest.mark.parametrize("suffix, library", [
    (".safetensors", "safetensors"), (".h5", "h5py"), (".npy", "ml_dtypes")])
def test_a_library_that_is_missing(tmp_path, suffix, library):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(header((2, 3), "'<V2'") + bytes(12))
    script = f"""
import sys
sys.modules[{library!r}] = None
from crossent.evaluation._inputs import open_rows
try:
    open_rows({str(path)!r})
except ImportError as error:
    print(error)
"""
    assert f"needs {library}: pip install 'crossent[evaluation" in run_python(script).stdout


def test_what_does_not_match(tmp_path):
    paths = [tmp_path / f"{name}.npy" for name in "abc"]
    np.save(paths[0], draw((2, 5)))
    np.save(paths[1], draw((2, 6)))
    np.save(paths[2], draw((2, 5), np.float64))
    with pytest.raises(ValueError, match=r"b\.npy has 6 classes of float32: expected 5 of float32, as .*a\.npy has"):
        open_rows(paths[:2])
    with pytest.raises(ValueError, match=r"c\.npy has 5 classes of float64: expected 5 of float32, as .*a\.npy has"):
        open_rows([paths[0], paths[2]])
    refused("has dtype float32: expected float16", paths[0], dtype="float16")
    refused(r"has 2 rows of 5 classes: expected \(3, 5\)", paths[0], shape=(3, 5))
    assert open_rows(paths[0], dtype=np.float32, shape=(-1, 5)).count == 2


def test_arrays():
    refused(r"logits has shape \(3,\): expected \(rows, classes\)", np.zeros(3))
    refused("logits has dtype int64: expected float16", np.zeros((3, 2), int), TypeError)
    refused("other has dtype object", np.zeros((3, 2), object), TypeError, name="other")
    refused("logits is a MaskedArray", np.ma.zeros((3, 2)), TypeError)
    with pytest.raises(ValueError, match="size is 0"):
        next(open_rows(np.zeros((3, 2))).blocks(0))


def test_targets(tmp_path):
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"y\.npy has dtype float64: expected integers"):
        open_targets(tmp_path / "y.npy", 3)
    with pytest.raises(TypeError, match="target has dtype float64: expected integers"):
        open_targets(np.zeros(3), 3)
    with pytest.raises(ValueError, match="target has 4 targets: expected 3, one for each row"):
        open_targets(np.zeros(4, int), 3)
    with pytest.raises(TypeError, match="target has dtype bool: expected integers"):
        open_targets(np.zeros(3, bool), 3)


@pytest.mark.parametrize("name", ["x.npy", "f.npy", "x.bin", "x.kld"])
def test_a_file_that_is_cut_while_it_is_read(tmp_path, name):
    """A map beyond its end would end the process (SIGBUS)."""
    path = tmp_path / name
    if name == "x.kld":
        path.write_bytes(kld_bytes(512, 300, 20)[0])
    else:
        x = draw((9000, 300))
        write(path, np.asfortranarray(x) if name == "f.npy" else x)
    rows = open_rows(path, **({"shape": (-1, 300), "dtype": "f4"} if name == "x.bin" else {}))
    blocks = rows.blocks(16)
    next(blocks)
    os.truncate(path, 50000)
    with pytest.raises(ValueError, match="ended early: it has been cut since it was opened"):
        list(blocks)


@pytest.mark.parametrize("rows", [0, 5, 10, 12])
def test_chunks_that_were_never_written(tmp_path, rows):
    h5py = pytest.importorskip("h5py", reason="an optional library: the session adapters has it")
    x = draw((12, 7))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", x.shape, x.dtype, chunks=(5, 5))[:rows] = x[:rows]
    if rows < 12:
        refused("never written", tmp_path / "x.h5")
    else:
        assert np.array_equal(read_all(open_rows(tmp_path / "x.h5")), x)
