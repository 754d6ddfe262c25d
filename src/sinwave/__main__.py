"""`python -m sinwave` is the installed command `sinwave`."""

import sys

from sinwave.cli import command

if __name__ == "__main__":
    sys.exit(command())
