"""`crossent eval`: what it prints and writes, and what it does when it cannot."""

import csv
import json
import os
import pty
import signal
import stat
import subprocess
import sys
from functools import partial

import commands
import numpy as np
import pytest
from commands import MAIN, run

import crossent as xe
from crossent.__main__ import main
from crossent.evaluation import _terminal, _token_statistics, evaluate

crossent = partial(run, "eval")
fails = partial(commands.fails, "eval")


def test_table(files):
    done = crossent("logits.npy", "targets.npy", "--blocks", "50")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{evaluate(*files, blocks=50)}\n"


def test_json(files):
    options = "--json --blocks documents.npy --temperature 1.5 --bins 8 --vocab-size 11 --threads 1"
    done = crossent("logits.npy", "targets.npy", *options.split())
    assert (done.returncode, done.stderr) == (0, "")
    result = evaluate(*files, blocks=np.arange(500) // 33, temperature=1.5, bins=8)
    assert json.loads(done.stdout) == {"rows": 500, "rows_read": 500, **result.as_dict()}


def test_as_a_module(files):
    done = subprocess.run([sys.executable, "-m", "crossent", "eval", "logits.npy", "targets.npy"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_csv_has_every_row_that_counts(files, dtype, capsys, monkeypatch):
    logits, target = files[0].astype(dtype), files[1]
    logits[30, 4] = np.nan
    np.save("logits.npy", logits)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 700)  # several blocks
    assert main(["eval", "logits.npy", "targets.npy", "--skip-nan", "--csv", "tokens.csv"]) == 0
    with open("tokens.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    counted = np.delete(np.arange(500), [30, *range(10, 20)])
    found = xe.row_statistics(logits, target)
    assert [int(line["position"]) for line in lines] == counted.tolist()
    for name, exact in (("target", target), ("rank", found.rank + 1), ("argmax", found.argmax)):
        assert [int(line[name]) for line in lines] == exact[counted].tolist()
    for name in ("log_prob", "entropy"):
        exact = getattr(found, name)[counted]
        assert np.array_equal(np.array([line[name] for line in lines], exact.dtype), exact)
    assert ["nan_rows", "1"] in [line.split() for line in capsys.readouterr().out.split("\n")]


def test_csv_takes_the_place_of_a_file(files, tmp_path):
    (tmp_path / "kept").mkdir()
    old = tmp_path / "kept" / "old.csv"
    old.write_text("old")
    old.chmod(0o640)
    (tmp_path / "link.csv").symlink_to(old)
    assert crossent("logits.npy", "targets.npy", "--csv", "link.csv").returncode == 0
    assert old.read_text().startswith("position,target,log_prob,rank,argmax,entropy\n0,")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert (tmp_path / "link.csv").is_symlink() and os.listdir(tmp_path / "kept") == ["old.csv"]


@pytest.mark.parametrize("bytes_left", [0, 8000])
def test_full_disk_leaves_the_old_file(files, tmp_path, bytes_left):
    (tmp_path / "tokens.csv").write_text("old")
    before = sorted(os.listdir())
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_left}, {bytes_left}))\n"
    done = crossent("logits.npy", "targets.npy", "--csv", "tokens.csv", code=limit + MAIN)
    assert fails(done) == "tokens.csv: File too large"
    assert (tmp_path / "tokens.csv").read_text() == "old"
    assert sorted(os.listdir()) == before


def printed_into(stdout, *options):
    """(exit code, stderr), with the buffer of stdout that a user's Python has."""
    done = subprocess.run([sys.executable, "-c", MAIN, "eval", "logits.npy", "targets.npy", *options], stdout=stdout,
                          stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": ""})
    return done.returncode, done.stderr


def test_full_device(files):
    assert fails(crossent("logits.npy", "targets.npy", "--csv", "/dev/full")) == "/dev/full: No space left on device"
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    with open("/dev/full", "w") as full:
        for options in ([], ["--json"]):
            assert printed_into(full, *options) == (2, "crossent eval: stdout: No space left on device\n")


def test_closed_pipe(files):
    read, write = os.pipe()
    os.close(read)
    assert printed_into(write) == (2, "crossent eval: stdout: Broken pipe\n")
    os.close(write)


def test_bad_input(files, tmp_path):
    logits, target = files
    logits[123, 4] = np.nan
    np.save("nan.npy", logits)
    np.save("short.npy", target[:-1])
    target[77] = 11
    np.save("outside.npy", target)
    np.save("fractions.npy", target + 0.5)
    np.save("objects.npy", np.array([{}] * 500))
    whole = (tmp_path / "logits.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-1000])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_text("not an array")
    expected = {
        ("nan.npy", "targets.npy"): "[123] has a NaN or an infinite maximum",
        ("logits.npy", "short.npy"): "499",
        ("logits.npy", "outside.npy"): "target[77] is 11, outside [0, 11)",
        ("logits.npy", "fractions.npy"): "has dtype float64",
        ("logits.npy", "objects.npy"): "",
        ("cut.npy", "targets.npy"): "cut.npy",
        ("empty.npy", "targets.npy"): "empty.npy",
        ("text.npy", "targets.npy"): "text.npy",
        ("absent.npy", "targets.npy"): "absent.npy: No such file or directory",
        (".", "targets.npy"): "",
        ("logits.npy", "targets.npy", "--blocks", "absent.npy"): "absent.npy: No such file or directory",
        ("logits.npy", "targets.npy", "--blocks", "text.npy"): "text.npy",
        ("logits.npy", "targets.npy", "--blocks", "empty.npy"): "empty.npy",
        ("logits.npy", "targets.npy", "--blocks", "0"): "blocks is 0",
        ("logits.npy", "targets.npy", "--temperature", "-1"): "temperature is -1.0",
        ("logits.npy", "targets.npy", "--vocab-size", "12"): "vocab",
        ("logits.npy", "targets.npy", "--threads", "0"): "n is 0",
        ("logits.npy", "targets.npy", "--bins", "0"): "bins is 0",
        ("logits.npy", "targets.npy", "--ignore-index", "none"): "target[10] is -100, outside [0, 11)",
        ("logits.npy", "targets.npy", "--csv", "absent/tokens.csv"): "absent/tokens.csv: No such file or directory",
        ("logits.npy", "targets.npy", "--csv", "."): ".: Is a directory",
    }
    before = sorted(os.listdir())
    for arguments, message in expected.items():
        assert message in fails(crossent(*arguments)), arguments
    assert sorted(os.listdir()) == before


def test_usage_errors(files, capsys):
    for arguments in (["logits.npy"], ["logits.npy", "targets.npy", "--bins", "many"]):
        with pytest.raises(SystemExit) as caught:
            main(["eval", *arguments])
        assert caught.value.code == 2
    assert "usage: crossent eval" in capsys.readouterr().err


def test_help_has_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("exit codes", "130", "--json", "--csv FILE"))


def interrupted_after(monkeypatch, blocks):
    """Ctrl-C is pressed after so many blocks of 50 rows."""
    def read_ahead(given):
        for count, block in enumerate(given):
            if count == blocks:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(_token_statistics, "read_ahead", read_ahead)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 550)


