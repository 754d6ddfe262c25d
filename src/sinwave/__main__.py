"""`python -m sinwave` is the installed command `sinwave`."""

import gc
import sys
import warnings

from sinwave.cli.main import main


def command() -> int:
    """Run the command of this process and return its exit code."""
    # Loading torch makes 160,000 objects that last as long as the process, and Python looks for garbage among all of
    # them again and again, and once more at exit: half a second and more.
    gc.set_threshold(10_000)
    if not sys.warnoptions:  # as by python -W: what libraries say to developers, such as of odd tags in a TIFF
        warnings.simplefilter("ignore")
    code = main()
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(command())
