"""Several at once give what one after the other gives, and a failure ends them all."""

import time

import pytest
import torch

from sinwave.errors import Stop
from sinwave.systems.contracts import Progress
from sinwave.tasks.base.machine import Tally, in_parallel
from sinwave.threads import threads


def step_of(step: int, steps: int, part: int = 0, parts: int = 1) -> Progress:
    return Progress(part, parts, step, steps, lambda: torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    def work(item):
        time.sleep(0.02 * (3 - item % 3))
        return item, torch.get_num_threads()

    before = torch.get_num_threads()
    results = list(in_parallel(work, range(7), workers, lambda: None))
    assert [item for item, _ in results] == list(range(7))
    assert workers == 1 or {threads for _, threads in results} == {1}
    assert torch.get_num_threads() == before


def test_a_failure_stops_the_others():
    reports = []
    tally = Tally(lambda label, done, total: reports.append((label, done)), 2, 10)

    def work(item):
        report = tally.reporter([item])
        if item == 0:
            time.sleep(0.05)
            raise KeyboardInterrupt
        for step in range(1, 1001):
            report(step_of(step, 1000))
            time.sleep(0.01)

    with threads(2), pytest.raises(KeyboardInterrupt):
        list(in_parallel(work, range(4), 2, tally.stop))
    pictures = {label.partition(" of ")[0] for label, _ in reports}
    assert pictures <= {"picture 2", "picture 3"}  # the second may have begun, the third has not
    assert max(done for _, done in reports) < 2 + 0.999  # and none has come to its end


def test_what_a_callback_raises_ends_all_at_once_and_is_what_is_raised():
    """Also where it is raised by a result that is not the first in order."""
    calls = []

    def stop_at_picture_2(label, done, total):
        calls.append(label)
        if label.startswith("picture 2"):
            raise Stop

    tally = Tally(stop_at_picture_2, 0, 4)

    def work(item):
        report = tally.reporter([item])
        for step in range(1, 1001):
            time.sleep(0.01)
            report(step_of(step, 1000))

    with threads(2), pytest.raises(Stop):
        list(in_parallel(work, range(4), 2, tally.stop))
    assert len([label for label in calls if label.startswith("picture 2")]) == 1
    assert len(calls) < 20


def test_progress_is_the_sum_of_the_parts_and_says_where_it_is():
    reports = []
    tally = Tally(lambda label, done, total: reports.append((label, done, total)), 2, 10, before="land: ")
    second, third = tally.reporter([1]), tally.reporter([2])
    for report, progress in (
        (second, step_of(1, 2, 0, 2)),
        (third, step_of(1, 4)),
        (second, step_of(2, 2, 0, 2)),
        (third, step_of(3, 4)),
    ):
        report(progress)
    assert [done for _, done, _ in reports] == [2.25, 2.5, 2.75, 3.25]
    assert reports[0][0] == "land: picture 2 of 10, scale 1 of 2, step 1 of 2"
    assert reports[1][0] == "land: picture 3 of 10, step 1 of 4"
    assert {total for _, _, total in reports} == {10}


def test_the_first_picture_says_how_long_the_steps_of_the_others_take(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sinwave.tasks.base.machine.time.perf_counter", lambda: clock[0])
    shares = []
    tally = Tally(lambda label, done, total: shares.append(done), 0, 2)
    for number in (0, 1):
        report = tally.reporter([number])
        for step, seconds in ((1, 8.0), (2, 1.0), (3, 1.0)):
            clock[0] += seconds
            report(step_of(step, 3))
    assert shares[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert shares[3:] == pytest.approx([1.8, 1.9, 2.0])


def test_a_batch_counts_each_of_its_pictures_and_shows_their_estimates():
    shares, estimates = [], []
    tally = Tally(
        lambda label, done, total: shares.append((label, done)), 0, 4, lambda n, image: estimates.append((n, image))
    )
    batch = torch.arange(2.0)[:, None, None, None].expand(2, 3, 4, 5)
    tally.reporter([2, 3])(Progress(0, 1, 1, 2, lambda: batch))
    assert shares == [("pictures 3 to 4 of 4, step 1 of 2", 1.0)]
    assert [(number, picture.shape, picture.mean().item()) for number, picture in estimates] == [
        (2, (3, 4, 5), 0.0),
        (3, (3, 4, 5), 1.0),
    ]
