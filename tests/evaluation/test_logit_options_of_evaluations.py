"""`softcap` and `logit_bias`: the figures are those of logits that were made by hand; what is refused."""

import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import exact_comparison
import exact_figures
import ml_dtypes
import numpy as np
import pytest
from commands import fails, run
from evaluation.formats import stored_by_llama
from test_calibrate import SEARCH
from test_compare import DIVERGENCE
from test_evaluate import RELATIVE

from crossent.__main__ import main
from crossent.evaluation import calibrate, compare, evaluate
from crossent.evaluation._logits_file import LogProbRows

DATA = Path(__file__).parents[1] / "data" / "kld"
OF_Z = 64 * 5 * 2.0**-52  # of 4 ULP of each of two terms, which are at most 64 below
# What an error of z of 1 makes, at most: 2 of a loss, 4 of a Brier score, 2 log(23) of an entropy of 23 classes; 2 of a
# divergence by the other's, and by the base's 2 of the largest log(b / q). Results of float32 have no digits for it.
OF_FIGURES, OF_DIVERGENCES = 7 * OF_Z, (2 + 2 * 64) * OF_Z
DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]


def draw(rng, dtype=np.float64, rows=600, classes=23):
    """Logits of two models, their biases, and targets, of which some are ignored."""
    target = rng.integers(0, classes, rows)
    base = rng.normal(0, 6, (rows, classes))
    base[np.arange(rows), target] += 4
    other = base + rng.normal(0, 1, base.shape)
    target[4::9] = -100
    bias = rng.normal(0, 2, (2, classes)).astype(np.float32)
    return base.astype(dtype), other.astype(dtype), bias, target


def by_hand(x, softcap, bias):
    z = np.asarray(x).astype(np.longdouble)
    if softcap is not None:
        z = softcap * np.tanh(z / softcap)
    return z if bias is None else z + bias


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("softcap, has_bias", [(5.0, True), (5.0, False), (None, True)])
def test_evaluate(rng, dtype, softcap, has_bias):
    x, _, (bias, _), target = draw(rng, dtype)
    bias = bias if has_bias else None
    found = evaluate(x, target, softcap=softcap, logit_bias=bias, temperature=1.5)
    counted = target != -100
    exact, confidence = exact_figures.rows(by_hand(x, softcap, bias)[counted], target[counted], 1.5)
    relative = RELATIVE.get(np.dtype(dtype), 5 * 2.0**-23)
    for name, numbers in exact.items():
        tolerance = relative * (numbers.mean() + (name == "brier_score")) + OF_FIGURES
        assert abs(getattr(found, name) - numbers.mean()) <= tolerance, name
    assert abs(found.ece - exact_figures.equal_width(confidence, exact["accuracy"], 15)[0]) <= relative + OF_FIGURES
    assert found.softcap == softcap and (found.logit_bias_checksum is not None) == has_bias


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("options", [
    {"base_softcap": 8.0}, {"other_softcap": 8.0}, {"base_logit_bias": 0}, {"other_logit_bias": 1},
    {"base_softcap": 8.0, "base_logit_bias": 0, "other_softcap": 20.0, "other_logit_bias": 1},
])
def test_compare(rng, dtype, options):
    base, other, biases, target = draw(rng, dtype)
    options = {name: biases[x] if "bias" in name else x for name, x in options.items()}
    found = compare(base, other, target, **options)
    counted = target != -100
    sides = [by_hand(x[counted], options.get(f"{name}_softcap"), options.get(f"{name}_logit_bias"))
             for name, x in (("base", base), ("other", other))]
    for name, x in exact_comparison.rows(*sides).items():
        mean = x.mean(dtype=np.longdouble)
        assert abs(getattr(found, name) - mean) <= DIVERGENCE.get(np.dtype(dtype), 1e-5) * mean + OF_DIVERGENCES, name
    numbers = exact_comparison.rows_with_target(*sides, target[counted])
    relative = RELATIVE.get(np.dtype(dtype), 5 * 2.0**-23)
    for name in ("base", "other"):
        loss = numbers[f"{name}_loss"].mean()
        assert abs(np.log(getattr(found, f"{name}_perplexity")) - loss) <= relative * loss + OF_FIGURES
    for name in ("base_accuracy", "other_accuracy"):
        assert getattr(found, name) == pytest.approx(float(numbers[name].mean()), rel=1e-15)
    assert (found.base_softcap, found.other_softcap) == (options.get("base_softcap"), options.get("other_softcap"))


