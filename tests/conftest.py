"""What every test needs before torch loads: Ctrl-C, one thread, no network, threads that wait without spinning."""

import gc
import os
import signal

# A shell lets what runs in the background ignore Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch
from hypothesis import settings

torch.set_num_threads(1)

# Modules last as long as the process; Python need not look for garbage among all their objects again and again.
gc.set_threshold(10_000)


def pytest_collection_finish() -> None:
    """Leave what is there now out of the search for garbage."""
    gc.freeze()


# No test asserts a time.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
