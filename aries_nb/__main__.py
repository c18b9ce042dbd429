"""`python -m aries_nb` is the command line."""

from aries_nb.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
