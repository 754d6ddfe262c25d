"""Several at once give what one after the other gives, and a failure ends them all."""

import time

import pytest
import torch

from sinwave.tasks.parallel import Tally, in_parallel


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers):
    def work(item):
        time.sleep(0.02 * (3 - item % 3))
        return item, torch.get_num_threads()

    before = torch.get_num_threads()
    found = list(in_parallel(work, range(7), workers, lambda: None))
    assert [item for item, _ in found] == list(range(7))
    assert workers == 1 or {threads for _, threads in found} == {1}
    assert torch.get_num_threads() == before


def test_a_failure_stops_the_others():
    told = []
    tally = Tally(lambda label, done, total: told.append((label, done, total)), 2, 10)

    def work(item):
        if item == 0:
            time.sleep(0.05)
            raise KeyboardInterrupt
        for step in range(1000):
            tally.tell(item, f"item {item}", step / 1000)
            time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        list(in_parallel(work, range(4), 2, tally.stop))
    assert {label for label, _, _ in told} <= {"item 1", "item 2"}  # the second may have begun, the third has not
    assert max(done for _, done, _ in told) < 2 + 0.999  # and none has come to its end


def test_progress_is_the_sum_of_the_parts():
    told = []
    tally = Tally(lambda label, done, total: told.append(done), 2, 10)
    for part, done in ((1, 0.5), (2, 0.25), (1, 1.0), (2, 1.0), (3, 0.5)):
        tally.tell(part, "", done)
    assert told == [2.5, 2.75, 3.25, 4.0, 4.5]
