"""The package as installed: its names, docstrings, types and what it says about itself."""

import doctest
import importlib.resources
import inspect
import re

import numpy as np
import pytest
from support import run_python

import crossent as xe
from crossent import _cli, information

SIGNATURES = {
    "softmax": "(x, axis=-1, *, temperature=1.0, out=None)",
    "log_softmax": "(x, axis=-1, *, temperature=1.0, out=None)",
    "logsumexp": "(x, axis=-1, *, keepdims=False, out=None)",
    "softmax_backward": "(grad_output, probs, axis=-1, *, temperature=1.0, out=None)",
    "log_softmax_backward": "(grad_output, log_probs, axis=-1, *, temperature=1.0, out=None)",
    "logsumexp_backward": "(grad_output, x, axis=-1, *, keepdims=False, out=None)",
    "cross_entropy": "(logits, target, *, axis=None, weight=None, ignore_index=-100, label_smoothing=0.0, "
                     "sample_weight=None, reduction='mean', denominator=None, return_grad=False, grad_out=None)",
    "cross_entropy_backward": "(grad_output, logits, target, *, axis=None, weight=None, ignore_index=-100, "
                              "label_smoothing=0.0, sample_weight=None, reduction='mean', denominator=None, out=None)",
    "nll_loss": "(log_probs, target, *, axis=None, weight=None, ignore_index=-100, sample_weight=None, "
                "reduction='mean', denominator=None, return_grad=False, grad_out=None)",
    "nll_loss_backward": "(grad_output, log_probs, target, *, axis=None, weight=None, ignore_index=-100, "
                         "sample_weight=None, reduction='mean', denominator=None, out=None)",
}
KL_OPTIONS = "axis=None, temperature=1.0, divergence='forward', beta=0.5, sample_weight=None, reduction='batchmean', "
DISTILLATION_OPTIONS = (
    "axis=None, temperature=1.0, alpha=None, scale_by_temperature=True, divergence='forward', beta=0.5, weight=None, "
    "ignore_index=-100, label_smoothing=0.0, sample_weight=None, reduction='mean', ")
BINARY_OPTIONS = "weight=None, pos_weight=None, label_smoothing=0.0, reduction='mean', "
# The losses whose two functions differ in their ends only: (arguments, options).
for _name, (_arguments, _options) in {
    "binary_cross_entropy": ("probs, target", "weight=None, log_floor=-100.0, reduction='mean', "),
    "binary_cross_entropy_with_logits": ("logits, target", BINARY_OPTIONS),
    "kl_div": ("log_probs, target", "log_target=False, axis=None, reduction='batchmean', "),
    "kl_div_with_logits": ("logits, teacher_logits", KL_OPTIONS),
    "distillation_loss": ("logits, teacher_logits, target=None", DISTILLATION_OPTIONS),
}.items():
    SIGNATURES[_name] = f"({_arguments}, *, {_options}denominator=None, return_grad=False, grad_out=None)"
    SIGNATURES[f"{_name}_backward"] = f"(grad_output, {_arguments}, *, {_options}denominator=None, out=None)"
INFORMATION = {
    "entropy": "(p, axis=-1, *, base=None)", "cross_entropy": "(p, q, axis=-1, *, base=None)",
    "kl_divergence": "(p, q, axis=-1, *, base=None)", "js_divergence": "(p, q, axis=-1, *, base=None)",
    "entropy_with_logits": "(logits, axis=-1)", "perplexity": "(logits, target, *, axis=None, ignore_index=-100)",
}
FUNCTIONS = {name: (getattr(xe, name), text, "xe") for name, text in SIGNATURES.items()}
FUNCTIONS |= {f"information.{name}": (getattr(information, name), text, "information")
              for name, text in INFORMATION.items()}
PROCESS = ("config", "get_num_threads", "num_threads", "set_num_threads")
SECTIONS = ("Parameters", "Returns", "Raises", "References", "Examples")


def test_all_names():
    assert sorted(set(xe.__all__) - {"information"}) == sorted((*SIGNATURES, *PROCESS))
    assert sorted(information.__all__) == sorted(INFORMATION)
    assert all(hasattr(xe, name) for name in xe.__all__) and xe.information is information


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature(name):
    function, wanted, _ = FUNCTIONS[name]
    signature = inspect.signature(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == wanted


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring(name):
    """One line, a paragraph, the formula, arguments, results, errors, sources, an example: in this order."""
    function, _, module = FUNCTIONS[name]
    text = inspect.getdoc(function)
    first, blank, *_ = text.splitlines()
    assert first.endswith(".") and blank == ""
    assert "formula" in text.partition("Parameters")[0]
    assert tuple(re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)) == SECTIONS
    assert f"{module}.{function.__name__}(" in text.partition("Examples")[2]
    documented = text.partition("Parameters")[2].partition("Returns")[0]
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]*( :|$)", documented, re.MULTILINE), parameter


