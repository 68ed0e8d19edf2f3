"""`python -m crossent`: the same as the `crossent` command."""

from ._cli import main

if __name__ == "__main__":
    raise SystemExit(main())
