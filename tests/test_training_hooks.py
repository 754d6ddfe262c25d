"""TensorBoard reads what a training writes, and a training without TensorBoard is none the worse."""

import io
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sinwave.training.hooks import Events
from sinwave.training.loop import Report

warnings = [f"ignore::DeprecationWarning:{module}.*" for module in ("tensorboard", "google")]
pytestmark = [pytest.mark.filterwarnings(warning) for warning in warnings]

TRAINING = SimpleNamespace(finished=False)


def report(step):
    held_out = {"loss": 2.0 * step} if step % 20 == 0 else None
    return Report(step, 100, {"network": math.exp(-step)}, held_out, 0.5, 1.0)


def test_tensorboard_reads_what_was_written(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    for first in (0, 50):  # a training that went on has two files
        events = Events(tmp_path, every=10)
        for step in range(first + 1, first + 51):
            events(TRAINING, report(step))
        events.image("samples", png.getvalue(), first + 50)
        events.close()
    read = accumulator.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "images": 0}).Reload()
    losses = read.Scalars("loss/network")
    assert [event.step for event in losses] == list(range(10, 101, 10))
    means = [sum(math.exp(-step) for step in range(last - 9, last + 1)) / 10 for last in range(10, 101, 10)]
    assert [event.value for event in losses] == pytest.approx(means)
    assert [event.value for event in read.Scalars("rate")] == [0.5] * 10
    assert [(event.step, event.value) for event in read.Scalars("held out/loss")] == [
        (step, 2 * step) for step in range(20, 101, 20)
    ]
    image = read.Images("samples")[-1]
    assert (image.height, image.width, image.step) == (30, 40, 100)
    assert (np.asarray(Image.open(io.BytesIO(image.encoded_image_string))) == pixels).all()


def test_without_tensorboard_nothing_is_written(tmp_path):
    program = f"""
import sys
sys.modules["tensorboard"] = None
from pathlib import Path
from sinwave.training.hooks import Events
from sinwave.training.loop import Report
events = Events(Path({str(tmp_path)!r}))
events(None, Report(10, 100, {{"network": 1.0}}, None, 0.5, 1.0))
events.image("samples", b"", 10)
events.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
    assert not list(tmp_path.iterdir())
