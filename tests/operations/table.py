"""The registry: a row for each loss, and for each public function that is none."""

from oracle.divergence import DIVERGENCES

from . import draws
from .functions import ALIKE, Form, Function, Loss
from .kinds import (
    CLASS_INDICES,
    FRACTIONS,
    LISTED_CLASSES,
    LISTED_LOG_PROBABILITIES,
    LISTED_LOGITS,
    LOG_PROBABILITIES,
    LOGITS,
    PER_CLASS,
    PER_ELEMENT,
    PER_ROW,
    PROBABILITIES,
    TEMPERATURES,
)

BOTH_WEIGHTS = {"weight": PER_CLASS, "sample_weight": PER_ROW}
EVERY_WEIGHT = {"weight": PER_ELEMENT, "pos_weight": PER_ELEMENT}
NO_TARGET = ("alpha", "weight", "ignore_index", "label_smoothing", "z_loss")  # what distillation refuses without one
INDEX_CASES = {"weight": {"weight": PER_CLASS}, "sample_weight": {"sample_weight": PER_ROW},
               "ignore_index": {"ignore_index": 4}, "ignore_none": {"ignore_index": None}}
TEMPERATURE_CASES = {"cold": {"temperature": 1 / 3}, "hot": {"temperature": 7.0},
                     "temperature_everything": {**BOTH_WEIGHTS, "label_smoothing": 0.3, "z_loss": 0.25,
                                                "temperature": 0.7}}
# Forms whose logits are made of the numbers that are given, in float64: (softcap tanh(x / softcap) + logit_bias) / T.
LOGIT_CASES = {"plain": {"softcap": 6.0}, "logit_bias": {"logit_bias": PER_CLASS},
               "temperatures": {"temperature": TEMPERATURES}}
OF_LOGITS = {"softcap": 6.0, "logit_bias": PER_CLASS, "temperature": TEMPERATURES}
# A class is masked in both rows, or divergences would be infinite.
BOTH_BIASES = {"logit_bias": PER_CLASS, "teacher_logit_bias": PER_CLASS}
TEACHER_CASES = {**LOGIT_CASES, "logit_bias": BOTH_BIASES, "teacher_softcap": {"teacher_softcap": 4.0}}
OF_TWO_LOGITS = {**OF_LOGITS, **BOTH_BIASES, "teacher_softcap": 4.0}
Z_LOSS_CASES = {"z_loss": {"z_loss": 0.25},
                "weight_smoothing_z_loss": {**BOTH_WEIGHTS, "label_smoothing": 0.3, "z_loss": 1e-4}}
ENTROPY_CASES = {"entropy": {"entropy_weight": 0.25},
                 "entropy_temperature": {"entropy_weight": 2.0, "temperature": 0.7},
                 "entropy_everything": {**BOTH_WEIGHTS, "label_smoothing": 0.3, "z_loss": 0.25, "temperature": 7.0,
                                        "entropy_weight": -0.5}}

