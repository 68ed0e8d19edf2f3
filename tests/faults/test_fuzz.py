"""The fuzzer for some seconds, at the level of this process, and the test that it finds what is planted."""

import fuzz
import fuzz_plants
import pytest
from fuzz_calls import NAMES, public_functions

CALLS = 1500
CALLS_WITH_PLANTS = 200


def described(report):
    return "\n".join(f"{kind} in --seed {report.seed} --call {number}: {text}"
                     for number, kind, text in report.findings[:5])


def test_random_calls_on_guarded_memory():
    report = fuzz.fuzz(fuzz.DEFAULT_SEED, CALLS)
    print(report.summary())
    assert not report.findings, described(report)
    assert report.calls == CALLS
    assert set(report.rows) == public_functions()


def test_every_public_function_is_in_the_table():
    assert set(NAMES) == public_functions()


@pytest.mark.parametrize("plant", fuzz_plants.FINDINGS)
def test_planted_fault_is_found(plant):
    report = fuzz.fuzz(fuzz.DEFAULT_SEED, CALLS_WITH_PLANTS, plant=plant)
    print(report.summary())
    assert report.findings
    assert {kind for _, kind, _ in report.findings} <= fuzz_plants.FINDINGS[plant], described(report)
    assert report.calls == CALLS_WITH_PLANTS
    number, kind, _ = report.findings[0]
    alone = fuzz.watch(fuzz.DEFAULT_SEED, number, number + 1, 1, plant)
    assert [(n, k) for n, k, _ in alone.findings] == [(number, kind)]


def test_exit_status(capsys):
    assert fuzz.main(["--calls", "52", "--jobs", "2"]) == 0
    assert "52 calls" in capsys.readouterr().out.splitlines()[-1]
    assert fuzz.main(["--calls", "100", "--plant", "value"]) == 1
    assert "value in --seed" in capsys.readouterr().out
