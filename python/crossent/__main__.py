"""`python -m crossent`: the same as the `crossent` command."""

from ._cli import main

raise SystemExit(main())