CROSS_ENTROPY = Loss(
    "cross_entropy",
    "logits, target, *, axis=None, temperature=1.0, softcap=None, logit_bias=None, weight=None, ignore_index=-100, "
    "label_smoothing=0.0, z_loss=0.0, entropy_weight=0.0, sample_weight=None, reduction='mean', denominator=None",
    Form(
        arrays={"logits": LOGITS, "target": CLASS_INDICES}, draw=draws.indices, pairs=ALIKE,
        cases={**INDEX_CASES, "label_smoothing": {"label_smoothing": 0.1},
               "label_smoothing_1": {"label_smoothing": 1.0},
               "weight_label_smoothing": {"weight": PER_CLASS, "label_smoothing": 0.3},
               **Z_LOSS_CASES, **TEMPERATURE_CASES, **ENTROPY_CASES,
               "everything": {**BOTH_WEIGHTS, "ignore_index": 2, "label_smoothing": 0.05}},
        golden={},  # contract/golden.py has its own arrays for class indices
        accuracy={"cross_entropy": {}, "cross_entropy smoothed": {**BOTH_WEIGHTS, "label_smoothing": 0.1}},
        accuracy_reductions=("mean", "sum"),
    ),
    Form(
        "probabilities", arrays={"logits": LOGITS, "target": PROBABILITIES}, draw=draws.probabilities,
        lacks=("ignore_index",),
        cases={"weight": {"weight": PER_CLASS}, "smoothing": {"label_smoothing": 0.1}, **Z_LOSS_CASES,
               **TEMPERATURE_CASES, **ENTROPY_CASES,
               "sample_weight": {"sample_weight": PER_ROW}, "everything": {**BOTH_WEIGHTS, "label_smoothing": 0.3}},
        golden={"cross_entropy": {}, "cross_entropy options": {**BOTH_WEIGHTS, "label_smoothing": 0.125},
                "cross_entropy z_loss": {**BOTH_WEIGHTS, "z_loss": 0.25},
                "cross_entropy entropy": {**BOTH_WEIGHTS, "entropy_weight": 0.25},
                "cross_entropy temperature": {**BOTH_WEIGHTS, "label_smoothing": 0.125, "temperature": 0.7}},
        accuracy={"cross_entropy probabilities": {}},
    ),
    Form(
        "transformed", arrays={"logits": LOGITS, "target": CLASS_INDICES}, draw=draws.indices, pairs=ALIKE,
        cases={**LOGIT_CASES, "softcap_hot": {"softcap": 6.0, "temperature": 7.0},
               "everything": {**OF_LOGITS, **BOTH_WEIGHTS, "ignore_index": 2, "label_smoothing": 0.05, "z_loss": 0.25}},
        golden={"cross_entropy transformed": {**OF_LOGITS, "label_smoothing": 0.125}},
    ),
    Form(
        "probabilities_transformed", arrays={"logits": LOGITS, "target": PROBABILITIES}, draw=draws.probabilities,
        lacks=("ignore_index",),
        cases={**LOGIT_CASES, "everything": {**OF_LOGITS, **BOTH_WEIGHTS, "label_smoothing": 0.3, "z_loss": 1e-4}},
        golden={"cross_entropy probabilities transformed": OF_LOGITS},
    ),
)

NLL_LOSS = Loss(
    "nll_loss",
    "log_probs, target, *, axis=None, weight=None, ignore_index=-100, sample_weight=None, reduction='mean', "
    "denominator=None",
    Form(
        arrays={"log_probs": LOG_PROBABILITIES, "target": CLASS_INDICES}, draw=draws.log_probabilities_and_classes,
        pairs=ALIKE, cases={**INDEX_CASES, "everything": {**BOTH_WEIGHTS, "ignore_index": 2}},
        golden={}, accuracy={"nll_loss": {}},
    ),
)

KL_DIV_WITH_LOGITS = Loss(
    "kl_div_with_logits",
    "logits, teacher_logits, *, axis=None, temperature=1.0, softcap=None, logit_bias=None, teacher_softcap=None, "
    "teacher_logit_bias=None, divergence='forward', beta=0.5, sample_weight=None, reduction='batchmean', "
    "denominator=None",
    *(Form(
        divergence, arrays={"logits": LOGITS, "teacher_logits": LOGITS}, draw=draws.student_and_teacher(divergence),
        fixed={"divergence": divergence},
        cases={"cold": {"temperature": 0.5}, "hot": {"temperature": 7.0},
               "sample_weight": {"sample_weight": PER_ROW, "temperature": 1 / 3},
               **({"beta": {"beta": 0.1}} if divergence == "js" else {})},
        golden={divergence: {},
                f"{divergence} options": {"temperature": 0.7, "beta": 0.25, "sample_weight": PER_ROW},
                **({"kl_div_with_logits_backward": {}} if divergence == "forward" else {})},
        accuracy={f"kl_div_with_logits {divergence}": {"beta": 0.3}},
        accuracy_reductions=("mean",) if divergence == "forward" else (),
        gradient_limit=4 if divergence == "forward" else 8,  # see losses/test_divergence.py
    ) for divergence in DIVERGENCES),
    *(Form(
        f"{divergence}_transformed", arrays={"logits": LOGITS, "teacher_logits": LOGITS},
        draw=draws.student_and_teacher(divergence), fixed={"divergence": divergence},
        cases={**TEACHER_CASES, "everything": {**OF_TWO_LOGITS, "sample_weight": PER_ROW}},
        golden={f"{divergence} transformed": OF_TWO_LOGITS},
        gradient_limit=4 if divergence == "forward" else 8,
    ) for divergence in DIVERGENCES),
    batchmean=True,
)

