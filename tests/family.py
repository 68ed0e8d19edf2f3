"""The table of the losses: for each its arguments, its options and its exact parts. One row per loss, 12 x 9 logits."""

import numpy as np
import oracle
import oracle_binary
import oracle_divergence
from mpmath import mpf
from oracle_parts import BFLOAT16, Part, arithmetic

ROWS, CLASSES = 12, 9
WEIGHT = [0.5, 1.0, 2.0, 0.0, 0.25, 3.0, 1e-3, 1e3, 0.1]
SAMPLE_WEIGHT = [1.0, 0.5, 0.0, 2.0, 0.3, 1e-3, 7.0, 1.0, 1.0, 0.0, 0.1, 5.0]

FLOATS = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64))
# (first, second) argument: alike, and each with a wider and a narrower one.
PAIRS = (*((f, f) for f in FLOATS), (FLOATS[0], FLOATS[3]), (BFLOAT16, FLOATS[2]), (FLOATS[2], FLOATS[3]),
         (FLOATS[3], FLOATS[0]))


def spacing(dtype):
    """Of the numbers at 1."""
    return float(oracle.format_of(dtype).eps)


# ---- Arguments -------------------------------------------------------------------------------------------------------


def some_logits(rng, dtype):
    """Ordinary rows, and one each: confident, offset, masked, equal."""
    x = rng.normal(0, 4, (ROWS, CLASSES))
    x[1] -= 3
    x[1, 2] = 16
    x[2] += 100
    x[3, 3] = -np.inf  # the class of weight 0
    x[4] = 0.5
    return x.astype(dtype)


def some_probabilities(rng, dtype):
    """Ordinary rows, and: a sharp one, 0 at the masked classes, one-hot, half of the classes."""
    q = np.exp(rng.normal(0, 2, (ROWS, CLASSES)))
    q[1, 0] = 1e5
    q[3, 3] = 0
    q[5] = np.eye(CLASSES)[3]
    q[6, ::2] = 0
    return (q / q.sum(axis=1, keepdims=True)).astype(dtype)


def some_log_probabilities(rng, dtype):
    with np.errstate(divide="ignore"):
        return np.log(some_probabilities(rng, np.float64)).astype(dtype)


def some_classes(rng):
    target = rng.integers(0, CLASSES, ROWS)
    target[1], target[3] = 2, 0
    return target


def student_and_teacher(divergence):
    """Each masked where the divergence stays finite: forward needs t = 0 where s is, reverse s = 0 where t is."""
    def draw(rng, first, second):
        x, t = (some_logits(rng, np.float64) for _ in range(2))
        t[5] = x[5] + rng.normal(0, 2**-5, CLASSES)
        if divergence != "reverse":
            t[6, 2:4] = -np.inf
        if divergence != "forward":
            x[6, 5:7] = -np.inf
        x, t = x.astype(first), t.astype(second)
        x[7] = t[7] = np.arange(CLASSES) / 4  # equal in every dtype
        return x, t
    return draw


def indices(rng, first, second):
    return some_logits(rng, first), some_classes(rng)


def probabilities(rng, first, second):
    q = some_probabilities(rng, second)
    q[8] = 0  # no coefficient at all
    return some_logits(rng, first), q


def log_probabilities_and_classes(rng, first, second):
    return some_log_probabilities(rng, first), np.where(np.arange(ROWS) == 3, 0, some_classes(rng))


def logits_teacher_classes(rng, first, second):
    return *student_and_teacher("forward")(rng, first, second), some_classes(rng)


def logits_teacher_probabilities(rng, first, second):
    return *student_and_teacher("forward")(rng, first, second), some_probabilities(rng, second)


def log_probabilities_and_probabilities(rng, first, second):
    q, log_p = some_probabilities(rng, second), some_log_probabilities(rng, first)
    return log_p, np.where(np.isneginf(log_p.astype(np.float64)), 0, q.astype(np.float64)).astype(second)


def log_probabilities_twice(rng, first, second):
    log_t, log_p = some_log_probabilities(rng, second), some_log_probabilities(rng, first)
    return log_p, np.where(np.isneginf(log_p.astype(np.float64)), -np.inf, log_t.astype(np.float64)).astype(second)


def binary_targets(rng, dtype):
    y = rng.uniform(0, 1, (ROWS, CLASSES))
    y[:4] = rng.integers(0, 2, (4, CLASSES))
    y[4, :3] = 1e-4
    return y.astype(dtype)


