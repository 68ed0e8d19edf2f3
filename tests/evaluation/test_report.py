"""`--report`: a page that is whole, needs nothing else, and shows the numbers that it should."""

import os

import commands
import numpy as np
import pytest
from pages import line, parsed

import crossent as xe
from crossent.__main__ import main
from crossent.evaluation import _token_statistics, calibrate, compare, evaluate

pytest.importorskip("matplotlib", reason="an optional library: the session adapters has it")


def save(logits, target):
    np.save("logits.npy", np.asarray(logits))
    np.save("targets.npy", np.asarray(target))


def report(*options, command="eval"):
    assert main([command, "logits.npy", "targets.npy", "--report", "out.html", *options]) == 0
    return parsed()


def test_what_is_on_the_page(files, monkeypatch):
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 550)  # several blocks
    page = report("--blocks", "64", "--temperature", "1.5")
    result = evaluate(*files, blocks=64, temperature=1.5)
    assert page.titles == ["Evaluation of logits.npy", "Figures", "Histogram of the loss", "Loss by position",
                           "Reliability", "Bins of the confidence", "Worst tokens"]
    assert line(page, "Loss (nats)") == [f"{result.loss:.6g}", f"{result.standard_errors['loss']:.2g}",
                                         f"{result.block_standard_errors['loss']:.2g}"]
    assert line(page, "Rows that count")[0] == "490"
    assert f"Mean: {result.loss:.4g} nats." in page.texts


def test_worst_tokens(files, monkeypatch):
    logits, target = files
    logits[[7, 3]] = logits[99]  # of equal losses the first is the worse
    target[[7, 3, 99]] = logits[99].argmin()
    save(logits, target)
    found = xe.row_statistics(logits, target)
    order = np.argsort(np.where(found.rank >= 0, found.log_prob, np.inf), kind="stable")[:20]
    wanted = [[str(i), str(target[i]), f"{-found.log_prob[i]:.4f}", f"{np.exp(float(found.log_prob[i])):.3g}",
               str(found.rank[i] + 1), str(found.argmax[i]), f"{np.exp(float(found.max_log_prob[i])):.4f}"]
              for i in order]
    for size in (1, 550, 10_000):
        monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", size)
        assert report().lines[-20:] == wanted


def test_rows_of_the_bins(files):
    logits, target = files
    page = report("--bins", "4")
    counted = target != -100
    confidence = xe.softmax(logits[counted].astype(np.float64)).max(axis=1)
    correct = logits[counted].argmax(axis=1) == target[counted]
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (confidence > low) & (confidence <= low + 0.25)
        mean, accuracy = confidence[inside].mean(), correct[inside].mean()
        assert line(page, f"{mean:.4f}") == [f"{accuracy:.4f}", f"{accuracy - mean:+.4f}", str(inside.sum())]


