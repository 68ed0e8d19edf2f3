"""Attacked statistics of rows, measures of information, and the loss of log-probabilities."""

import oracle
import oracle.divergence
from functions import Function, backward, by_row, options, row_of, temperature_of
from mpmath import mp

import crossent as xe
from crossent import information

SECOND = {"t": "probabilities"}


def statistic(name):
    return lambda r, s: getattr(xe.row_statistics(r["x"], r.get("y"), **temperature_of(s)), name)


def entropy_of(row):
    return mp.fsum(p * -log_p for p, log_p in zip(row.softmax(), row.log_softmax(), strict=True) if p)


def of_information(name, arrays, judge):
    """A measure of the rows q, and t where it has two."""
    exact = {"entropy": oracle.divergence.entropy, "cross_entropy": oracle.divergence.information_cross_entropy,
             "kl_divergence": oracle.divergence.kl_divergence, "js_divergence": oracle.divergence.js_divergence}[name]
    names = arrays.split()
    return Function(lambda r, s: getattr(information, name)(*(r[a] for a in names)),
                    by_row(lambda r, s, i: exact(*(r[a][i] for a in names))), judge, arrays, kinds=SECOND)


def nll_loss(rows, shared):
    return xe.nll_loss(rows["x"], rows["y"], axis=1, reduction="none", **options(rows, shared))


def exact_nll_loss(rows, shared):
    return oracle.nll_loss_rows(rows["x"], rows["y"], **options(rows, shared)), None


def exact_nll_gradient(rows, shared):
    denominator = shared.get("denominator")
    return oracle.nll_loss_grad(
        rows["x"], rows["y"], "mean" if denominator else "none", rows["g"][0] if denominator else rows["g"],
        denominator, **options(rows, shared))


ROWS = ("", "temperature")
LOG_PROBS = {"x": "log_probs"}

FUNCTIONS = {
    "row_statistics log_prob": Function(
        statistic("log_prob"), by_row(lambda r, s, i: row_of(r, s, i).log_softmax()[r["y"][i]]), "log_prob", "x y",
        ROWS),
    "row_statistics max_log_prob": Function(
        statistic("max_log_prob"), by_row(lambda r, s, i: -row_of(r, s, i).log_total), "max_log_prob", "x", ROWS),
    "row_statistics entropy": Function(
        statistic("entropy"), by_row(lambda r, s, i: entropy_of(row_of(r, s, i))), "row_entropy", "x", ROWS),
    "row_statistics sum_of_squares": Function(
        statistic("sum_of_squares"), by_row(lambda r, s, i: mp.fsum(p * p for p in row_of(r, s, i).softmax())),
        "sum_of_squares", "x", ROWS),
    "information entropy_with_logits": Function(
        lambda r, s: information.entropy_with_logits(r["x"], 1), by_row(lambda r, s, i: entropy_of(row_of(r, s, i))),
        "row_entropy", "x"),
    "information entropy": of_information("entropy", "q", "information_entropy"),
    "information cross_entropy": of_information("cross_entropy", "q t", "information_cross_entropy"),
    "information kl_divergence": of_information("kl_divergence", "q t", "information_kl"),
    "information js_divergence": of_information("js_divergence", "q t", "information_js"),
    "nll_loss loss": Function(nll_loss, exact_nll_loss, "nll_loss", "x y", ("", "w v"), LOG_PROBS),
    "nll_loss gradient": Function(
        backward(xe.nll_loss_backward), exact_nll_gradient, "nll_gradient", "x y g", ("w v denominator",), LOG_PROBS),
}