def binary_probabilities(rng, first, second):
    """With 0, 1 and their neighbours."""
    p, y = rng.uniform(0, 1, (ROWS, CLASSES)).astype(first), binary_targets(rng, second)
    p[0] = np.where(np.arange(CLASSES) % 2, 0, 1)
    p[1, :4], p[1, 4:] = 1e-7, 1 - 2**-8
    y[0, :4] = [0, 0, 1, 1]  # p = 1, 0, 1, 0: both certainties, right and wrong
    return p, y


def binary_logits(rng, first, second):
    x = rng.normal(0, 6, (ROWS, CLASSES))
    x[1] = np.linspace(-80, 80, CLASSES)
    x[2] = np.linspace(-1e-3, 1e-3, CLASSES)
    return x.astype(first), binary_targets(rng, second)


def of_elements(seed):
    """A weight per element, some of them 0; the same in every run."""
    w = np.random.default_rng(seed).uniform(0, 3, (ROWS, CLASSES)).astype(np.float32)
    w[:, 4] = 0
    return w


# ---- Exact parts -----------------------------------------------------------------------------------------------------


def cross_entropy_part(x, target, share=mpf(1), **options):
    gradients, scales = oracle.cross_entropy_grad(x, target, **options)
    own = oracle.denominator(*x.shape, target, **options)
    return Part(share * oracle.cross_entropy_rows(x, target, **options), share * gradients, share * scales,
                {"mean": own})


def cross_entropy(x, target, **options):
    return [cross_entropy_part(x, target, **options)]


def nll_loss(x, target, **options):
    gradients, scales = oracle.nll_loss_grad(x, target, **options)
    return [Part(oracle.nll_loss_rows(x, target, **options), gradients, scales,
                 {"mean": oracle.denominator(*x.shape, target, **options)})]


def kl_part(x, teacher, v, share=mpf(1), **options):
    """`v`: the weight of each row, None where the row is ignored."""
    counted = [bool(w) for w in v]
    losses, gradients, scales = oracle_divergence.kl_div_rows(x, teacher, counted, **options)
    factor = np.array([share * w if w else oracle.ZERO for w in v], dtype=object)
    total = sum(w for w in v if w)
    return Part(factor * losses, factor[:, None] * gradients, factor[:, None] * scales,
                {"mean": total, "batchmean": total})


def kl_div_with_logits(x, teacher, sample_weight=None, **options):
    v = [mpf(1)] * len(x) if sample_weight is None else list(oracle.exact(sample_weight))
    return [kl_part(x, teacher, v, **options)]


def distillation_loss(x, teacher, target=None, *, alpha=None, temperature=1.0, scale_by_temperature=True,
                      divergence="forward", beta=0.5, **options):
    alpha = mpf(float((1.0 if target is None else 0.5) if alpha is None else alpha))
    v = options.get("sample_weight")
    v = [mpf(1)] * len(x) if v is None else list(oracle.exact(v))
    if target is not None and np.ndim(target) == 1:
        v = [None if y == options.get("ignore_index", -100) else w for y, w in zip(target, v)]
    parts = []
    if alpha:
        share = alpha * (mpf(float(temperature)) ** 2 if scale_by_temperature else 1)
        parts.append(kl_part(x, teacher, v, share, temperature=temperature, divergence=divergence, beta=beta))
    if alpha < 1:
        parts.append(cross_entropy_part(x, target, 1 - alpha, **options))
    return parts


def binary(function):
    def parts(x, target, **options):
        return [Part(*function(x, target, **options), {"mean": mpf(x.size)})]
    return parts


def kl_div(x, target, log_target=False, axis=None):
    losses, loss_scales, gradients = oracle_divergence.kl_div(x, target, log_target)
    if axis is not None:
        losses, loss_scales = losses.sum(axis=1), loss_scales.sum(axis=1)
    return [Part(losses, gradients, gradients, {"mean": mpf(x.size), "batchmean": mpf(len(x))}, loss_scales)]


# ---- The table -------------------------------------------------------------------------------------------------------


class Operation:
    def __init__(self, name, function, draw, parts, options, *, fixed=None, per_element=False, batchmean=False,
                 pairs=PAIRS):
        self.name, self.function, self.draw, self.parts = name, function, draw, parts
        self.fixed = fixed or {}  # options of every call
        self.options = {"plain": {}, **options}
        self.per_element, self.pairs = per_element, pairs
        self.reductions = ("none", "sum", "mean", *(("batchmean",) if batchmean else ()))
        self.takes_axis = not per_element

    def arguments(self, rng, pair, option):
        """(arrays, options), the options with arrays in the arithmetic dtype, as the library sees them."""
        options = {**self.fixed, **self.options[option]}
        dtype = arithmetic(pair[0])
        return self.draw(rng, *pair), {
            k: np.array(v, dtype) if isinstance(v, (list, np.ndarray)) else v for k, v in options.items()}

    def exact(self, arrays, options):
        """The parts, of arguments in the arithmetic dtype."""
        dtype = arithmetic(arrays[0].dtype)
        first, *others = arrays
        with np.errstate(all="ignore"):
            others = [a if a.dtype.kind in "iu" else a.astype(dtype) for a in others]
        return self.parts(first, *others, **options)


