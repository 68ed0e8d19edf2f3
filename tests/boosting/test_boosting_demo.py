"""The section on boosted trees of `crossent demo`: with each of the libraries, and without both."""

import io
import os

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="of the extra demo: the sessions tests and adapters have it")
pytest.importorskip("sklearn", reason="of the extra demo: the sessions tests and adapters have it")
rich_console = pytest.importorskip("rich.console", reason="of the extra demo: the sessions tests and adapters have it")

from crossent._demo import boosting, figures, report  # noqa: E402

RUNS = 2


def printed(result):
    file = io.StringIO()
    report.print_boosting(rich_console.Console(file=file, width=100), result)
    return file.getvalue()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_students_of_a_teacher(library, monkeypatch, tmp_path):
    module = pytest.importorskip(library, reason="an optional library: the session adapters has it")
    monkeypatch.setattr(boosting, "LIBRARIES", {library: library})
    steps = []
    result = boosting.run(lambda: steps.append(None), RUNS)
    assert len(steps) == boosting.steps(RUNS)
    for students in result.students.values():
        for taught in students.taught.values():
            assert taught.curve.shape == (RUNS, boosting.ROUNDS)
            np.testing.assert_array_equal(taught.loss, taught.curve[:, -1])
            assert (taught.loss < taught.curve[:, 0]).all() and (taught.accuracy > 0.5).all()
    # As docs/how-to/boosting.md has it of ten seeds each.
    helps, hinders = (result.students[data].taught for data in ("overlapping", "digits"))
    assert (helps["teacher"].loss < helps["hard labels"].loss).all()
    assert (hinders["teacher"].loss > hinders["hard labels"].loss).all()

    text = printed(result)
    assert f"{library} {module.__version__}" in text
    for line in ("overlapping, teacher: accuracy", "digits, half of each: accuracy", "the teacher"):
        assert line in text
    assert os.path.getsize(figures.boosted_trees(result, tmp_path / "boosting.png")) > 10_000


def test_without_the_libraries(monkeypatch):
    monkeypatch.setattr(boosting, "LIBRARIES", {"no_such_module": "XGBoost", "nor_this_one": "LightGBM"})
    result = boosting.run(lambda: None, RUNS)
    assert result is None
    [line] = printed(result).splitlines()[:-1]
    assert line.endswith("left out, as it needs XGBoost or LightGBM: pip install 'crossent[boosting]'")
