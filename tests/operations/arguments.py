"""Every option of the library, once, whichever functions take it."""

from dataclasses import dataclass, field

import numpy as np

from .kinds import PER_CLASS, PER_ELEMENT, PER_ROW

INF, NAN = np.inf, np.nan
NO_NUMBERS = ("1", [0.5], 1j)
NOT_POSITIVE = (0, 0.0, -1, -1.0, NAN, INF, -INF)


@dataclass(frozen=True)
class Option:
    """`example`: a value that is not the default; `values`: what a random call has; `span`: the least and the largest
    number where any will do; `bad_values` are a ValueError and `bad_types` a TypeError in every function that takes the
    option, `needs` being given with them."""

    example: object
    values: tuple = ()
    span: tuple = ()
    bad_values: tuple = ()
    bad_types: tuple = ()
    needs: dict = field(default_factory=dict)


OPTIONS = {
    "temperature": Option(
        2.0, values=(0.25, 0.5, 1 / 3, 1.0, 2, 7.0), span=(0.02, 50), bad_values=NOT_POSITIVE, bad_types=("1", 1j)),
    "softcap": Option(
        3.0, values=(None, 0.5, 3.0, 30), span=(0.5, 50), bad_values=NOT_POSITIVE, bad_types=NO_NUMBERS),
    "teacher_softcap": Option(
        5.0, values=(None, 0.7, 5.0, 30), span=(0.5, 50), bad_values=NOT_POSITIVE, bad_types=NO_NUMBERS),
    "alpha": Option(
        0.25, values=(None, 0.0, 0.25, 1.0), span=(0.05, 0.95), bad_values=(-0.1, 1.1, NAN, INF), bad_types=NO_NUMBERS),
    "beta": Option(
        0.25, values=(0.1, 0.5, 0.9), span=(0.05, 0.95), bad_values=(-0.1, 1.1, NAN), bad_types=NO_NUMBERS),
    "label_smoothing": Option(
        0.125, values=(0.0, 0.1, 0.5, 1.0), span=(0.01, 1), bad_values=(-0.1, 1.0000001, 1.1, NAN, INF, -INF),
        bad_types=NO_NUMBERS),
    "z_loss": Option(
        0.25, values=(0.0, 1e-4, 0.5), span=(1e-4, 3), bad_values=(-0.1, NAN, INF, -INF), bad_types=NO_NUMBERS),
    "entropy_weight": Option(
        0.25, values=(-0.5, 0.0, 1e-3, 0.5), span=(1e-4, 3), bad_values=(NAN, INF, -INF), bad_types=NO_NUMBERS),
    "log_floor": Option(-2.5, values=(None, -100.0, -2.5), bad_values=(NAN,), bad_types=NO_NUMBERS),
    "denominator": Option(
        3.0, values=(1.0, 7.5, 64), span=(1, 1000), bad_values=NOT_POSITIVE, bad_types=NO_NUMBERS,
        needs={"reduction": "mean"}),
    "ignore_index": Option(2, bad_types=(-100.0, "1", [0.5], 1j, True)),
    "base": Option(2.0, values=(None, 2, 10.0, 0.5), bad_values=(1, 1.0, 0, -2, NAN), bad_types=NO_NUMBERS),
    "divergence": Option("js", values=("forward", "reverse", "js"), bad_values=("kl", "", None, "Forward")),
    "hessian": Option("absolute", values=("diagonal", "absolute"), bad_values=("exact", "", None, "Diagonal")),
    "hessian_scale": Option(2.0, values=(0.0, 0.5, 1.0, 2), bad_values=(-0.1, NAN, INF, -INF), bad_types=NO_NUMBERS),
    "hessian_floor": Option(
        0.125, values=(0.0, 1e-16, 0.25), bad_values=(-0.1, NAN, INF, -INF), bad_types=NO_NUMBERS),
    "reduction": Option("sum", bad_values=("batch_mean", "exp_mean", "Mean", "", None, 0)),
    "scale_by_temperature": Option(False, values=(True, False)),
    "log_target": Option(True, values=(True, False)),
    # Of float64; what else a half dtype takes is in losses/test_normalisers.py.
    "dtype": Option(np.float64, bad_types=(np.float32, np.float16, np.int64, "nonsense", 7, object())),
    "keepdims": Option(True, values=(True, False)),
    "axis": Option(-1, bad_types=(1.0, "1", [1])),
    # An array in place of each of these kinds; PER_ELEMENT in the losses of elements.
    "weight": Option(PER_CLASS),
    "sample_weight": Option(PER_ROW),
    "pos_weight": Option(PER_ELEMENT),
    "logit_bias": Option(PER_CLASS),
    "teacher_logit_bias": Option(PER_CLASS),
}
