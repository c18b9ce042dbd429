"""Entry point of `python -m aries_nb`: runs the command line of `aries_nb.cli` and exits with its status."""

from aries_nb.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
