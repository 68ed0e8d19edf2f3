"""What a search has found, in a JSON file: of each target the worst row, with which a later run goes on.

Numbers of rows are hexadecimal, so that they are the same bits again.
"""

import json

import numpy as np

import crossent as xe


def written(value):
    """An array or number as JSON has it."""
    if isinstance(value, np.ndarray):
        wide = value.ravel().tolist() if value.dtype.kind in "iu" else [float(v).hex() for v in value.ravel()]
        return {"dtype": value.dtype.name, "shape": list(value.shape), "values": wide}
    return {"number": value.hex()} if isinstance(value, float) else value


def read(value):
    if isinstance(value, dict) and "number" in value:
        return float.fromhex(value["number"])
    if isinstance(value, dict):
        import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by its name then)

        numbers = [v if isinstance(v, int) else float.fromhex(v) for v in value["values"]]
        return np.array(numbers).astype(np.dtype(value["dtype"])).reshape(value["shape"])
    return value


class Records:
    """{target: what is known of it}, in a file that may not be there yet."""

    def __init__(self, path):
        self.path, self.found = path, {}
        if path and path.exists():
            self.found = json.loads(path.read_text())["targets"]

    def row(self, name):
        """(rows, shared, layout) of the worst row so far; None where there is none."""
        at = self.found.get(name, {}).get("at")
        if at is None:
            return None
        return ({key: read(v) for key, v in at["rows"].items()}, {key: read(v) for key, v in at["shared"].items()},
                at["layout"])

    def add(self, name, *, error, confirmed, bar, record, rows, seconds):
        """Counts of this run are added; the row is kept if its error is the largest so far, of this build."""
        old = self.found.get(name, {"rows": 0, "seconds": 0.0})
        arrays, shared, layout = record
        self.found[name] = {
            "error": error, "confirmed": confirmed, "bar": bar,
            "rows": old["rows"] + rows, "seconds": round(old["seconds"] + seconds, 1),
            "at": {"rows": {key: written(v) for key, v in arrays.items()},
                   "shared": {key: written(v) for key, v in shared.items()}, "layout": layout}}

    def save(self):
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps({"crossent": xe.config(), "targets": self.found}, indent=1))
            part.rename(self.path)
