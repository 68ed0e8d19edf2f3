"""The searches of all targets, which take turns; the rows of a file once more."""

import contextlib
import time

import numpy as np
from bounds import bar
from records import Records, write_summary
from search import Search, ordinary_error
from targets import matching

import crossent as xe

SLICE = 3.0  # seconds of one target at a time


def replay(records, targets):
    """The errors that the recorded rows have with this build."""
    over = 0
    for target in targets:
        record = records.row(target.name)
        if record:
            error = target.confirmed(*record)
            over += error > bar(target.name)
            before = records.found[target.name]["confirmed"]
            print(f"{error:12.4g} of {bar(target.name):g}, {before:.4g} when found: {target.name}", flush=True)
    return 1 if over else 0


class Attack:
    """The searches of some targets."""

    def __init__(self, targets, seed, records):
        self.records = records
        self.searches = {t.name: Search(t, [seed, i], records.row(t.name)) for i, t in enumerate(targets)}
        self.seconds = dict.fromkeys(self.searches, 0.0)
        self.grown = dict.fromkeys(self.searches, 1.0)  # what turns add to the error, in bars
        self.rng = np.random.default_rng(seed)

    def next(self):
        """Every target once; then by chance, those that grow more often."""
        new = [name for name, seconds in self.seconds.items() if not seconds]
        if new:
            return new[0]
        names = list(self.searches)
        chance = np.array([0.1 + min(self.grown[name], 1.0) for name in names])
        return names[self.rng.choice(len(names), p=chance / chance.sum())]

    def turn(self, name, seconds):
        search, start = self.searches[name], time.perf_counter()
        before, limit = max(search.worst, 0.0), bar(name)
        while time.perf_counter() - start < seconds:
            search.step()
        self.seconds[name] += time.perf_counter() - start
        growth = (search.worst - before) / limit if search.worst > before else 0.0
        self.grown[name] = max(min(growth, 1.0), self.grown[name] / 2)

    def run(self, seconds):
        end = time.perf_counter() + seconds
        length = min(SLICE, max(seconds / len(self.searches), 0.2))
        while time.perf_counter() < end:
            self.turn(self.next(), length)

    def report(self):
        """Prints and records what was found; whether all is within its bar and confirmed."""
        good = True
        for name, search in self.searches.items():
            if search.record is None or not self.seconds[name]:
                continue
            confirmed, limit = search.target.confirmed(*search.record), bar(name)
            agrees = confirmed == search.worst or abs(confirmed - search.worst) <= 0.02 + 1e-6 * confirmed
            good &= confirmed <= limit and agrees
            remark = "" if agrees else f"  NOT CONFIRMED: {search.worst:.6g} by the fast oracle"
            mark = "*" if confirmed > limit else " "
            print(f"{mark} {confirmed:10.4g} of {limit:g}  {name}  ({search.tried:,} rows, "
                  f"{self.seconds[name]:.0f} s){remark}", flush=True)
            self.records.add(name, error=search.worst, confirmed=confirmed, bar=limit, record=search.record,
                             rows=search.tried, seconds=self.seconds[name], ordinary=ordinary_error(search.target, 0))
        self.records.save()
        return good


def main(given):
    targets = matching(given.targets)
    if given.list:
        print("\n".join(target.name for target in targets))
        return 0
    if not targets:
        raise SystemExit("no target has such a name")
    if given.summary:
        return write_summary(*given.summary, targets)
    print(f"level {xe.config()['isa']}, {len(targets)} targets")
    if given.replay:
        return replay(Records(given.replay), targets)
    attack = Attack(targets, given.seed, Records(given.json))
    with contextlib.suppress(KeyboardInterrupt):
        attack.run(given.seconds)
    return 0 if attack.report() else 1
