"""How thorough the tests of this folder are: the environment variable CROSSENT_FAULTS is "short", or "long" for all."""

import os

NAMES = ("short", "long")
NAME = os.environ.get("CROSSENT_FAULTS", "short")
if NAME not in NAMES:
    raise ValueError(f"CROSSENT_FAULTS is {NAME!r}: expected one of {NAMES}")
LONG = NAME == "long"


def length(short, long):
    """The one of the two that was asked for."""
    return long if LONG else short