def test_without_windows(files):
    np.save("documents.npy", np.arange(500) // 33)
    for options in ([], ["--blocks", "documents.npy"]):
        assert "Loss by position" not in report(*options).titles
    assert line(report(), "Accuracy")[1:] != [""]  # no column for what is not there


@pytest.mark.parametrize("rows", [1, 2, 63])
def test_few_rows(rng, files, rows):
    save(rng.normal(size=(rows, 5)), rng.integers(0, 5, rows))
    assert "Loss by position" in report("--blocks", "64").titles
    report("--blocks", "1")


def test_infinite_losses(files):
    logits, target = np.zeros((4, 3)), np.array([0, 0, 0, 1])
    logits[:3, 0] = -np.inf
    save(logits, target)
    page = report("--blocks", "2")
    assert "Not shown: 3 rows of infinite loss. Mean of the others: 1.099 nats." in page.texts
    assert any(text.endswith("Without 3 rows where it is infinite.") for text in page.texts)
    save(logits[:3], target[:3])
    page = report("--blocks", "2")
    assert "Every loss is infinite." in page.texts and "Loss is infinite in every row." in page.texts


def test_rows_with_a_nan(files):
    logits, target = files
    logits[30, 4] = np.nan
    save(logits, target)
    page = report("--skip-nan", "--blocks", "50")
    assert line(page, "Rows with a NaN")[0] == "1"
    assert "30" not in [cells[0] for cells in page.lines]


@pytest.mark.parametrize("name", ["<b>&amp;\"'.npy", "a $x_1$ \\ {}.npy", os.fsdecode(b"\xff\xfe.npy")], ids=repr)
def test_names_of_files(files, name):
    os.rename("logits.npy", name)
    assert main(["eval", name, "targets.npy", "--report", "out.html"]) == 0
    assert main(["calibrate", name, "targets.npy", "--report", "calibrated.html"]) == 0
    shown = name.encode("utf-8", "replace").decode()
    assert parsed().titles[0] == f"Evaluation of {shown}"
    assert parsed("calibrated.html").titles[0] == f"Calibration of {shown}"


def test_calibration(files):
    page = report("--holdout", "--blocks", "50", command="calibrate")
    result = calibrate(*files, holdout=True, blocks=50)
    assert line(page, "Temperature") == ["1", "", f"{result.temperature:.6g}", ""]
    assert line(page, "Loss (nats)")[2] == f"{result.after.loss:.6g}"
    assert page.titles[1:] == ["Figures", "Reliability", "Bins of the confidence: before",
                               f"Bins of the confidence: after, at {result.temperature:.4g}"]
    assert any("rows that the temperature was not fitted to" in text for text in page.texts)


def compared(rng, logits, *options):
    """The page of the logits and of others, and the others."""
    other = logits + rng.normal(0, 0.3, logits.shape).astype(np.float32)
    np.save("<other>.npy", other)
    assert main(["compare", "logits.npy", "<other>.npy", "--report", "out.html", *options]) == 0
    return parsed(), other


def test_comparison(rng, files):
    logits, target = files
    page, other = compared(rng, logits, "--targets", "targets.npy", "--blocks", "50", "--worst", "3")
    result = compare(logits, other, target, blocks=50, worst=3)
    assert page.titles == ["<other>.npy compared with logits.npy", "Figures", "Quantiles",
                           "Histogram of the KL divergence", "KL divergence by position",
                           "KL divergence by confidence", "Reliability", "Bins of the confidence: base",
                           "Bins of the confidence: other", "Worst tokens"]
    assert line(page, "Rows that count")[0] == "490"
    assert line(page, "Base perplexity")[0] == f"{result.base_perplexity:,.6g}"
    assert line(page, "Median")[0] == f"{result.kl_quantiles['median']:.6g}"
    assert line(page, f"Row {result.worst[0].position}")[0] == f"{result.worst[0].kl:.6g}"
    rows = ", ".join(str(bucket.tokens) for bucket in result.kl_by_confidence)
    assert any(f"Rows of each bar: {rows}." in text for text in page.texts)


def test_comparison_without_targets(rng, files):
    page, _ = compared(rng, files[0], "--worst", "0")
    assert page.titles[1:] == ["Figures", "Quantiles", "Histogram of the KL divergence", "KL divergence by confidence"]


def test_comparison_of_equal_models(files):
    assert main(["compare", "logits.npy", "logits.npy", "--report", "out.html"]) == 0
    assert "No row has a KL divergence that is finite and not 0." in parsed().texts


def test_comparison_of_infinite_divergences(files):
    logits = np.zeros((4, 3), np.float32)
    np.save("logits.npy", logits)
    logits[:, 1] = -np.inf
    np.save("other.npy", logits)
    assert main(["compare", "logits.npy", "other.npy", "--report", "out.html", "--blocks", "2"]) == 0
    page = parsed()
    assert "KL divergence is infinite in every row." in page.texts and "It is infinite in each." in page.texts


def test_report_or_llama(files):
    done = commands.run("compare", "logits.npy", "logits.npy", "--llama", "--report", "out.html")
    assert commands.fails("compare", done) == "--report shows what --llama leaves out: expected one of them"


def test_same_page_again(files):
    report("--blocks", "64")
    with open("out.html") as file:
        first = file.read()
    report("--blocks", "64")
    with open("out.html") as file:
        assert file.read() == first


@pytest.mark.parametrize("command", ["eval", "calibrate"])
@pytest.mark.parametrize("bytes_left", [0, 8000])
def test_full_disk_leaves_the_old_report(files, tmp_path, command, bytes_left):
    (tmp_path / "out.html").write_text("old")
    before = sorted(os.listdir())
    code = f"""import resource, matplotlib.font_manager  # which may write a list of fonts
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_left}, {bytes_left}))
{commands.MAIN}"""
    done = commands.run(command, "logits.npy", "targets.npy", "--report", "out.html", code=code)
    assert commands.fails(command, done) == "out.html: File too large"
    assert (tmp_path / "out.html").read_text() == "old" and sorted(os.listdir()) == before


@pytest.mark.parametrize("command", ["eval", "calibrate"])
def test_what_cannot_be_written(files, command):
    for path, message in (("/dev/full", "/dev/full: No space left on device"), (".", ".: Is a directory"),
                          ("absent/out.html", "absent/out.html: No such file or directory")):
        done = commands.run(command, "logits.npy", "targets.npy", "--report", path)
        assert commands.fails(command, done) == message


@pytest.mark.parametrize("command", ["eval", "calibrate"])
def test_without_matplotlib(files, command):
    """Said before anything is read."""
    code = "import sys; sys.modules['matplotlib'] = None\n" + commands.MAIN
    done = commands.run(command, "absent.npy", "targets.npy", "--report", "out.html", code=code)
    assert commands.fails(command, done) == "--report needs matplotlib: pip install 'crossent[evaluation]'"
    assert not os.path.exists("out.html")


def test_interrupted(files, tmp_path, monkeypatch, capsys):
    (tmp_path / "out.html").write_text("old")
    (tmp_path / "tokens.csv").write_text("old")
    before = sorted(os.listdir())

    def read_ahead(given):
        yield next(given)
        raise KeyboardInterrupt

    monkeypatch.setattr(_token_statistics, "read_ahead", read_ahead)
    monkeypatch.setattr(_token_statistics, "ELEMENTS_AT_A_TIME", 550)
    assert main(["eval", "logits.npy", "targets.npy", "--csv", "tokens.csv", "--report", "out.html"]) == 130
    message = "interrupted after 50 of 500 rows; tokens.csv is not written; out.html is not written"
    assert capsys.readouterr().err == f"crossent eval: {message}\n"
    assert (tmp_path / "out.html").read_text() == "old" and sorted(os.listdir()) == before