SMOOTHED = {"weight": {"weight": WEIGHT}, "smoothing": {"label_smoothing": 0.1}}
KL = {"cold": {"temperature": 0.5}, "hot": {"temperature": 7.0},
      "sample_weight": {"sample_weight": SAMPLE_WEIGHT, "temperature": 1 / 3}}
DISTILLATION = {
    "hot": {"temperature": 4.0, "alpha": 0.9}, "unscaled": {"temperature": 3.0, "scale_by_temperature": False},
    "everything": {"temperature": 2.0, "alpha": 0.25, "weight": WEIGHT, "sample_weight": SAMPLE_WEIGHT,
                   "label_smoothing": 0.05},
    "js": {"divergence": "js", "beta": 0.3},
}
ALIKE = PAIRS[:4]

TABLE = (
    Operation("cross_entropy", "cross_entropy", indices, cross_entropy, pairs=ALIKE, options={
        "everything": {"weight": WEIGHT, "sample_weight": SAMPLE_WEIGHT, "ignore_index": 2, "label_smoothing": 0.05}}),
    Operation("cross_entropy_probabilities", "cross_entropy", probabilities, cross_entropy, options={
        **SMOOTHED, "sample_weight": {"sample_weight": SAMPLE_WEIGHT},
        "everything": {"weight": WEIGHT, "sample_weight": SAMPLE_WEIGHT, "label_smoothing": 0.3}}),
    Operation("nll_loss", "nll_loss", log_probabilities_and_classes, nll_loss, pairs=ALIKE, options={
        "everything": {"weight": WEIGHT, "sample_weight": SAMPLE_WEIGHT, "ignore_index": 2}}),
    *(Operation(f"kl_div_with_logits_{divergence}", "kl_div_with_logits", student_and_teacher(divergence),
                kl_div_with_logits, {**KL, **({"beta": {"beta": 0.1}} if divergence == "js" else {})},
                fixed={"divergence": divergence}, batchmean=True) for divergence in oracle_divergence.DIVERGENCES),
    Operation("distillation_loss", "distillation_loss", student_and_teacher("forward"), distillation_loss, options={
        "hot": {"temperature": 4.0}, "sample_weight": {"sample_weight": SAMPLE_WEIGHT, "temperature": 1.5}}),
    Operation("distillation_loss_indices", "distillation_loss", logits_teacher_classes, distillation_loss, options={
        **DISTILLATION, "ignore_index": {"ignore_index": 2, "temperature": 2.0}}),
    Operation("distillation_loss_probabilities", "distillation_loss", logits_teacher_probabilities, distillation_loss,
              options=DISTILLATION),
    Operation("binary_cross_entropy", "binary_cross_entropy", binary_probabilities,
              binary(oracle_binary.binary_cross_entropy), per_element=True, options={
                  "weight": {"weight": of_elements(1)}, "floor": {"log_floor": -2.5}, "exact": {"log_floor": None}}),
    Operation("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits", binary_logits,
              binary(oracle_binary.binary_cross_entropy_with_logits), per_element=True, options={
                  "weight": {"weight": of_elements(1)}, "pos_weight": {"pos_weight": of_elements(2)},
                  "smoothing": {"label_smoothing": 0.2},
                  "everything": {"weight": of_elements(3), "pos_weight": of_elements(4), "label_smoothing": 0.01}}),
    Operation("kl_div", "kl_div", log_probabilities_and_probabilities, kl_div, {}, per_element=True, batchmean=True),
    Operation("kl_div_log_target", "kl_div", log_probabilities_twice, kl_div, {}, fixed={"log_target": True},
              per_element=True, batchmean=True),
    Operation("kl_div_rows", "kl_div", log_probabilities_and_probabilities, kl_div, {}, fixed={"axis": 1},
              batchmean=True),
    Operation("kl_div_rows_log_target", "kl_div", log_probabilities_twice, kl_div, {},
              fixed={"axis": 1, "log_target": True}, batchmean=True),
)
BY_NAME = {operation.name: operation for operation in TABLE}
CASES = [(operation, option) for operation in TABLE for option in operation.options]