DISTILLATION_CASES = {
    "hot": {"temperature": 4.0, "alpha": 0.9},
    "unscaled": {"temperature": 3.0, "scale_by_temperature": False},
    "everything": {"temperature": 2.0, "alpha": 0.25, **BOTH_WEIGHTS, "label_smoothing": 0.05},
    "js": {"divergence": "js", "beta": 0.3},
    "z_loss": {"temperature": 2.0, "alpha": 0.25, "z_loss": 0.25},
}
DISTILLATION_LOSS = Loss(
    "distillation_loss",
    "logits, teacher_logits, target=None, *, axis=None, temperature=1.0, softcap=None, logit_bias=None, "
    "teacher_softcap=None, teacher_logit_bias=None, alpha=None, scale_by_temperature=True, divergence='forward', "
    "beta=0.5, weight=None, ignore_index=-100, label_smoothing=0.0, z_loss=0.0, "
    "sample_weight=None, reduction='mean', denominator=None",
    Form(
        "indices", arrays={"logits": LOGITS, "teacher_logits": LOGITS, "target": CLASS_INDICES},
        draw=draws.logits_teacher_classes,
        cases={**DISTILLATION_CASES, "ignore_index": {"ignore_index": 2, "temperature": 2.0}},
        golden={"distillation_loss indices": {"temperature": 3.0, "alpha": 0.25, **BOTH_WEIGHTS,
                                              "label_smoothing": 0.125, "ignore_index": 0},
                "distillation_loss z_loss": {"z_loss": 0.25},
                "distillation_loss_backward": {}},
        accuracy={"distillation_loss": {"alpha": 0.7}}, gradient_limit=8,
    ),
    Form(
        arrays={"logits": LOGITS, "teacher_logits": LOGITS}, draw=draws.student_and_teacher("forward"),
        lacks=NO_TARGET,
        cases={"hot": {"temperature": 4.0}, "sample_weight": {"sample_weight": PER_ROW, "temperature": 1.5}},
        golden={"distillation_loss": {"temperature": 2.0}}, gradient_limit=8,
    ),
    Form(
        "probabilities", arrays={"logits": LOGITS, "teacher_logits": LOGITS, "target": PROBABILITIES},
        draw=draws.logits_teacher_probabilities, lacks=("ignore_index",), cases=DISTILLATION_CASES,
        golden={"distillation_loss probabilities": {"alpha": 0.75, "divergence": "js"}}, gradient_limit=8,
    ),
    Form(
        "indices_transformed", arrays={"logits": LOGITS, "teacher_logits": LOGITS, "target": CLASS_INDICES},
        draw=draws.logits_teacher_classes,
        cases={**TEACHER_CASES, "unscaled": {"temperature": TEMPERATURES, "scale_by_temperature": False},
               "softcap_hot": {"softcap": 6.0, "temperature": 7.0},
               "everything": {**OF_TWO_LOGITS, **BOTH_WEIGHTS, "alpha": 0.25, "label_smoothing": 0.05}},
        golden={"distillation_loss transformed": {**OF_TWO_LOGITS, "alpha": 0.25}}, gradient_limit=8,
    ),
    Form(
        "probabilities_transformed",
        arrays={"logits": LOGITS, "teacher_logits": LOGITS, "target": PROBABILITIES},
        draw=draws.logits_teacher_probabilities, lacks=("ignore_index",),
        cases={**TEACHER_CASES, "js": {**OF_TWO_LOGITS, "divergence": "js"},
               "everything": {**OF_TWO_LOGITS, **BOTH_WEIGHTS, "z_loss": 0.25}},
        golden={}, gradient_limit=8,
    ),
)

