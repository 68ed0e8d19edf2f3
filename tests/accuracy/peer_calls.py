"""The calls of other libraries that stand beside those of crossent_calls.py. What a library lacks is left out, not
composed, but for one line where that is how everybody writes it: a cross-entropy on log_softmax, a divergence of two
log_softmax.
"""

import importlib.metadata

import numpy as np
from crossent_calls import both
from operations import ACCURACY

ALPHA, BETA = ACCURACY["distillation_loss"][1]["alpha"], ACCURACY["kl_div_with_logits js"][1]["beta"]


def load(name):
    """({family: function}, version)."""
    package = {"PyTorch": "torch", "JAX": "jax", "optax": "optax", "SciPy": "scipy", "scikit-learn": "scikit-learn"}
    families = {"PyTorch": pytorch, "JAX": jax_and_optax, "optax": jax_and_optax, "SciPy": scipy,
                "scikit-learn": scikit_learn}[name]
    return families(name), importlib.metadata.version(package[name])


def pick(x, y):
    return np.take_along_axis(x, y[:, None], 1)[:, 0]


def is_half(x):
    return x.dtype.itemsize == 2


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


def pytorch(name):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)

    def tensor(x):
        x = np.array(x)
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if x.dtype.name == "bfloat16" else \
            torch.from_numpy(x)

    def array(x):
        x = x.detach()
        if x.dtype == torch.bfloat16:
            return x.view(torch.int16).numpy().view("bfloat16")
        return x.numpy()

    def derived(name, x, function):
        x = x.detach().requires_grad_(True)
        loss = function(x)
        loss.sum().backward()
        return {name: array(loss), f"{name} gradient": array(x.grad)}

    def logits(batch):
        x, y, g, q, v = (tensor(batch.rows[k]) for k in "xygqv")
        w, temperature = tensor(batch.shared["w"]), batch.shared["temperature"]
        out = {"softmax": array(F.softmax(x / temperature, 1)), "log_softmax": array(F.log_softmax(x / temperature, 1))}
        if temperature != 1:
            return out
        z = x.detach().requires_grad_(True)
        lse = torch.logsumexp(z, 1)
        lse.backward(g)
        out.update({"logsumexp": array(lse), "logsumexp_backward": array(z.grad)})
        out["entropy_with_logits"] = array(torch.distributions.Categorical(logits=x, validate_args=False).entropy())
        out.update(derived("cross_entropy", x, lambda z: F.cross_entropy(z, y, reduction="none")))
        out.update(derived("cross_entropy probabilities", x, lambda z: F.cross_entropy(z, q, reduction="none")))
        if w.dtype == x.dtype:
            out.update(derived("cross_entropy smoothed", x, lambda z: v * F.cross_entropy(
                z, y, weight=w, label_smoothing=0.1, reduction="none")))
        for reduction in ("mean", "sum"):
            out[f"cross_entropy {reduction}"] = array(F.cross_entropy(x, y, reduction=reduction))
        return out

    def divergences(batch):
        x, t, y = (tensor(batch.rows[k]) for k in "xty")
        temperature, out = batch.shared["temperature"], {}
        log_t = F.log_softmax(t / temperature, 1)

        def kl(log_q, log_p):
            return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)

        def js(z):
            log_s = F.log_softmax(z / temperature, 1)
            log_m = torch.logaddexp(log_t + np.log(BETA), log_s + np.log1p(-BETA))
            return BETA * kl(log_m, log_t) + (1 - BETA) * kl(log_m, log_s)

        losses = {"forward": lambda z: kl(F.log_softmax(z / temperature, 1), log_t),
                  "reverse": lambda z: kl(log_t, F.log_softmax(z / temperature, 1)), "js": js}
        for name, loss in losses.items():
            out.update(derived(f"kl_div_with_logits {name}", x, loss))
            out[f"kl_div_with_logits {name} relative"] = out[f"kl_div_with_logits {name}"]
        out.update(derived("distillation_loss", x, lambda z: ALPHA * temperature**2 * losses["forward"](z)
                           + (1 - ALPHA) * F.cross_entropy(z, y, reduction="none")))
        return out

    def binary(batch):
        x, p, y, w, pw = (tensor(batch.rows[k]) for k in ("x", "p", "y", "w", "pw"))
        name, loss = "binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits
        out = derived(name, x, lambda z: loss(z, y, reduction="none"))
        if w.dtype == x.dtype:
            out.update(derived(f"{name} weighted", x, lambda z: loss(z, y, w, pos_weight=pw, reduction="none")))
        out.update(derived("binary_cross_entropy", p, lambda z: F.binary_cross_entropy(z, y, reduction="none")))
        return {**out, "sigmoid": array(torch.sigmoid(x)), "log_sigmoid": array(F.logsigmoid(x))}

    def probabilities(batch):
        p, q, log_p, log_q, y, g = (tensor(batch.rows[k]) for k in ("p", "q", "log_p", "log_q", "y", "g"))
        return {**derived("nll_loss", log_p, lambda z: F.nll_loss(z, y, reduction="none")),
                **derived("kl_div", log_p, lambda z: F.kl_div(z, q, reduction="none")),
                **derived("kl_div log_target", log_p, lambda z: F.kl_div(z, log_q, log_target=True, reduction="none")),
                "softmax_backward": array(torch._softmax_backward_data(g, p, 1, p.dtype)),
                "log_softmax_backward": array(torch._log_softmax_backward_data(g, log_p, 1, p.dtype)),
                "information.entropy": array(torch.special.entr(p.float() if is_half(p) else p).sum(1))}

    return {f.__name__: f for f in (logits, divergences, binary, probabilities)}


