"""Runs the commands of crossent.evaluation in a process of their own."""

from support import run_python

MAIN = "import sys; from crossent.__main__ import main; sys.exit(main(sys.argv[1:]))"


def run(command, *arguments, code=MAIN):
    """The finished process of `crossent COMMAND` and these arguments."""
    return run_python(code, command, *arguments, check=False)


def fails(command, done):
    """The one line on stderr of a command that could not do it."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    start = f"crossent {command}: "
    assert done.stderr.startswith(start) and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix(start).rstrip("\n")
