"""The package as installed: its names, docstrings, types and what it says about itself."""

import importlib.resources
import inspect
import pickle
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from operations import FITS, FUNCTIONS
from support import assert_examples_run, run_python

import crossent as xe
from crossent import __main__, information

PROCESS = ("config", "get_num_threads", "num_threads", "set_num_threads")
TYPES = ("RowStatistics", "TemperatureFit")
SECTIONS = ("Parameters", "Returns", "Raises", "References", "Examples")
WARNING = {function.name for function in FITS}


def test_all_names():
    measures = {f"information.{name}" for name in information.__all__}
    assert {*xe.__all__} - {"information"} | measures == {*FUNCTIONS, *PROCESS, *TYPES}
    assert len(xe.__all__) + len(measures) == len(FUNCTIONS) + len(PROCESS) + len(TYPES) + 1
    assert all(hasattr(xe, name) for name in xe.__all__)
    assert xe.information is information


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature(name):
    signature = inspect.signature(FUNCTIONS[name].run)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == FUNCTIONS[name].signature


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring(name):
    """One line, a paragraph, the formula, arguments, results, errors, warnings, sources, an example: in this order."""
    function = FUNCTIONS[name].run
    module = "information" if name.startswith("information.") else "xe"
    text = inspect.getdoc(function)
    first, blank, *_ = text.splitlines()
    assert first.endswith(".")
    assert blank == ""
    assert "formula" in text.partition("Parameters")[0]
    sections = (*SECTIONS[:3], "Warns", *SECTIONS[3:]) if name in WARNING else SECTIONS
    assert tuple(re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)) == sections
    assert f"{module}.{function.__name__}(" in text.partition("Examples")[2]
    documented = text.partition("Parameters")[2].partition("Returns")[0]
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]*( :|$)", documented, re.MULTILINE), parameter


@pytest.mark.parametrize("name", PROCESS)
def test_docstring_of_process_functions(name):
    text = inspect.getdoc(getattr(xe, name))
    assert text.splitlines()[0].endswith(".")
    assert "Examples\n--------" in text


@pytest.mark.parametrize("name", [*FUNCTIONS, *PROCESS])
def test_examples_run(name):
    assert_examples_run(FUNCTIONS[name].run if name in FUNCTIONS else getattr(xe, name), name)


def test_config():
    config = xe.config()
    assert set(config) == {"version", "isa", "isa_levels", "threads", "compiler", "openmp"}
    assert config["isa"] in config["isa_levels"]
    assert set(config["isa_levels"]) <= {"baseline", "avx2", "avx512", "neon"}
    assert config["threads"] == xe.get_num_threads() >= 1
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", config["version"])
    assert config["version"] == xe.__version__
    assert isinstance(config["compiler"], str)
    assert isinstance(config["openmp"], str)


@pytest.mark.parametrize("level", xe.config()["isa_levels"])
def test_crossent_isa_chooses_the_level(level):
    done = run_python("import crossent; print(crossent.config()['isa'])", env={"CROSSENT_ISA": level})
    assert done.stdout == level + "\n"


def test_the_best_level_is_the_default():
    code = "import os; os.environ.pop('CROSSENT_ISA', None); import crossent; print(crossent.config()['isa'])"
    assert run_python(code).stdout == xe.config()["isa_levels"][0] + "\n"


UNUSABLE = sorted({"sse9", "AVX2", "avx2 ", "avx2", "neon"} - set(xe.config()["isa_levels"]))


@pytest.mark.parametrize("level", UNUSABLE, ids=repr)
@pytest.mark.parametrize("use", ["xe.config()", "xe.softmax([0.0])", "xe.cross_entropy([[0.0, 1.0]], [0])"])
def test_unknown_or_unusable_level_is_an_error(level, use):
    """Unknown, or known and not of this machine: the message names the level and those that are usable."""
    done = run_python(f"import crossent as xe; {use}", env={"CROSSENT_ISA": level}, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("RuntimeError")
    assert "CROSSENT_ISA" in last
    assert level in last
    for usable in xe.config()["isa_levels"]:
        assert usable in last


def test_types_are_shipped():
    files = importlib.resources.files("crossent")
    assert (files / "py.typed").is_file()
    assert (files / "_core.pyi").is_file()


def test_importing_needs_numpy_alone():
    run_python("""
import sys, numpy
before = set(sys.modules)
import crossent
new = {name.partition('.')[0] for name in set(sys.modules) - before}
assert new - set(sys.stdlib_module_names) == {'crossent'}, new
""")


def test_what_not_every_process_needs_is_imported_at_its_first_use():
    run_python("""
import sys, threading, crossent as xe
late = ("crossent._validate", "crossent._results")
assert not any(name in sys.modules for name in late)

sys.modules["crossent._validate"] = None  # an import of it fails
try:
    xe.softmax([1.0])
except ImportError:
    del sys.modules["crossent._validate"]
    found = []
    threads = [threading.Thread(target=lambda: found.append(xe.softmax([1.0])[0])) for _ in range(8)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
assert found == [1.0] * 8

assert isinstance(xe.fit_temperature([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 1]), xe.TemperatureFit)
assert all(name in sys.modules for name in late)
""")


def test_temperature_fit_is_a_named_tuple():
    from crossent import TemperatureFit

    fit = xe.fit_temperature([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 1])
    assert fit._fields == ("temperature", "nll_before", "nll_after", "at_bound", "passes", "converged")
    assert type(fit) is TemperatureFit
    assert repr(fit).startswith(f"TemperatureFit(temperature={fit.temperature!r}, ")
    again = pickle.loads(pickle.dumps(fit))
    assert again == fit and type(again) is TemperatureFit
    temperature, *_, converged = fit
    assert (temperature, converged) == (fit.temperature, True)


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
    assert __main__.main(["info"]) == 0
    printed = capsys.readouterr().out
    for key, value in xe.config().items():
        assert key in printed
        assert (isinstance(value, list) or str(value) in printed)


def test_command_demo_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(__main__, "DEMO_MODULES", ("numpy", "no_such_module"))
    assert __main__.main(["demo"]) == 1
    assert re.search(r"needs no_such_module: pip install crossent\[demo\]", capsys.readouterr().err)


def test_command_demo_takes_a_folder_and_quick(monkeypatch, tmp_path):
    given = []
    demo = types.ModuleType("crossent._demo")  # the real one needs the extra `demo`
    demo.run = lambda out, quick: given.append((out, quick)) or 0
    monkeypatch.setitem(sys.modules, "crossent._demo", demo)
    monkeypatch.setattr(__main__, "DEMO_MODULES", ())
    assert __main__.main(["demo", "--out", str(tmp_path), "--quick"]) == 0
    assert __main__.main(["demo"]) == 0
    assert given == [(tmp_path, True), (Path("crossent-demo"), False)]


def test_command_alone_prints_help(capsys):
    assert __main__.main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: crossent")
    assert all(command in printed for command in ("demo", "info", "--version"))


def test_command_version(capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"crossent {xe.__version__}\n"


@pytest.mark.parametrize("arguments", (["train"], ["info", "now"], ["demo", "--slow"]), ids=str)
def test_command_with_other_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2
    assert "usage: crossent" in capsys.readouterr().err
