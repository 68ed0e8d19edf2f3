"""Log-probabilities of a model of 72,547 words, by trigrams and by bigrams: python words.py FOLDER [--rows N]

The model is the en-us one of pocketsphinx, whose bigrams are the weaker model. The text is Python's own documentation;
a row is a word in the vocabulary, after two words that are. Rows do not quite sum to 1, as the model keeps some mass
for words that it does not know; as logits they are normalised.

Writes base.npy, bigram.npy, float32 (rows, 72547), and targets.npy. A row takes 0.15 seconds.
"""

import argparse
import pydoc_data.topics
import re
from pathlib import Path

import numpy as np
import pocketsphinx

LOG_BASE = np.log(1.0001)  # of the integers that the model gives


def vocabulary(path):
    """The words of the model: strings at the end of the file, after their size in bytes."""
    data = path.read_bytes()
    first = data.rindex(b"\0</s>\0<s>\0")
    while int.from_bytes(data[first - 4:first], "little") != len(data) - first:
        first -= 1
    return data[first:-1].decode().split("\0")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    path = Path(pocketsphinx.get_model_path("en-us/en-us.lm.bin"))
    model = pocketsphinx.NGramModel.readfile(str(path))
    words = vocabulary(path)
    numbers = {word: k for k, word in enumerate(words)}
    text = re.findall(r"[a-z']+", " ".join(pydoc_data.topics.topics.values()).lower())
    known = [k for k in range(2, len(text)) if all(text[k - j] in numbers for j in range(3))][: options.rows]
    shape = len(known), len(words)
    files = {name: np.lib.format.open_memmap(options.folder / f"{name}.npy", "w+", np.float32, shape)
             for name in ("base", "bigram")}
    for row, at in enumerate(known):
        for name, history in ("base", [text[at - 1], text[at - 2]]), ("bigram", [text[at - 1]]):
            files[name][row] = [model.prob([word, *history]) * LOG_BASE for word in words]
    np.save(options.folder / "targets.npy", [numbers[text[at]] for at in known])
    print(f"{shape[0]:,} rows of {shape[1]:,}: {options.folder}")


if __name__ == "__main__":
    main()
