"""Logits of a text recogniser of 18,710 characters, base and int8: python recogniser.py FOLDER [--lines N] [--float32]

The model is PP-OCRv6, as the package rapidocr ships it; the lines are words of Python's own documentation, drawn by
Pillow in several sizes. Each line gives 120 frames. The target of a frame is the character, or the blank, that the most
probable alignment (CTC, Viterbi) of the line's text with the frames of the base model has there.

Writes base.npy, int8.npy, (rows, 18710), and targets.npy; frames of one line are a block of 120 rows.
"""

import argparse
import pydoc_data.topics
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import rapidocr
from numpy.lib.format import open_memmap
from onnxruntime.quantization import QuantType, quantize_dynamic
from PIL import Image, ImageDraw, ImageFont

HEIGHT, WIDTH, FRAMES = 48, 960, 120
AT_ONCE = 8  # lines
BLANK = 0


def without_softmax(path):
    """The model whose output is what the last softmax is given, and its characters."""
    model = onnx.load(path)
    last = model.graph.node[-1]
    assert last.op_type == "Softmax"
    model.graph.output[0].name = last.input[0]
    model.graph.node.pop()
    characters = next(p.value for p in model.metadata_props if p.key == "character").split("\n")
    return model, {character: k for k, character in enumerate(characters, 1)}


def texts(count, known):
    """Lines of 40 to 60 characters that the recogniser knows."""
    words = [w for w in re.findall(r"\S+", " ".join(pydoc_data.topics.topics.values())) if all(c in known for c in w)]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 60:
            lines.append(line.strip())
            line = ""
        line += word + " "
    return [line for line in lines if 40 <= len(line) <= 60][:count]


def picture(text, seed):
    """float32 (3, 48, 960) in [-1, 1]: the text in grey on a noisy ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (WIDTH, HEIGHT), 235)
    font = ImageFont.load_default(size=int(rng.integers(22, 32)))
    ImageDraw.Draw(image).text((8, int(rng.integers(4, 12))), text, fill=int(rng.integers(0, 120)), font=font)
    pixels = np.asarray(image, np.float32) + rng.normal(0, 12, (HEIGHT, WIDTH)).astype(np.float32)
    return np.repeat((np.clip(pixels, 0, 255) / 127.5 - 1)[None], 3, axis=0)


def alignment(logits, labels):
    """The label of each frame in the most probable alignment: blanks between the labels, labels repeated."""
    states = np.full(2 * len(labels) + 1, BLANK)
    states[1::2] = labels
    score = logits[:, states] - np.logaddexp.reduce(logits, axis=1)[:, None]
    skips = np.zeros(states.size, bool)  # of the blank before
    skips[3::2] = states[3::2] != states[1:-2:2]
    best = np.where(np.arange(states.size) < 2, score[0], -np.inf)
    steps = np.zeros(score.shape, int)
    for frame in range(1, len(score)):
        ways = np.stack([best, np.r_[-np.inf, best[:-1]], np.where(skips, np.r_[-np.inf, -np.inf, best[:-2]], -np.inf)])
        steps[frame] = ways.argmax(axis=0)
        best = ways.max(axis=0) + score[frame]
    state = states.size - 2 + int(best[-1] > best[-2])
    found = np.empty(len(score), np.int64)
    for frame in range(len(score) - 1, -1, -1):
        found[frame] = states[state]
        state -= steps[frame, state]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lines", type=int, default=64)
    parser.add_argument("--float32", action="store_true", help="instead of float16")
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)

    (shipped,) = (Path(rapidocr.__file__).parent / "models").glob("*_rec_*.onnx")
    model, known = without_softmax(shipped)
    onnx.save(model, folder / "base.onnx")
    quantize_dynamic(folder / "base.onnx", folder / "int8.onnx", op_types_to_quantize=["MatMul"],
                     weight_type=QuantType.QInt8)
    sessions = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("base", "int8")}

    lines = texts(options.lines, known)
    shape = len(lines) * FRAMES, max(known.values()) + 2  # the blank before, the space behind the characters
    dtype = np.float32 if options.float32 else np.float16
    files = {name: open_memmap(folder / f"{name}.npy", "w+", dtype, shape) for name in sessions}
    targets = np.empty(len(lines) * FRAMES, np.int64)
    for first in range(0, len(lines), AT_ONCE):
        some = lines[first:first + AT_ONCE]
        pictures = np.stack([picture(text, first + k) for k, text in enumerate(some)])
        for name, session in sessions.items():
            logits = session.run(None, {"x": pictures})[0]
            assert logits.shape == (len(some), FRAMES, shape[1]), logits.shape
            files[name][first * FRAMES:(first + len(some)) * FRAMES] = logits.reshape(-1, shape[1])
            if name == "base":
                for k, text in enumerate(some):
                    labels = [known.get(c, shape[1] - 1) for c in text]
                    at = (first + k) * FRAMES
                    targets[at:at + FRAMES] = alignment(logits[k].astype(np.float64), labels)
    np.save(folder / "targets.npy", targets)
    for file in files.values():
        file.flush()
    print(f"{len(lines)} lines, {shape[0]:,} rows of {shape[1]:,} in {dtype.__name__}: {folder}")


if __name__ == "__main__":
    main()