def test_calibrate(rng):
    x, _, (bias, _), target = draw(rng)
    target = np.where(target < 0, 0, target)
    z = by_hand(x, 5.0, bias)
    found = calibrate(x, target, softcap=5.0, logit_bias=bias)
    exact = exact_figures.log_temperature(z, target)
    loss, entropy, variance = exact_figures.loss_and_entropy(z, target, exact)
    assert abs(np.log(found.temperature) - exact) <= SEARCH + (2.0**-50 * (loss + entropy) + 2 * OF_FIGURES) / variance
    assert found.after == evaluate(x, target, softcap=5.0, logit_bias=bias, temperature=found.temperature)
    assert found.before == evaluate(x, target, softcap=5.0, logit_bias=bias)
    assert found.before.as_dict()["softcap"] == 5.0


def test_figures_depend_on_nothing_else(rng):
    """Not on how the rows are cut; a class that a bias leaves out is one that is not there."""
    base, other, (bias, of_other), target = draw(rng, np.float32)
    options = {"softcap": 7.0, "logit_bias": bias}
    assert evaluate(base, target, rows_at_a_time=1, **options) == evaluate(base, target, **options)
    options = {"base_softcap": 7.0, "base_logit_bias": bias, "other_logit_bias": of_other}
    assert compare(base, other, target, rows_at_a_time=1, **options) == compare(base, other, target, **options)
    target %= 20
    masked = np.where(np.arange(23) < 20, 0, -np.inf)
    cut = evaluate(base, target, vocab_size=20, logit_bias=np.zeros(20))
    found = evaluate(base, target, logit_bias=masked)
    assert found.loss == pytest.approx(cut.loss, rel=5 * 2.0**-23) and found.mean_rank == cut.mean_rank


def test_results_tell_the_options(rng):
    """Any two evaluations with other options differ, in text, too; the same bias in another dtype does not."""
    base, other, (bias, of_other), target = draw(rng)
    cases = [{}, {"softcap": 5.0}, {"softcap": 6.0}, {"logit_bias": bias}, {"logit_bias": of_other},
             {"softcap": 5.0, "logit_bias": bias}]
    found = [evaluate(base, target, **options) for options in cases]
    told = [(x.softcap, x.logit_bias_checksum) for x in found]
    assert len({*told}) == len(cases)
    for result in found:
        lines = [line.split() for line in str(result).splitlines()]
        shown = {"softcap": result.softcap, "logit_bias_checksum": result.logit_bias_checksum}
        for name, value in shown.items():
            assert ([name, str(value)] in lines) == (value is not None)
            assert result.as_dict()[name] == value
    assert evaluate(base, target, logit_bias=bias.astype(np.float64)) == found[3]
    zero = [evaluate(base, target, logit_bias=np.full(23, x)) for x in (0.0, -0.0)]
    assert zero[0] == zero[1] and zero[0] != replace(zero[0], logit_bias_checksum=None)
    swapped = [compare(base, other, **{f"{side}_softcap": 5.0}) for side in ("base", "other")]
    assert ["base_softcap", "5.0"] in [line.split() for line in str(swapped[0]).splitlines()]
    assert ["other_softcap", "5.0"] in [line.split() for line in str(swapped[1]).splitlines()]


@pytest.mark.parametrize("options", [{"other_softcap": 9.0}, {"other_logit_bias": 1},
                                     {"other_softcap": 9.0, "other_logit_bias": 1}])
