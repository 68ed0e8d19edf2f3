"""`crossent demo`: parts that each measure something, then one report. Needs the extra `demo`."""

from .report import run

__all__ = ["run"]
