"""`crossent compare`: what it prints and writes, and what it does when it cannot."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from evaluation.commands import MAIN
from support import run_python

from crossent.__main__ import main
from crossent.evaluation import _token_statistics, compare
from crossent.evaluation._commands import COMPARE_COLUMNS

DATA = Path(__file__).parents[1] / "data" / "kld"
KLD, LOGITS = str(DATA / "ctx16-base.kld"), str(DATA / "ctx16-other_logits.npy")


@pytest.fixture
def files(rng, tmp_path, monkeypatch):
    """A folder with base.npy, other.npy and targets.npy, where the command runs."""
    monkeypatch.chdir(tmp_path)
    base, target = rng.normal(0, 2, (500, 11)).astype(np.float32), rng.integers(0, 11, 500)
    other = base + rng.normal(0, 0.5, base.shape).astype(np.float32)
    target[10:20] = -100
    for name, x in (("base", base), ("other", other), ("targets", target)):
        np.save(f"{name}.npy", x)
    return base, other, target


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of `crossent compare` and these arguments."""
    code = main(["compare", *arguments])
    return code, *capsys.readouterr()


def fails(capsys, *arguments):
    """The one line on stderr of a command that could not do it."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("crossent compare: ") and err.count("\n") == 1, err
    return err.removeprefix("crossent compare: ").rstrip("\n")


def test_tables_and_json(files, capsys):
    options = ["base.npy", "other.npy", "--targets", "targets.npy", "--blocks", "50", "--worst", "3", "--threads", "1"]
    result = compare(*files, blocks=50, worst=3)
    assert run(capsys, *options) == (0, f"{result}\n", "")
    code, out, err = run(capsys, *options, "--json")
    assert (code, json.loads(out), err) == (0, {"rows": 500, "rows_read": 500, **result.as_dict()}, "")


def test_in_a_process_of_its_own(files):
    done = run_python(MAIN, "compare", "base.npy", "other.npy", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{compare(*files[:2])}\n", "")


def test_llama(capsys):
    result = compare(KLD, LOGITS, llama=True)
    assert run(capsys, KLD, LOGITS, "--llama") == (0, f"{result}\n", "")
    code, out, _ = run(capsys, KLD, LOGITS, "--llama", "--json")
    assert (code, json.loads(out)) == (0, {"rows": 105, "rows_read": 105, **result.as_dict()})


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_csv_has_every_row_that_counts(files, dtype, capsys, monkeypatch):
    base, other, target = files[0].astype(dtype), files[1].astype(dtype), files[2]
    other[30, 4] = np.nan
    np.save("base.npy", base)
    np.save("other.npy", other)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 700)  # several blocks
    options = ["--targets", "targets.npy", "--skip-nan", "--csv", "tokens.csv"]
    assert run(capsys, "base.npy", "other.npy", *options)[0] == 0
    with open("tokens.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COMPARE_COLUMNS
    counted = np.delete(np.arange(500), [30, *range(10, 20)])
    assert [int(line["position"]) for line in lines] == counted.tolist()
    assert [int(line["target"]) for line in lines] == target[counted].tolist()
    assert [int(line["base_argmax"]) for line in lines] == base[counted].argmax(axis=1).tolist()
    assert [int(line["other_argmax"]) for line in lines] == other[counted].argmax(axis=1).tolist()
    result = compare(base[counted], other[counted], target[counted])
    of_lines = {name: np.array([line[name] for line in lines], dtype=dtype if dtype == np.float64 else np.float32)
                for name in ("kl", "reverse_kl", "js", "base_log_prob", "other_log_prob")}
    for name in ("kl", "reverse_kl", "js"):
        assert of_lines[name].mean(dtype=np.float64) == pytest.approx(getattr(result, name), rel=1e-13)
    for name in ("base", "other"):
        loss = -of_lines[f"{name}_log_prob"].mean(dtype=np.float64)
        assert np.exp(loss) == pytest.approx(getattr(result, f"{name}_perplexity"), rel=1e-13)


def test_csv_without_targets(files, capsys):
    assert run(capsys, "base.npy", "other.npy", "--csv", "tokens.csv")[0] == 0
    with open("tokens.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 500
    assert {line[name] for line in lines for name in ("target", "base_log_prob", "other_log_prob")} == {""}


def test_csv_of_llama(capsys, tmp_path):
    assert run(capsys, KLD, LOGITS, "--llama", "--csv", str(tmp_path / "tokens.csv"))[0] == 0
    with open(tmp_path / "tokens.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COMPARE_COLUMNS[:-2]  # the tool has no other divergence
    theirs = np.load(DATA / "ctx16-rows.npy")[:, 0]
    assert [float(line["kl"]) for line in lines] == pytest.approx(theirs.tolist(), abs=600 * 2.0**-24)


def test_raw_files(files, capsys):
    """The shape and dtype are those of the raw file of the two."""
    base, other, _ = files
    base.astype(np.float16).tofile("base.bin")
    code, out, _ = run(capsys, "base.bin", "other.npy", "--shape", "500,11", "--dtype", "float16")
    assert (code, out) == (0, f"{compare(base.astype(np.float16), other)}\n")
    other.tofile("other.bin")
    assert "expected its dtype and shape" in fails(capsys, "base.npy", "other.bin")
    base.tofile("base.bin")
    code, out, _ = run(capsys, "base.bin", "other.bin", "--shape=-1,11", "--dtype", "float32")
    assert (code, out) == (0, f"{compare(base, other)}\n")


def test_bad_input(files, capsys, tmp_path):
    base, _, target = files
    nan = base.copy()
    nan[123, 4] = np.nan
    np.save("nan.npy", nan)
    np.save("short.npy", base[:-1])
    np.save("narrow.npy", base[:, :-1])
    np.save("few-targets.npy", target[:-1])
    (tmp_path / "cut.npy").write_bytes((tmp_path / "base.npy").read_bytes()[:-1000])
    (tmp_path / "cut.kld").write_bytes(Path(KLD).read_bytes()[:-10])
    expected = {
        ("base.npy", "nan.npy"): "nan.npy[123] has a NaN or an infinite maximum",
        ("nan.npy", "base.npy"): "nan.npy[123] has a NaN or an infinite maximum",
        ("base.npy", "short.npy"): "short.npy has 499 rows of 11 classes: expected 500 of 11, as base.npy has",
        ("base.npy", "narrow.npy"): "narrow.npy has 500 rows of 10 classes: expected 500 of 11, as base.npy has",
        ("base.npy", "other.npy", "--targets", "few-targets.npy"): "few-targets.npy has 499 targets: expected 500",
        ("base.npy", "cut.npy"): "cut.npy",
        ("cut.kld", LOGITS): "cut.kld has 127810 bytes: expected 127820",
        ("base.npy", "absent.npy"): "absent.npy: No such file or directory",
        ("absent", "other.npy"): "absent: No such file or directory",
        ("base.npy", "other.npy", "--worst", "-1"): "worst is -1",
        ("base.npy", "other.npy", "--blocks", "0"): "blocks is 0",
        ("base.npy", "other.npy", "--llama"): "base.npy is not a file of llama-perplexity",
        ("base.npy", "other.npy", "--csv", "absent/tokens.csv"): "absent/tokens.csv: No such file or directory",
        ("base.npy", "nan.npy", "--csv", "tokens.csv"): "nan.npy[123]",
    }
    before = sorted(os.listdir())
    for arguments, message in expected.items():
        assert message in fails(capsys, *arguments), arguments
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("llama", [False, True])
def test_what_is_done_is_printed_when_interrupted(llama, tmp_path, monkeypatch, capsys):
    """Ctrl-C is pressed after three blocks of 20 rows."""
    targets = np.load(DATA / "ctx16-targets.npy")
    targets[60:] = -100
    whole = compare(KLD, LOGITS, targets, llama=llama).as_dict()

    def read_ahead(given):
        for count, block in enumerate(given):
            if count == 3:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(_token_statistics, "read_ahead", read_ahead)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 20 * 600)
    csv_file = tmp_path / "tokens.csv"
    csv_file.write_text("old")
    options = ["--llama"] if llama else []
    code, out, err = run(capsys, KLD, LOGITS, *options, "--json", "--csv", str(csv_file))
    assert (code, err) == (130, f"crossent compare: interrupted after 60 of 105 rows; {csv_file} is not written\n")
    assert csv_file.read_text() == "old" and os.listdir(tmp_path) == ["tokens.csv"]
    assert json.loads(out) == {"rows": 105, "rows_read": 60, **whole, **({} if llama else {"ignored": 0})}


def test_help(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("exit codes", "130", "--json", "--csv FILE", "--llama", "--targets"))