def test_what_is_done_is_printed_when_interrupted(files, tmp_path, monkeypatch, capsys):
    (tmp_path / "tokens.csv").write_text("old")
    before = sorted(os.listdir())
    interrupted_after(monkeypatch, 3)
    assert main(["eval", "logits.npy", "targets.npy", "--json", "--csv", "tokens.csv", "--blocks", "20"]) == 130
    printed = capsys.readouterr()
    assert printed.err == "crossent eval: interrupted after 150 of 500 rows; tokens.csv is not written\n"
    result = evaluate(files[0][:150], files[1][:150], blocks=20)
    assert json.loads(printed.out) == {"rows": 500, "rows_read": 150, **result.as_dict()}
    assert (tmp_path / "tokens.csv").read_text() == "old" and sorted(os.listdir()) == before


def test_nothing_is_printed_when_nothing_is_done(files, monkeypatch, capsys):
    interrupted_after(monkeypatch, 0)
    assert main(["eval", "logits.npy", "targets.npy"]) == 130
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "crossent eval: interrupted after 0 of 500 rows\n")


def test_progress_and_ctrl_c_in_a_terminal(tmp_path):
    """8 GB of zeros in a file with holes: the signal is sent when the first picture is seen, seconds before the end."""
    np.lib.format.open_memmap(tmp_path / "logits.npy", "w+", np.float16, (200_000, 20_000))
    np.save(tmp_path / "targets.npy", np.zeros(200_000, np.int16))
    terminal, stderr = pty.openpty()
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"  # it may be ignored here
    process = subprocess.Popen(
        [sys.executable, "-c", code, "eval", "logits.npy", "targets.npy", "--json"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=stderr)
    os.close(stderr)
    try:
        shown = b""
        while b"left" not in shown:
            shown += os.read(terminal, 1000)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        shown += os.read(terminal, 1000)
    finally:
        process.kill()
        os.close(terminal)
    assert process.returncode == 130
    result = json.loads(out)
    assert 0 < result["tokens"] == result["rows_read"] < 200_000
    assert result["loss"] == pytest.approx(np.log(20_000), rel=1e-6)
    assert b"rows/s" in shown and b"\x1b[Kcrossent eval: interrupted after" in shown


def test_no_progress_where_stderr_is_not_a_terminal(files, monkeypatch, capsys):
    monkeypatch.setattr(_terminal, "INTERVAL", 0)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 550)
    assert main(["eval", "logits.npy", "targets.npy"]) == 0
    assert capsys.readouterr().err == ""


def test_progress_line():
    line = _terminal.progress_line(250_000, 1_000_000, 4000, 2.0)
    assert line == " 25 % [######..................] 125,000 rows/s, 0.50 GB/s, 0:06 left"
    assert _terminal.progress_line(1, 7201, 1, 1.0).endswith("2:00:00 left")


def table_in_a_terminal(code):
    terminal, stdout = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code, "eval", "logits.npy", "targets.npy"], stdout=stdout,
                               env={**os.environ, "COLUMNS": "80", "TERM": "xterm"})
    assert process.wait(timeout=60) == 0
    os.close(stdout)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "perplexity" in shown and "± by token" in shown
    return shown


def test_table_without_rich(files):
    assert "│" not in table_in_a_terminal("import sys; sys.modules['rich'] = None\n" + MAIN)


def test_table_by_rich(files):
    pytest.importorskip("rich", reason="an optional library: the session adapters has it")
    assert "│" in table_in_a_terminal(MAIN)
