"""Losses and evaluations of Dask arrays, and of files that many processes read.

Each function computes what the function of the same name in `crossent` or `crossent.evaluation` computes, in tasks that
have some of the rows each and one thread. A task has whole rows: where the classes are chunked too, the chunks of some
rows are put together first. With ``compute=False`` the results are lazy, and `dask.compute` finds several at once.
"""

try:
    import dask.array  # noqa: F401
except ImportError as missing:
    raise ImportError("crossent.dask needs Dask: pip install 'crossent[dask]'") from missing

from ._arrays import cross_entropy, row_statistics
from ._evaluations import compare, evaluate

__all__ = ["compare", "cross_entropy", "evaluate", "row_statistics"]