@pytest.mark.parametrize("name", PROCESS)
def test_docstring_of_process_functions(name):
    text = inspect.getdoc(getattr(xe, name))
    assert text.splitlines()[0].endswith(".") and "Examples\n--------" in text


@pytest.mark.parametrize("name", (*FUNCTIONS, *PROCESS))
def test_examples_run(name):
    function = FUNCTIONS[name][0] if name in FUNCTIONS else getattr(xe, name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    examples = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert examples and examples[0].examples
    for example in examples:
        assert runner.run(example).failed == 0


def test_config():
    config = xe.config()
    assert set(config) == {"version", "isa", "isa_levels", "threads", "compiler", "openmp"}
    assert config["isa"] in config["isa_levels"]
    assert set(config["isa_levels"]) <= {"baseline", "avx2", "avx512", "neon"}
    assert config["threads"] == xe.get_num_threads() >= 1
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", config["version"]) and config["version"] == xe.__version__
    assert isinstance(config["compiler"], str) and isinstance(config["openmp"], str)


@pytest.mark.parametrize("level", xe.config()["isa_levels"])
def test_crossent_isa_chooses_the_level(level):
    done = run_python("import crossent; print(crossent.config()['isa'])", env={"CROSSENT_ISA": level})
    assert done.stdout == level + "\n"


def test_the_best_level_is_the_default():
    code = "import os; os.environ.pop('CROSSENT_ISA', None); import crossent; print(crossent.config()['isa'])"
    assert run_python(code).stdout == xe.config()["isa_levels"][0] + "\n"


UNUSABLE = sorted({"sse9", "AVX2", "avx2 ", "avx2", "neon"} - set(xe.config()["isa_levels"]))


@pytest.mark.parametrize("level", UNUSABLE, ids=repr)
@pytest.mark.parametrize("use", ("xe.config()", "xe.softmax([0.0])", "xe.cross_entropy([[0.0, 1.0]], [0])"))
def test_unknown_or_unusable_level_is_an_error(level, use):
    """Unknown, or known and not of this machine: the message names the level and those that are usable."""
    done = run_python(f"import crossent as xe; {use}", env={"CROSSENT_ISA": level}, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError") and "CROSSENT_ISA" in last and level in last
    for usable in xe.config()["isa_levels"]:
        assert usable in last


def test_types_are_shipped():
    files = importlib.resources.files("crossent")
    assert (files / "py.typed").is_file() and (files / "_core.pyi").is_file()


def test_importing_needs_numpy_alone():
    run_python("""
import sys, numpy
before = set(sys.modules)
import crossent
new = {name.partition('.')[0] for name in set(sys.modules) - before}
assert new - set(sys.stdlib_module_names) == {'crossent'}, new
""")


def test_no_warnings_on_normal_paths(dtype):
    """Warnings are errors in this suite; NumPy's floating-point state must not matter either."""
    x = np.array([[0, -np.inf, 1e30], [np.nan, 0, 1]], dtype)
    with np.errstate(all="raise"):
        xe.cross_entropy(x, [1, 2], reduction="none", return_grad=True)
        xe.cross_entropy(x[:0], np.empty(0, int))
        xe.softmax(x), xe.log_softmax(x), xe.logsumexp(x)
        xe.kl_div_with_logits(x, x[::-1], reduction="none", return_grad=True)
        xe.distillation_loss(x, x[::-1], [1, 2], return_grad=True)
        xe.cross_entropy(x, np.array([[0, 1, 0], [0.5, 0.25, 1e-30]]), return_grad=True)
        xe.binary_cross_entropy(np.array([0, 1, 0.5], dtype), [1, 0, 1e-300], log_floor=None, return_grad=True)
        xe.binary_cross_entropy_with_logits(x, [[0, 1, 1e-300]] * 2, pos_weight=1e-300, return_grad=True)
        xe.kl_div(x, [[0, 1, 1e-300]] * 2, return_grad=True)
        information.kl_divergence(abs(x[:1, ::2]), [[0, 1e-300]]), information.entropy_with_logits(x)
        information.perplexity(x[:0], np.empty(0, int))
        half = np.array([[0, -np.inf, 6e4], [np.nan, 0, 1]], np.float16)
        xe.softmax(half), xe.cross_entropy(half, [1, 2], denominator=1e9, return_grad=True)
        xe.binary_cross_entropy(np.array([6e-8], np.float16), [1], return_grad=True)


def test_command_info(capsys):
    assert _cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    for key, value in xe.config().items():
        assert key in printed and (isinstance(value, list) or str(value) in printed)


def test_command_demo_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(_cli, "DEMO_MODULES", ("numpy", "no_such_module"))
    assert _cli.main(["demo"]) == 1
    assert re.search(r"needs no_such_module: pip install crossent\[demo\]", capsys.readouterr().err)


@pytest.mark.parametrize("arguments", ([], ["train"], ["info", "now"]), ids=str)
def test_command_with_other_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        _cli.main(arguments)
    assert caught.value.code == 2 and "usage: crossent" in capsys.readouterr().err