# ---- JAX and optax ---------------------------------------------------------------------------------------------------


def jax_and_optax(name):
    import jax
    import jax.numpy as jnp
    import optax
    from jax.scipy.special import entr, rel_entr

    jax.config.update("jax_enable_x64", True)

    def derived(name, x, function):
        gradient = jax.grad(lambda z: function(z).sum())
        return {name: function(x), f"{name} gradient": gradient(x)}

    def compiled(function):
        """Of all arrays of a batch and, fixed, its temperature."""
        inner = jax.jit(function, static_argnames="temperature")

        def call(batch):
            t = batch.shared.get("temperature", 1.0)
            return {k: np.asarray(v) for k, v in inner(dict(batch.rows), temperature=t).items()}
        return call

    def jax_logits(rows, temperature):
        x, y, g = rows["x"], rows["y"], rows["g"]
        out = {"softmax": jax.nn.softmax(x / temperature), "log_softmax": jax.nn.log_softmax(x / temperature)}
        if temperature != 1:
            return out
        lse = lambda z: jax.nn.logsumexp(z, axis=1)
        return {**out, "logsumexp": lse(x), "logsumexp_backward": jax.vjp(lse, x)[1](g)[0],
                **derived("cross_entropy", x, lambda z: -jnp.take_along_axis(
                    jax.nn.log_softmax(z), y[:, None], 1)[:, 0])}

    def jax_binary(rows, temperature):
        x, y = rows["x"], rows["y"]
        return {**derived("binary_cross_entropy_with_logits", x, lambda z: (
            -y * jax.nn.log_sigmoid(z) - (1 - y) * jax.nn.log_sigmoid(-z))),
            "sigmoid": jax.nn.sigmoid(x), "log_sigmoid": jax.nn.log_sigmoid(x)}

    def jax_probabilities(rows, temperature):
        p, q = rows["p"], rows["q"]
        return {"information.entropy": entr(p).sum(1), "information.kl_divergence": rel_entr(p, q).sum(1)}

    def optax_logits(rows, temperature):
        x, y, q = rows["x"], rows["y"], rows["q"]
        if temperature != 1:
            return {}
        return {**derived("cross_entropy", x, lambda z: optax.softmax_cross_entropy_with_integer_labels(z, y)),
                **derived("cross_entropy probabilities", x, lambda z: optax.softmax_cross_entropy(z, q))}

    def optax_divergences(rows, temperature):
        x, log_t = rows["x"], jax.nn.log_softmax(rows["t"] / temperature)
        name = "kl_div_with_logits forward"
        out = derived(name, x, lambda z: optax.losses.kl_divergence_with_log_targets(
            jax.nn.log_softmax(z / temperature), log_t))
        return {**out, f"{name} relative": out[name]}

    def optax_binary(rows, temperature):
        return derived("binary_cross_entropy_with_logits", rows["x"],
                       lambda z: optax.sigmoid_binary_cross_entropy(z, rows["y"]))

    if name == "JAX":
        return {"logits": compiled(jax_logits), "binary": compiled(jax_binary),
                "probabilities": compiled(jax_probabilities)}
    return {"logits": compiled(optax_logits), "divergences": compiled(optax_divergences),
            "binary": compiled(optax_binary)}


# ---- SciPy and scikit-learn: float32 and float64 ---------------------------------------------------------------------


def scipy(name):
    from scipy import special
    from scipy.spatial.distance import jensenshannon

    def logits(batch):
        x, y, temperature = batch.rows["x"], batch.rows["y"], batch.shared["temperature"]
        if is_half(x):
            return {}
        z = x if temperature == 1 else x / temperature
        out = {"softmax": special.softmax(z, axis=1), "log_softmax": special.log_softmax(z, axis=1)}
        if temperature != 1:
            return out
        return {**out, "logsumexp": special.logsumexp(x, axis=1), "cross_entropy": -pick(out["log_softmax"], y)}

    def binary(batch):
        x, y = batch.rows["x"], batch.rows["y"]
        return {} if is_half(x) else {"binary_cross_entropy_with_logits": (
            -y * special.log_expit(x) - (1 - y) * special.log_expit(-x)),
            "sigmoid": special.expit(x), "log_sigmoid": special.log_expit(x)}

    def probabilities(batch):
        p, q = batch.rows["p"], batch.rows["q"]
        if is_half(p):
            return {}
        return {"information.entropy": special.entr(p).sum(axis=1),
                "information.kl_divergence": special.rel_entr(p, q).sum(axis=1),
                "information.js_divergence": jensenshannon(p, q, axis=1) ** 2}

    return {f.__name__: f for f in (logits, binary, probabilities)}


def scikit_learn(name):
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
    from sklearn.utils.extmath import softmax

    def logits(batch):
        x, y, temperature = batch.rows["x"], batch.rows["y"], batch.shared["temperature"]
        if is_half(x):
            return {}
        out = {"softmax": softmax(x if temperature == 1 else x / temperature)}
        if temperature != 1:
            return out
        loss = HalfMultinomialLoss(n_classes=x.shape[1])
        return {**out, **both("cross_entropy", loss.loss_gradient(y.astype(x.dtype), np.array(x)))}

    def binary(batch):
        x, y = batch.rows["x"], batch.rows["y"]
        if is_half(x):
            return {}
        flat = HalfBinomialLoss().loss_gradient(y.ravel(), x.ravel())
        return both("binary_cross_entropy_with_logits", [part.reshape(x.shape) for part in flat])

    return {f.__name__: f for f in (logits, binary)}