# Temperatures need teacher_logsumexp, and the tail "zero" is no divergence: test_sparse_distillation_loss.py has both.
LISTED = {"logits": LOGITS, "classes": LISTED_CLASSES, "values": LISTED_LOG_PROBABILITIES}
SPARSE_DISTILLATION_LOSS = Loss(
    "sparse_distillation_loss",
    "logits, classes, values, *, axis=None, values_are='log_probs', tail='bucket', divergence='forward', "
    "temperature=1.0, teacher_logsumexp=None, scale_by_temperature=False, sample_weight=None, reduction='mean', "
    "denominator=None",
    *(Form(
        suffix, arrays=LISTED, draw=draws.listed_teacher, fixed=fixed, lacks=("temperature",),
        cases={"sample_weight": {"sample_weight": PER_ROW}},
        golden={f"sparse_distillation_loss {suffix}".rstrip(): {},
                **({"sparse_distillation_loss_backward": {"sample_weight": PER_ROW}} if not suffix else {})},
    ) for suffix, fixed in (("", {}), ("uniform", {"tail": "uniform"}), ("reverse", {"divergence": "reverse"}),
                            ("js", {"divergence": "js"}))),
    Form(
        "renormalize", arrays={**LISTED, "values": LISTED_LOGITS}, draw=draws.listed_logits,
        fixed={"values_are": "logits", "tail": "renormalize"}, lacks=("temperature",),
        cases={"sample_weight": {"sample_weight": PER_ROW}}, golden={"sparse_distillation_loss renormalize": {}},
    ),
)

BINARY_CROSS_ENTROPY = Loss(
    "binary_cross_entropy",
    "probs, target, *, weight=None, log_floor=-100.0, reduction='mean', denominator=None",
    Form(
        arrays={"probs": FRACTIONS, "target": FRACTIONS}, draw=draws.binary_probabilities,
        cases={"weight": {"weight": PER_ELEMENT}, "floor": {"log_floor": -2.5}, "exact": {"log_floor": None}},
        golden={"binary_cross_entropy": {}},
        accuracy={"binary_cross_entropy": {}}, accuracy_reductions=("mean",),
    ),
    per_element=True,
)

BINARY_CROSS_ENTROPY_WITH_LOGITS = Loss(
    "binary_cross_entropy_with_logits",
    "logits, target, *, weight=None, pos_weight=None, label_smoothing=0.0, reduction='mean', denominator=None",
    Form(
        arrays={"logits": LOGITS, "target": FRACTIONS}, draw=draws.binary_logits,
        cases={"weight": {"weight": PER_ELEMENT}, "pos_weight": {"pos_weight": PER_ELEMENT},
               "smoothing": {"label_smoothing": 0.2}, "everything": {**EVERY_WEIGHT, "label_smoothing": 0.01}},
        golden={"binary_cross_entropy_with_logits": {"weight": PER_ELEMENT, "pos_weight": PER_CLASS,
                                                     "label_smoothing": 0.125},
                "binary_cross_entropy_with_logits_backward": {}},
        accuracy={"binary_cross_entropy_with_logits": {}, "binary_cross_entropy_with_logits weighted": EVERY_WEIGHT},
        accuracy_reductions=("mean",),
    ),
    per_element=True,
)

KL_DIV_ARRAYS = {"log_probs": LOG_PROBABILITIES, "target": PROBABILITIES}
KL_DIV_LOG_ARRAYS = {"log_probs": LOG_PROBABILITIES, "target": LOG_PROBABILITIES}
KL_DIV = Loss(
    "kl_div",
    "log_probs, target, *, log_target=False, axis=None, reduction='batchmean', denominator=None",
    Form(arrays=KL_DIV_ARRAYS, draw=draws.log_probabilities_and_probabilities,
         golden={"kl_div": {}}, accuracy={"kl_div": {}}),
    Form("log_target", arrays=KL_DIV_LOG_ARRAYS, draw=draws.log_probabilities_twice, fixed={"log_target": True},
         golden={"kl_div log_target": {}}, accuracy={"kl_div log_target": {}}),
    Form("rows", arrays=KL_DIV_ARRAYS, draw=draws.log_probabilities_and_probabilities, fixed={"axis": 1},
         golden={"kl_div rows": {}}),
    Form("rows_log_target", arrays=KL_DIV_LOG_ARRAYS, draw=draws.log_probabilities_twice,
         fixed={"axis": 1, "log_target": True}, golden={}),
    per_element=True, batchmean=True,
)