def test_logits_against_stored_log_probs(tmp_path, options):
    """As the logits that were made by hand, in float64, against the same file."""
    path = DATA / "ctx16-base.kld"
    logits = np.load(DATA / "ctx16-other_logits.npy").astype(np.float64)
    bias = np.random.default_rng(0).normal(size=logits.shape[-1])
    options = {name: bias if "bias" in name else x for name, x in options.items()}
    z = by_hand(logits, options.get("other_softcap"), options.get("other_logit_bias")).astype(np.float64)
    found, wanted = compare(path, logits, **options), compare(path, z)
    for name in ("kl", "reverse_kl", "js"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-12, abs=OF_DIVERGENCES), name
    assert found.other_perplexity == pytest.approx(wanted.other_perplexity, rel=OF_FIGURES)


def test_log_probabilities_are_refused(tmp_path):
    path, other = DATA / "ctx16-base.kld", np.load(DATA / "ctx16-other_logits.npy")
    bias = np.zeros(other.shape[-1])
    for name, value in (("softcap", 30.0), ("logit_bias", bias)):
        for call in (evaluate, calibrate):
            with pytest.raises(ValueError, match=rf"^{name} was given for .*kld, which has log-prob"):
                call(path, path, **{name: value})
        for side, inputs in (("base", (path, other)), ("other", (path, path))):
            with pytest.raises(ValueError, match=rf"^{side}_{name} was given for .*kld, which has log-prob"):
                compare(*inputs, **{f"{side}_{name}": value})
        with pytest.raises(ValueError, match="not the tool's: expected them without llama"):
            compare(path, other, llama=True, **{f"other_{name}": value})
    (tmp_path / "more.kld").write_bytes(stored_by_llama(other, LogProbRows(path).tokens))
    with pytest.raises(ValueError, match=r"^softcap was given for .*, which has log-probabilities"):
        evaluate([path, tmp_path / "more.kld"], [path, tmp_path / "more.kld"], softcap=30.0)


BAD = [
    ({"softcap": 0.0}, ValueError, "softcap is 0.0: expected a finite number > 0"),
    ({"softcap": np.inf}, ValueError, "softcap is inf: expected a finite number > 0"),
    ({"softcap": [1.0, 2.0]}, TypeError, "softcap is [1.0, 2.0]: expected a number"),
    ({"logit_bias": np.zeros(22)}, ValueError, "logit_bias has shape (22,): expected (23,)"),
    ({"logit_bias": 1.0}, ValueError, "logit_bias has shape (): expected (23,)"),
    ({"logit_bias": np.where(np.arange(23) == 4, np.nan, 0)}, ValueError,
     "logit_bias[4] is nan: expected a finite number or -inf"),
    ({"logit_bias": np.where(np.arange(23) == 4, np.inf, 0)}, ValueError,
     "logit_bias[4] is inf: expected a finite number or -inf"),
]


@pytest.mark.parametrize("options, error, message", BAD)
def test_bad_options(rng, options, error, message):
    base, other, _, target = draw(rng)
    for call in (evaluate, calibrate):
        with pytest.raises(error) as raised:
            call(base, target, **options)
        assert str(raised.value) == message
    for side in ("base", "other"):
        with pytest.raises(error) as raised:
            compare(base, other, **{f"{side}_{name}": x for name, x in options.items()})
        assert str(raised.value) == f"{side}_{message}"


def test_temperature_is_a_number(rng):
    base, _, _, target = draw(rng)
    for temperature in (np.ones(len(base)), np.ones(1)):
        with pytest.raises(TypeError, match=r"^temperature has shape \(\d+,\): expected a number$"):
            evaluate(base, target, temperature=temperature)


# ---- The commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bias(files, rng):
    found = rng.normal(size=11)
    np.save("bias.npy", found.astype(np.float16))
    return found.astype(np.float16)


