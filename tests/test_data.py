"""Folders with bad files, crops, batches, and the same batches prefetched."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from sinwave.data.batches import Constant, Prefetched
from sinwave.data.folder import Crops, Folder, FolderBatches
from sinwave.errors import InputError
from sinwave.rng import NoiseSource

SIDE = 16


def write(file, number, height=20, width=24):
    """A picture of one color, its number."""
    Image.new("RGB", (width, height), (number % 256, number // 256, 128)).save(file)


def numbers(batch):
    """The numbers of the pictures in a batch."""
    low, high, _ = ((batch[:, :, 0, 0] + 1) * 127.5).round().long().T
    return (low + 256 * high).tolist()


def fill(folder: Path, good, bad=()):
    """Good pictures here and in a subfolder, and bad files of each kind."""
    (folder / "inner").mkdir(parents=True)
    for number in range(good):
        write(folder / ("inner" if number % 2 else ".") / f"{number:03}.png", number)
    whole = (folder / "000.png").read_bytes()
    content = {"truncated": whole[:-30], "text": b"no picture at all", "empty": b"", "suffix": b"PK\3\4 a zip"}
    for number, kind in enumerate(bad):
        file = folder / "inner" / f"{kind} {number}.{'jpg' if kind == 'suffix' else 'png'}"
        if kind == "small":
            write(file, 0, SIDE - 1)
        else:
            file.write_bytes(content[kind])
    return folder


def test_a_folder_of_500_pictures_names_the_20_bad_ones_and_goes_on(tmp_path):
    kinds = ["truncated", "text", "empty", "small", "suffix"] * 4
    remarks = []
    folder = Folder(fill(tmp_path / "pictures", 480, kinds), min_side=SIDE, on_remark=remarks.append)
    assert len(folder) == 500
    batches = FolderBatches(folder, Crops(SIDE), 25, seed=3)
    seen = set()
    for step in range(20):  # once all files
        batch = batches.at(step)
        assert batch.shape == (25, 3, SIDE, SIDE)
        seen |= set(numbers(batch))
    assert len(remarks) == 20
    for number, kind in enumerate(kinds):
        (remark,) = [remark for remark in remarks if f"{kind} {number}." in remark]
        assert "\n" not in remark and remark.endswith("; it is left out")
    assert seen == set(range(480))
    batches.at(21)
    assert len(remarks) == 20


def test_each_pass_has_each_file_once_and_an_order_of_its_own(tmp_path):
    folder = Folder(fill(tmp_path / "pictures", 12), min_side=SIDE)
    batches = FolderBatches(folder, Crops(20), 4, seed=0)
    passes = []
    for first in (0, 3):
        passes.append(numbers(torch.cat([batches.at(first + step) for step in range(3)])))
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(12))
    assert passes[0] != passes[1]


def test_a_batch_depends_on_seed_and_step_alone(tmp_path):
    path = fill(tmp_path / "pictures", 9, ["text", "empty"])
    first, second, other = (FolderBatches(Folder(path), Crops(SIDE), 4, seed) for seed in (0, 0, 1))
    forward, backward = [first.at(step) for step in range(9)], [second.at(step) for step in reversed(range(9))]
    for here, there in zip(forward, reversed(backward), strict=True):
        assert torch.equal(here, there)
    assert not torch.equal(first.at(2), other.at(2))
    assert not torch.equal(first.at(2), first.at(2 + 11))


def test_a_crop_is_a_part_of_its_picture_perhaps_mirrored():
    noise, mirrored, places = NoiseSource(0).normal((3, 9, 8)), set(), set()
    windows = noise.unfold(1, 6, 1).unfold(2, 6, 1).permute(1, 2, 0, 3, 4)
    for step in range(200):
        crop = Crops(6)(noise, 0, step, 0)
        (place,) = [
            (top, left, flip)
            for top in range(4)
            for left in range(3)
            for flip in (False, True)
            if torch.equal(windows[top, left].flip(2) if flip else windows[top, left], crop)
        ]
        mirrored.add(place[2])
        places.add(place[:2])
        assert torch.equal(crop, Crops(6)(noise, 0, step, 0))
    assert (mirrored, len(places)) == ({False, True}, 12)
    plain = [Crops(6, flips=False)(noise, 0, step, 1) for step in range(50)]
    assert all((windows == crop).all((2, 3, 4)).any() for crop in plain)
    with pytest.raises(InputError, match="8 x 9 pixels: a crop needs 10 a side"):
        Crops(10)(noise, 0, 0, 0)


def test_folders_that_nothing_can_be_learned_from_are_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        Folder(tmp_path / "nowhere")
    (tmp_path / "hidden/.cache").mkdir(parents=True)
    (tmp_path / "hidden/.cache/a.png").write_bytes(b"")
    (tmp_path / "hidden/.DS_Store").write_bytes(b"")
    with pytest.raises(InputError, match="hidden: the folder holds no files"):
        Folder(tmp_path / "hidden")
    (tmp_path / "bad").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "bad" / name).write_text("hello")
    remarks = []
    batches = FolderBatches(Folder(tmp_path / "bad", on_remark=remarks.append), Crops(4), 1, 0)
    for _ in range(2):
        with pytest.raises(InputError, match=r"bad: (none of its 2 files|no file) can be learned from"):
            batches.at(0)
    assert len(remarks) == 1


def test_a_picture_with_holes_is_left_out(tmp_path):
    path, remarks = fill(tmp_path / "pictures", 3), []
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(path / "clear.png")
    half = Image.new("RGBA", (32, 32), (255, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 9, 9))
    half.save(path / "half.png")
    batches = FolderBatches(Folder(path, on_remark=remarks.append), Crops(SIDE), 5, 0)
    assert batches.at(0).shape == (5, 3, SIDE, SIDE)
    assert sorted("half.png: the picture is partly transparent" in remark for remark in remarks) == [False, True]


def test_the_fingerprint_is_that_of_names_and_sizes(tmp_path):
    path = fill(tmp_path / "pictures", 4)
    before = Folder(path).fingerprint
    assert Folder(path).fingerprint == before
    (path / "000.png").rename(path / "other.png")
    after = Folder(path).fingerprint
    (path / "other.png").write_bytes(b"")
    assert len({before, after, Folder(path).fingerprint}) == 3


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_no_text_has_a_fingerprint(tmp_path):
    write(tmp_path / "0.png", 0)
    before = Folder(tmp_path).fingerprint
    (tmp_path / "0.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    assert Folder(tmp_path).fingerprint != before


def test_prefetched_batches_are_the_same_in_any_order(tmp_path):
    path = fill(tmp_path / "pictures", 9, ["text", "truncated"])
    plain, remarks = FolderBatches(Folder(path), Crops(SIDE), 4, 0), []
    with Prefetched(FolderBatches(Folder(path, on_remark=remarks.append), Crops(SIDE), 4, 0), workers=3) as fetched:
        for step in (0, 1, 2, 3, 10, 11, 4, 5, 5):
            assert torch.equal(fetched.at(step), plain.at(step))
    assert len(remarks) == 2


class Slow:
    """Batches that say when they are made, one of which cannot be."""

    def __init__(self, bad=None):
        self.asked, self._bad = [], bad

    def at(self, step):
        self.asked.append(step)
        time.sleep(0.01)
        if step == self._bad:
            raise InputError(f"batch {step} is bad")
        return step


def test_batches_are_made_ahead_and_each_once():
    slow = Slow()
    with Prefetched(slow, workers=2, ahead=3) as fetched:
        assert fetched.at(0) == 0
        while len(slow.asked) < 4:  # nobody has asked for these
            time.sleep(0.001)
        assert [fetched.at(step) for step in range(1, 6)] == [1, 2, 3, 4, 5]
    assert len(slow.asked) == len(set(slow.asked))
    assert max(slow.asked) <= 5 + 3


def test_an_error_is_raised_where_its_batch_is_asked_for():
    with Prefetched(Slow(bad=2), workers=1) as fetched:
        assert [fetched.at(step) for step in (0, 1)] == [0, 1]
        for _ in range(2):
            with pytest.raises(InputError, match="batch 2 is bad"):
                fetched.at(2)
        assert fetched.at(3) == 3


def test_the_threads_end_even_after_an_error():
    before = threading.active_count()
    with pytest.raises(InputError), Prefetched(Slow(bad=0), workers=3) as fetched:
        fetched.at(0)
    assert threading.active_count() == before


def test_bad_numbers_are_refused(tmp_path):
    with pytest.raises(InputError, match="workers is 0 and ahead 4"):
        Prefetched(Constant(1), workers=0)
    with pytest.raises(InputError, match="side is 0"):
        Crops(0)
    with pytest.raises(InputError, match="count is 0"):
        FolderBatches(Folder(fill(tmp_path / "pictures", 1)), Crops(4), 0, 0)