LOSSES = (CROSS_ENTROPY, NLL_LOSS, KL_DIV_WITH_LOGITS, DISTILLATION_LOSS, SPARSE_DISTILLATION_LOSS,
          BINARY_CROSS_ENTROPY, BINARY_CROSS_ENTROPY_WITH_LOGITS, KL_DIV)

NORMALISERS = (
    *(Function(name, "x, axis=-1, *, temperature=1.0, softcap=None, logit_bias=None, dtype=None, out=None", x=LOGITS)
      for name in ("softmax", "log_softmax")),
    Function("logsumexp", "x, axis=-1, *, temperature=1.0, softcap=None, logit_bias=None, keepdims=False, out=None",
             x=LOGITS),
    Function("softmax_backward", "grad_output, probs, axis=-1, *, temperature=1.0, out=None",
             grad_output=PER_ELEMENT, probs=PROBABILITIES),
    Function("log_softmax_backward", "grad_output, log_probs, axis=-1, *, temperature=1.0, out=None",
             grad_output=PER_ELEMENT, log_probs=LOG_PROBABILITIES),
    Function("logsumexp_backward", "grad_output, x, axis=-1, *, temperature=1.0, softcap=None, logit_bias=None, "
             "keepdims=False, out=None", grad_output=PER_ROW, x=LOGITS),
)

# Of each element.
POINTWISE = (
    Function("sigmoid", "x, *, out=None", x=LOGITS),
    Function("log_sigmoid", "x, *, out=None", x=LOGITS),
)

# What is neither a loss nor returns an array: a fit, and a tuple of arrays.
FITS = (
    Function("fit_temperature",
             "logits, target, *, axis=None, softcap=None, logit_bias=None, ignore_index=-100, sample_weight=None, "
             "bounds=(0.001, 1000.0), max_passes=6",
             logits=LOGITS, target=CLASS_INDICES),
)

STATISTICS = (
    Function("row_statistics",
             "logits, target=None, *, axis=-1, ignore_index=-100, temperature=1.0, softcap=None, logit_bias=None, "
             "top_k=0, n_classes=None",
             logits=LOGITS, target=CLASS_INDICES),
    Function("row_statistics_backward",
             "logits, target=None, *, log_prob=None, entropy=None, logsumexp=None, axis=-1, ignore_index=-100, "
             "temperature=1.0, softcap=None, logit_bias=None, n_classes=None, out=None",
             logits=LOGITS, target=CLASS_INDICES, log_prob=PER_ROW, entropy=PER_ROW, logsumexp=PER_ROW),
)

# Two results, of which the first is that of `grad_out`.
HESSIANS = (
    Function("cross_entropy_gradient_hessian",
             "logits, target, *, axis=None, weight=None, ignore_index=-100, label_smoothing=0.0, sample_weight=None, "
             "hessian='diagonal', hessian_scale=1.0, hessian_floor=0.0, grad_out=None, hess_out=None",
             logits=LOGITS, target=CLASS_INDICES),
    Function("binary_cross_entropy_with_logits_gradient_hessian",
             "logits, target, *, weight=None, pos_weight=None, label_smoothing=0.0, hessian='diagonal', "
             "hessian_scale=1.0, hessian_floor=0.0, grad_out=None, hess_out=None",
             logits=LOGITS, target=FRACTIONS),
)

OF_TWO = {"p": PROBABILITIES, "q": PROBABILITIES}
MEASURES = (
    Function("information.entropy", "p, axis=-1, *, base=None", p=PROBABILITIES),
    Function("information.cross_entropy", "p, q, axis=-1, *, base=None", **OF_TWO),
    Function("information.kl_divergence", "p, q, axis=-1, *, base=None", **OF_TWO),
    Function("information.js_divergence", "p, q, axis=-1, *, base=None", **OF_TWO),
    Function("information.entropy_with_logits", "logits, axis=-1", logits=LOGITS),
    Function("information.perplexity", "logits, target, *, axis=None, ignore_index=-100",
             logits=LOGITS, target=CLASS_INDICES),
)
