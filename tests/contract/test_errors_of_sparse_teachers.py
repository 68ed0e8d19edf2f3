"""What sparse_distillation_loss refuses of classes, values and options that do not go together: no buffer written."""

import numpy as np
import pytest
from support import assert_same_bits

import crossent as xe

X = np.zeros((2, 3, 4))
K, P = np.zeros((2, 2, 4), int), np.full((2, 2, 4), 0.25)
K[:, 1] = 1


def refused(error, says, classes=K, values=P, **options):
    out = np.full_like(X, 7)
    with pytest.raises(error, match=says):
        xe.sparse_distillation_loss(X, classes, values, return_grad=True, grad_out=out,
                                    **{"values_are": "probs", **options})
    with pytest.raises(error, match=says):
        xe.sparse_distillation_loss_backward(1.0, X, classes, values, out=out, **{"values_are": "probs", **options})
    assert (out == 7).all()


@pytest.mark.parametrize("value", [3, -2, 2**62])
@pytest.mark.parametrize("position", [(0, 0, 0), (1, 0, 2), (1, 1, 3)], ids=str)
def test_class_out_of_range(position, value):
    classes = K.copy()
    classes[position] = value
    says = rf"classes\[{', '.join(map(str, position))}\] is {value}, outside \[0, 3\) and not -1"
    for laid_out in (classes, np.asfortranarray(classes)):
        refused(IndexError, says, laid_out)


@pytest.mark.parametrize(("values_are", "bad"), [
    ("probs", -0.1), ("probs", 1.5), ("probs", np.nan), ("weights", -1), ("weights", np.inf), ("weights", np.nan)])
def test_value_out_of_range(values_are, bad):
    values = P.copy()
    values[1, 0, 2] = bad
    refused(ValueError, rf"values\[1, 0, 2\] is {bad}", values=values, values_are=values_are)
    classes = K.copy()
    classes[1, 0, 2] = -1  # then it is not looked at
    xe.sparse_distillation_loss(X, classes, values, values_are=values_are)


def test_probabilities_that_add_up_to_too_much():
    values = P.copy()
    values[1, :, 2] = 0.55
    refused(ValueError, r"values in row\[1, 2\] add up to 1\.1", values=values)
    refused(ValueError, r"values in row\[1, 2\] add up to 1\.1", values=np.log(values), values_are="log_probs")
    refused(ValueError, "add up", values=np.full_like(P, 3), values_are="log_probs")  # logits taken for logarithms
    for tail in ("renormalize",):
        xe.sparse_distillation_loss(X, K, values, values_are="probs", tail=tail)


@pytest.mark.parametrize(("says", "options"), [
    ("temperature is 2.0", {"temperature": 2.0}),
    ("temperature is 2.0.*teacher_logsumexp", {"temperature": 2.0, "values_are": "log_probs"}),
    ("temperature is 2.0", {"temperature": 2.0, "values_are": "weights"}),
    ("teacher_logsumexp", {"teacher_logsumexp": 0.0}),
    ("teacher_logsumexp", {"teacher_logsumexp": np.zeros((2, 3)), "values_are": "logits"}),
    ("teacher_logsumexp", {"teacher_logsumexp": np.full((2, 4), np.inf), "values_are": "logits"}),
    ("values_are", {"values_are": "log_prob"}), ("tail", {"tail": "Bucket"}), ("divergence", {"divergence": "kl"}),
    ("divergence is 'js' with tail='zero'", {"divergence": "js", "tail": "zero"}),
    ("divergence is 'js' with tail='uniform'", {"divergence": "js", "tail": "uniform"}),
    ("divergence is 'reverse' with tail='renormalize'", {"divergence": "reverse", "tail": "renormalize"}),
    ("divergence is 'reverse'", {"divergence": "reverse", "values_are": "weights"}),
    ("divergence is 'reverse'", {"divergence": "reverse", "values_are": "logits"}),
    ("classes has shape", {"classes": K[:1]}), ("classes has shape", {"classes": K[0]}),
    ("values has shape", {"values": P[:, :1]}), ("values has shape", {"values": 0.5}),
], ids=str)
def test_what_does_not_go_together(says, options):
    refused(ValueError, says, **options)


def test_types():
    refused(TypeError, "classes", classes=K.astype(float))
    refused(TypeError, "values", values=P.astype(complex))
    refused(TypeError, "teacher_logsumexp", teacher_logsumexp="0", values_are="logits")


def test_unsigned_classes():
    for code in "BHILQ":
        assert_same_bits(xe.sparse_distillation_loss(X, K.astype(code), P, values_are="probs"),
                         xe.sparse_distillation_loss(X, K, P, values_are="probs"))
    refused(IndexError, "18446744073709551615", classes=np.full_like(K, -1).astype(np.uint64))
