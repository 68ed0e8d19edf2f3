"""The figures of the tutorial: python docs/tutorial/figures.py

Every number in them is computed by crossent, but for the plain formula that logits.svg shows beside it. Backgrounds are
transparent, and text and lines have tones that can be read on white and on black. Needs matplotlib.
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import crossent as xe
from crossent import information
from crossent.evaluation import calibration_error

HERE = Path(__file__).resolve().parent
INK, FAINT = "#757d89", "#7c879655"
RED, BLUE, GREEN, ORANGE, PURPLE = "#e5383b", "#3b82f6", "#12a67f", "#e0930f", "#a36bf0"
plt.rcParams.update({
    "svg.hashsalt": "crossent", "svg.fonttype": "none", "savefig.transparent": True,
    "figure.constrained_layout.use": True,
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 2,
    "legend.frameon": False, "legend.fontsize": 10, "legend.handlelength": 1.6,
})


def panels(count, height=3.2):
    return plt.subplots(1, count, figsize=(7.5, height))


def save(figure, name):
    figure.savefig(HERE / name, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def likelihood():
    """The loss of a coin, seven heads in ten, against the probability of heads."""
    figure, axes = panels(1)
    p = np.linspace(0.01, 0.99, 200)
    q = np.array([0.3, 0.7])
    of_models = np.stack([1 - p, p], axis=1)
    loss = information.cross_entropy(np.broadcast_to(q, of_models.shape), of_models)
    floor = information.entropy(q)
    axes.fill_between(p, floor, loss, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(p, loss, color=BLUE)
    axes.axhline(floor, color=INK, linestyle="--", linewidth=1.2)
    axes.plot([0.7], [floor], "o", color=RED, markersize=8)
    axes.set(xlabel="p, the model's probability of heads", ylabel="mean loss in nats", ylim=(0.3, 1.7), xlim=(0, 1),
             title="7 heads in 10 tosses")
    axes.text(0.06, floor - 0.04, "entropy of the data: no model is below", va="top")
    axes.text(0.22, 0.72, "KL divergence", color=BLUE, weight="bold")
    axes.text(0.36, 1.15, "cross-entropy = entropy + KL divergence", color=BLUE)
    axes.annotate("maximum likelihood: p = 0.7", (0.7, floor), (0.62, 0.44), color=RED, va="center", ha="left",
                  arrowprops={"arrowstyle": "-", "color": RED, "shrinkB": 5})
    save(figure, "likelihood.svg")


def logits():
    """The binary loss and its gradient; and the float32 loss of confident rows by three ways."""
    figure, (left, right) = panels(2)
    u = np.linspace(-6, 6, 200)
    loss, gradient = xe.binary_cross_entropy_with_logits(u, np.ones_like(u), reduction="none", return_grad=True)
    left.plot(u, loss, color=BLUE)
    left.plot(u, gradient, color=ORANGE)
    left.set(title="A row of two classes, true class 1", xlabel="u, the gap of their logits", ylim=(-1.3, 6.2))
    left.text(-3.5, 4.4, "loss", color=BLUE, weight="bold")
    left.text(-0.1, -1.05, "gradient = p - 1", color=ORANGE, weight="bold")

    d = np.linspace(0, 30, 301, dtype=np.float32)
    rows = np.stack([d, np.zeros_like(d)], axis=1)
    shifted = rows - rows.max(axis=1, keepdims=True)
    plain = np.log(np.exp(shifted).sum(axis=1)) - shifted[:, 0]
    ours = xe.cross_entropy(rows, np.zeros(len(d), np.intp), reduction="none")
    right.plot(d, ours, color=RED, linewidth=4.5, alpha=0.75)
    right.plot(d[plain > 0], plain[plain > 0], color=BLUE, linewidth=1.6)
    last = d[plain > 0].max()
    right.axvline(last, color=INK, linestyle=":", linewidth=1.2)
    right.set(title="Loss in float32", xlabel="d, the gap of the true class", yscale="log", ylim=(1e-13, 3))
    right.text(last + 0.5, 0.02, "plain formula:\n0 from here on", color=BLUE, va="center")
    right.text(20, 1e-7, "crossent", color=RED, weight="bold")
    save(figure, "logits.svg")


def reliability(axes, statistics, y, colour, label):
    """Accuracy against confidence in ten bins of equal width."""
    confidence = np.exp(statistics.max_log_prob)
    bins = np.minimum((10 * confidence).astype(int), 9)
    counts = np.bincount(bins, minlength=10)
    kept = counts >= 50
    mean = lambda values: np.bincount(bins, values, minlength=10)[kept] / counts[kept]
    axes.plot(mean(confidence), mean(statistics.argmax == y), "o-", color=colour, markersize=5)
    axes.text(*label, color=colour, weight="bold")


def temperature():
    """The loss of a classifier that is too sure against the temperature, and its reliability at two temperatures."""
    figure, (left, right) = panels(2)
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1.5, (50_000, 10))
    y = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1)
    x = 2.5 * truth
    half, rest = slice(0, 25_000), slice(25_000, None)
    fit = xe.fit_temperature(x[half], y[half])
    T = np.geomspace(0.7, 10, 60)
    left.plot(T, [xe.cross_entropy(x[half], y[half], temperature=value) for value in T], color=BLUE)
    left.plot([1, fit.temperature], [fit.nll_before, fit.nll_after], "o", color=RED, markersize=7)
    left.set(title="Cross-entropy", xlabel="temperature", ylabel="nats", xscale="log", ylim=(1.4, 2.8))
    left.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    left.minorticks_off()
    left.text(1.1, fit.nll_before + 0.03, "T = 1", color=RED)
    left.text(fit.temperature, fit.nll_after - 0.13, f"T = {fit.temperature:.2f}", color=RED, ha="center")

    before = xe.row_statistics(x[rest], y[rest])
    after = xe.row_statistics(x[rest], y[rest], temperature=fit.temperature)
    right.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1.2)
    labels = [f"T = {value:.2f}: error {calibration_error(one, y[rest])[0]:.3f}"
              for value, one in ((1, before), (fit.temperature, after))]
    reliability(right, before, y[rest], ORANGE, (0.47, 0.1, labels[0]))
    reliability(right, after, y[rest], GREEN, (0.02, 0.9, labels[1]))
    right.set(title="Held-out rows", xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    save(figure, "temperature.svg")


def smoothing():
    """The loss of one row of ten classes against the gap of the true one, under four amounts of smoothing."""
    figure, axes = panels(1)
    d = np.linspace(0, 12, 241)
    rows = d[:, None] * np.eye(10)[0]
    for e, colour in ((0.0, INK), (0.05, GREEN), (0.1, BLUE), (0.2, ORANGE)):
        loss = xe.cross_entropy(rows, np.zeros(len(d), int), label_smoothing=e, reduction="none")
        axes.plot(d, loss, color=colour)
        axes.text(12.1, max(loss[-1], 0.07), f"{e:g}", color=colour, va="center", weight="bold")
        if e:
            best = np.log(1 + 10 * (1 - e) / e)
            least = xe.cross_entropy(best * np.eye(10)[0], 0, label_smoothing=e)
            axes.plot([best], [least], "o", color=colour, markersize=7)
    axes.text(12.1, 2.42, "smoothing", ha="right")
    axes.set(title="10 classes", xlabel="gap of the true class to the others", ylabel="loss in nats", xlim=(0, 12.9),
             ylim=(0, 2.6))
    save(figure, "smoothing.svg")


def divergences():
    """The closest students of one peak to a teacher of two, and how close students are by their centre."""
    figure, (left, right) = panels(2)
    place = np.linspace(-6, 6, 121)
    teacher = np.log(0.65 * np.exp(-2 * (place + 1.5) ** 2) + 0.35 * np.exp(-2 * (place - 1.5) ** 2))
    centres, widths = np.linspace(-3, 3, 121), np.linspace(0.3, 3, 109)
    students = -0.5 * ((place - centres[:, None, None]) / widths[:, None]) ** 2
    teachers = np.broadcast_to(teacher, students.shape)
    left.fill_between(place, 0, xe.softmax(teacher), color=INK, alpha=0.3, linewidth=0)
    left.text(2.3, 0.021, "teacher")
    for kind, colour, beside, label in (("forward", BLUE, (0.2, 0.031), (1.25, 0.5)),
                                        ("reverse", ORANGE, (-0.9, 0.07), (-0.9, 1.4)),
                                        ("js", GREEN, None, (-0.5, -0.08))):
        found = xe.kl_div_with_logits(students, teachers, axis=2, divergence=kind, reduction="none")
        name = "Jensen-Shannon" if kind == "js" else kind
        if beside:
            i, k = np.unravel_index(found.argmin(), found.shape)
            left.plot(place, xe.softmax(students[i, k]), color=colour)
            left.text(*beside, name, color=colour, weight="bold")
        right.plot(centres, found.min(axis=1), color=colour)
        right.text(*label, name, color=colour, weight="bold")
    left.set(title="The closest student", xlabel="class", ylabel="probability", ylim=(0, None))
    right.set(title="By the centre of the student", xlabel="centre (the best width for each)", ylabel="nats",
              ylim=(-0.15, 2.2))
    save(figure, "divergences.svg")


def distillation():
    """The length of the gradient against the temperature; the divergence of k classes and the rest against k."""
    figure, (left, right) = panels(2)
    rng = np.random.default_rng(0)
    x, z = rng.normal(0, 3, (2, 200, 100))
    T = np.geomspace(1, 50, 30)
    for scaled, colour, label in ((True, BLUE, (5, 0.6, "with T²")), (False, ORANGE, (9, 0.011, "without"))):
        gradients = [xe.distillation_loss(x, z, temperature=value, scale_by_temperature=scaled, reduction="none",
                                          return_grad=True)[1] for value in T]
        left.plot(T, [np.linalg.norm(g, axis=1).mean() for g in gradients], color=colour)
        left.text(*label, color=colour, weight="bold")
    left.set(title="Length of the gradient of a row", xlabel="temperature", xscale="log", yscale="log", ylim=(1e-4, 2))
    left.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    left.minorticks_off()

    log_t = xe.log_softmax(rng.normal(0, 2.5, (50, 10_000)))
    student = log_t + rng.normal(size=log_t.shape)
    order = np.argsort(-log_t, axis=1)
    k = np.unique(np.geomspace(1, 10_000, 30).astype(int))
    bounds = [xe.sparse_distillation_loss(student, order[:, :n], np.take_along_axis(log_t, order[:, :n], axis=1))
              for n in k]
    right.axhline(xe.kl_div_with_logits(student, log_t), color=INK, linestyle="--", linewidth=1.2)
    right.plot(k, bounds, color=GREEN)
    right.set(title="Divergence of k classes and the rest", xlabel="k, of 10,000 classes", ylabel="nats", xscale="log",
              ylim=(0, None))
    right.text(1, bounds[-1] * 0.97, "all classes", va="top")
    save(figure, "distillation.svg")


if __name__ == "__main__":
    for draw in (likelihood, logits, temperature, smoothing, divergences, distillation):
        draw()
