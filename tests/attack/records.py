"""What a search has found, in a JSON file: of each target the worst row, with which a later run goes on.

Numbers of rows are hexadecimal, so that they are the same bits again.
"""

import json
import math

import numpy as np
from bounds import bar

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

    def add(self, name, *, error, confirmed, bar, record, rows, seconds, ordinary):
        """Counts of this run are added; the row is kept if its error is the largest so far, of this build."""
        old = self.found.get(name, {"rows": 0, "seconds": 0.0})
        arrays, shared, layout = record
        self.found[name] = {
            "error": error, "confirmed": confirmed, "bar": bar, "ordinary": ordinary,
            "rows": old["rows"] + rows, "seconds": round(old["seconds"] + seconds, 1),
            "at": {"rows": {key: written(v) for key, v in arrays.items()},
                   "shared": {key: written(v) for key, v in shared.items()}, "layout": layout}}

    def save(self):
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps({"crossent": xe.config(), "targets": self.found}, indent=1))
            part.rename(self.path)


def write_summary(folder, path, targets):
    """What the LEVEL.json files of a folder come to: of each target its bar and its largest errors."""
    records = {record.stem: Records(record).found for record in sorted(folder.glob("*.json"))}
    found = {}
    for name in (target.name for target in targets):
        of_levels = {level: record[name] for level, record in records.items() if name in record}
        ordinary = [r["ordinary"] for r in of_levels.values() if "ordinary" in r]  # of a level that had a turn since
        found[name] = {"bar": bar(name), "ordinary": rounded(max(ordinary)) if ordinary else None,
                       "search": {level: rounded(r["confirmed"]) for level, r in of_levels.items()}}
    levels = {level: {key: round(sum(r[key] for r in record.values())) for key in ("rows", "seconds")}
              for level, record in records.items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(of_target)}" for name, of_target in found.items())
    path.write_text(f'{{"levels": {json.dumps(levels)},\n "targets": {{\n{lines}\n}}}}\n')
    return 0


def rounded(error):
    """Up, to three digits after the point."""
    return math.ceil(error * 1000) / 1000
