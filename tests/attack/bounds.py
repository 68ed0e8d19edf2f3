"""The promised bar of each target in ULP: of the patterns that a target's name has in it, the first counts."""

import fnmatch

BARS = (
    ("gradient*float16", 1),
    ("float16", 4),
    ("", 4),
)


def bar(name):
    return next(limit for pattern, limit in BARS if fnmatch.fnmatchcase(name, f"*{pattern}*"))
