"""Logits of a character language model of 465 characters, float32 and with int8 weights: python characters.py FOLDER

The model is that of textgenrnn 2.0.0: an embedding, two LSTMs and a weighted mean over the last 40 characters. The text
is Python's own documentation; each window of 128 characters begins anew, and each position has what came before it in
its window as its context. Pass textgenrnn's folder (of its sdist) by --package.

Writes base.npy and int8.npy, float32 (rows, 465), and targets.npy; a window is a block of 128 rows.
"""

import argparse
import json
import pydoc_data.topics
from pathlib import Path

import h5py
import numpy as np

WINDOW, CONTEXT = 128, 40


def load(folder):
    """The weights by name, those of the LSTMs from CuDNN's memory order, and the number of each character."""
    weights = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            weights[name.split("/", 1)[1].removesuffix(":0")] = item[...]

    with h5py.File(folder / "textgenrnn_weights.hdf5") as file:
        file.visititems(keep)
    return weights, json.loads((folder / "textgenrnn_vocab.json").read_text())


def lstm(weights, name, x):
    """(batch, time, 128): the outputs of an LSTM over `x`, (batch, time, features)."""
    kernel, recurrent, bias = (weights[f"{name}/{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
    kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, 4)])
    recurrent = np.hstack([k.T for k in np.hsplit(recurrent, 4)])
    bias = bias[: bias.size // 2] + bias[bias.size // 2:]
    h = c = np.zeros((x.shape[0], recurrent.shape[0]), np.float32)
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.hsplit(x[:, t] @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def predict(weights, contexts):
    """float32 (batch, 465): the logits of the character after each context, (batch, 40) numbers of characters."""
    embedded = weights["embedding/embeddings"][contexts]
    first = lstm(weights, "rnn_1", embedded)
    second = lstm(weights, "rnn_2", first)
    features = np.concatenate([embedded, first, second], axis=2)
    share = np.exp(features @ weights["attention/attention_W"])
    mean = (features * share).sum(axis=1) / share.sum(axis=1)
    return mean @ weights["output/kernel"] + weights["output/bias"]


def rounded(weights):
    """The weights in 8 bits, with one scale for each matrix."""
    scales = {name: np.abs(x).max() / 127 for name, x in weights.items()}
    return {name: (np.round(x / scales[name]) * scales[name]).astype(np.float32) for name, x in weights.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--package", type=Path, required=True, help="textgenrnn's folder, with its weights")
    parser.add_argument("--windows", type=int, default=64)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    weights, numbers = load(options.package)
    text = " ".join(pydoc_data.topics.topics.values())
    codes = np.array([numbers[c] for c in text if c in numbers])[: options.windows * WINDOW].reshape(-1, WINDOW)
    start = np.full((len(codes), 1), numbers["<s>"])
    padded = np.hstack([np.zeros((len(codes), CONTEXT - 1), int), start, codes])
    for name, model in {"base": weights, "int8": rounded(weights)}.items():
        logits = np.stack([predict(model, padded[:, t:t + CONTEXT]) for t in range(WINDOW)], axis=1)
        np.save(options.folder / f"{name}.npy", logits.reshape(-1, logits.shape[2]))
    np.save(options.folder / "targets.npy", codes.reshape(-1))
    print(f"{len(codes)} windows, {codes.size:,} rows of {logits.shape[2]}: {options.folder}")


if __name__ == "__main__":
    main()
