"""What each row of a Dask array of logits predicts."""

from __future__ import annotations

from typing import Any

from .. import row_statistics as of_array
from .._options import takes_options_of
from .._results import RowStatistics
from .._validate import class_axis
from ._blocks import RowBlocks, computed, lazy


@takes_options_of(of_array)
def row_statistics(logits: Any, target: Any = None, *, compute: bool = True, **options: Any) -> RowStatistics:
    """What the softmax of each row of logits says of its target, of its most likely classes and of all of them.

    The numbers are those of `crossent.row_statistics`, to the bit, however the arrays are chunked.

    Parameters
    ----------
    logits : dask.array.Array or array_like
        Float16, bfloat16 (of ml_dtypes), float32 or float64.
    target : dask.array.Array or array_like, optional
        Class indices in the shape of `logits` without the class axis.
    compute : bool, default True
        Whether the arrays are computed now.
    **options
        As for `crossent.row_statistics`.

    Returns
    -------
    RowStatistics
        A named tuple of NumPy arrays, or with ``compute=False`` of Dask arrays, in the shape of `logits` without the
        class axis and with its chunks.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As `crossent.row_statistics`: of shapes, dtypes and options by the call, of values when they are computed, with
        the position among all rows. ValueError also if the chunks of an array are of unknown sizes.

    References
    ----------
    See `crossent.row_statistics`.

    Examples
    --------
    >>> import dask.array as da
    >>> import crossent.dask
    >>> s = crossent.dask.row_statistics(da.from_array([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]], chunks=1), [1, 2])
    >>> s.rank, s.argmax
    (array([1, 1]), array([0, 1]))
    """
    logits = lazy("logits", logits)
    blocks = RowBlocks(logits, class_axis("logits", logits.shape, options["axis"]))
    if target is not None:
        blocks.add_indices(lazy("target", target))
    options["axis"] = blocks.axis
    sample = blocks.sample(of_array, **options)
    found = blocks.call(of_array, options)
    last = len(blocks.rows)
    arrays = [
        None if x is None else blocks.part(found, k, x, last if x.ndim > last else None) for k, x in enumerate(sample)
    ]
    return RowStatistics(*(computed(arrays) if compute else arrays))