def printed(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_commands(files, bias, capsys):
    logits, target = files
    options = {"softcap": 3.0, "logit_bias": bias}
    given = ["logits.npy", "targets.npy", "--softcap", "3", "--logit-bias", "bias.npy"]
    found = printed(capsys, "eval", *given)
    assert found == {"rows": 500, "rows_read": 500, **evaluate(logits, target, **options).as_dict()}
    assert printed(capsys, "calibrate", *given) == calibrate(logits, target, **options).as_dict()
    assert main(["calibrate", *given]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["softcap", "3.0"] in lines and ["logit_bias_checksum", found["logit_bias_checksum"]] in lines


def test_compare_command(files, bias, capsys):
    logits, target = files
    np.save("other.npy", logits * 1.5)
    given = "base.npy other.npy --targets targets.npy --base-softcap 9 --base-logit-bias bias.npy --other-softcap 4"
    np.save("base.npy", logits)
    found = printed(capsys, "compare", *given.split())
    wanted = compare(logits, logits * 1.5, target, base_softcap=9.0, base_logit_bias=bias, other_softcap=4.0)
    assert found == {"rows": 500, "rows_read": 500, **wanted.as_dict()}
    found = printed(capsys, "compare", "base.npy", "other.npy", "--other-logit-bias", "bias.npy")
    assert found["other_logit_bias_checksum"] == wanted.base_logit_bias_checksum
    assert found["base_logit_bias_checksum"] is None


def test_pages(files, bias, capsys):
    pytest.importorskip("matplotlib", reason="an optional library: the session adapters has it")
    from pages import line, parsed

    given = ["targets.npy", "--softcap", "3", "--logit-bias", "bias.npy", "--report", "out.html"]
    checksum = evaluate(*files, logit_bias=bias).logit_bias_checksum
    for command in ("eval", "calibrate"):
        assert main([command, "logits.npy", *given]) == 0
        page = parsed()
        assert "3.0" in line(page, "Softcap") and checksum in line(page, "Checksum of the logit bias")
    given = ["logits.npy", "--other-softcap", "3", "--base-logit-bias", "bias.npy", "--report", "out.html"]
    assert main(["compare", "logits.npy", *given]) == 0
    page = parsed()
    assert "3.0" in line(page, "Other softcap") and checksum in line(page, "Checksum of the base's logit bias")


@pytest.mark.parametrize("command, model", [("eval", ""), ("calibrate", ""), ("compare", "base-"),
                                            ("compare", "other-")])
def test_bad_files(files, command, model, tmp_path):
    second = "targets.npy" if command != "compare" else "logits.npy"
    np.save("short.npy", np.zeros(10))
    np.save("nan.npy", np.where(np.arange(11) == 2, np.nan, 0))
    np.save("text.npy", np.array(["a"] * 11))
    np.save("objects.npy", np.array([None] * 11), allow_pickle=True)
    np.savez("several.npz", a=np.zeros(11))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:-8])
    (tmp_path / "empty.npy").write_bytes(b"")
    name = model.replace("-", "_")
    expected = {
        "short.npy": f"{name}logit_bias has shape (10,): expected (11,)",
        "nan.npy": f"{name}logit_bias[2] is nan: expected a finite number or -inf",
        "text.npy": f"{name}logit_bias has dtype <U1",
        "objects.npy": "objects.npy is not a .npy file of numbers: ",
        "several.npz": "several.npz is not a .npy file of numbers: ",
        "cut.npy": "cut.npy is not a .npy file of numbers: ",
        "empty.npy": "empty.npy is not a .npy file of numbers: ",
        "absent.npy": "absent.npy: No such file or directory",
    }
    for path, message in expected.items():
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([command, "logits.npy", second, f"--{model}logit-bias", path])
        assert (code, out.getvalue()) == (2, "")
        assert err.getvalue().startswith(f"crossent {command}: {message}") and err.getvalue().count("\n") == 1
    done = run(command, "logits.npy", second, f"--{model}softcap", "-1")
    assert fails(command, done) == f"{name}softcap is -1.0: expected a finite number > 0"
