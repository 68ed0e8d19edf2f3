"""What the parts of the soak share: the command line, and the last line, which says what was done."""

import argparse
import sys


def last_line(executions, findings):
    return f"{executions} executions, {findings} findings"


def main(run, description):
    """`run(seconds, seed)` gives the number of executions and the findings, as texts."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    executions, findings = run(given.seconds, given.seed)
    for finding in findings:
        print(finding)
    print(last_line(executions, len(findings)))
    sys.exit(1 if findings else 0)
