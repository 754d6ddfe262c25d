"""`python -m sinwave` is the installed command `sinwave`."""

import sys

from sinwave.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
