"""TensorBoard reads what was written."""

import math

import pytest

from sinwave.training.events import EventFile, crc32c

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:tensorboard.*", "ignore::DeprecationWarning:google.*"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
)
def test_the_checksum_is_that_of_the_standard(data, expected):
    assert crc32c(data) == expected


def test_tensorboard_reads_what_was_written(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    png = b"\x89PNG some bytes" * 20
    for first in (0, 300):  # a training that went on has two files
        events = EventFile(tmp_path)
        for step in range(first, first + 300, 100):
            events.scalar("loss/scale 1", math.exp(-step / 100), step)
        events.image("samples", png, 30, 40, first + 299)
        events.close()
    read = accumulator.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "images": 0}).Reload()
    found = read.Scalars("loss/scale 1")
    assert [each.step for each in found] == [0, 100, 200, 300, 400, 500]
    assert [each.value for each in found] == pytest.approx([math.exp(-step / 100) for step in range(0, 600, 100)])
    image = read.Images("samples")[-1]
    assert (image.encoded_image_string, image.height, image.width, image.step) == (png, 30, 40, 599)
