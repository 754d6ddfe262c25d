"""What every test needs before torch loads: one thread, no network, and threads that wait without spinning."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import torch

torch.set_num_threads(1)
