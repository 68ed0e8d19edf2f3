"""The same array written in every format, for the tests of inputs."""

import struct

import numpy as np

LIBRARY = {".safetensors": "safetensors.numpy", ".h5": "h5py"}


def write(path, x):
    """Write `x` in the format that the name of the path says."""
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        (np.savez_compressed if "compressed" in path.name else np.savez)(path, x)
    elif path.suffix == ".bin":
        path.write_bytes(x.tobytes())
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"x": np.ascontiguousarray(x)}, path)
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["x"] = x
    return path


def kld_bytes(n_ctx=6, classes=5, n_chunk=3, seed=0):
    """A file in the format of llama-perplexity, with its tokens, scales, lows and codes."""
    rng = np.random.default_rng(seed)
    rows = n_chunk * (n_ctx - 1 - n_ctx // 2)
    tokens = rng.integers(0, classes, (n_chunk, n_ctx)).astype("<i4")
    scale = rng.random(rows).astype("<f4") * np.float32(2.4e-4)
    low = -rng.random(rows).astype("<f4") - np.float32(16)
    codes = np.zeros((rows, (classes + 1) // 2 * 2), "<u2")
    codes[:, :classes] = rng.integers(0, 65536, (rows, classes))
    body = b"".join(
        struct.pack("<ff", s, m) + line.tobytes() for s, m, line in zip(scale, low, codes, strict=True))
    header = b"_logits_" + struct.pack("<3i", n_ctx, classes, n_chunk)
    return header + tokens.tobytes() + body, tokens, scale, low, codes[:, :classes]


def stored_by_llama(logits, tokens):
    """The file that llama-perplexity writes of these logits, and of the tokens (chunks, length of a chunk)."""
    largest = logits.max(axis=1, keepdims=True)
    lowest = np.maximum(logits.min(axis=1, keepdims=True), largest - np.float32(16))
    log_sum = np.log(np.exp((logits - largest).astype(np.float64)).sum(axis=1, keepdims=True)).astype(np.float32)
    low, scale = lowest - largest - log_sum, (largest - lowest) / np.float32(65535)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
    codes = np.where(logits > lowest, np.rint(inverse * (logits - lowest)), 0).astype("<u2")
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    rows = b"".join(s.tobytes() + x.tobytes() + c.tobytes() for s, x, c in zip(scale, low, codes, strict=True))
    sizes = struct.pack("<3i", tokens.shape[1], logits.shape[1], tokens.shape[0])
    return b"_logits_" + sizes + tokens.astype("<i4").tobytes() + rows


def read_all(rows, size=3):
    """All blocks as one array, each checked to be where it should be."""
    found = []
    for first, block in rows.blocks(size):
        assert first == sum(len(b) for b in found)
        assert block.dtype == rows.dtype and block.shape == (min(size, rows.count - first), rows.classes)
        found.append(block)
    return np.concatenate(found) if found else np.empty((0, rows.classes), rows.dtype)
