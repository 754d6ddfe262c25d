import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from sinwave.errors import InputError
from sinwave.rng import NoiseBatch, NoiseSource, fold

keys = st.lists(st.integers() | st.text(max_size=5), max_size=4)


def test_fold_is_the_documented_hash():
    # The first 63 bits of BLAKE2b-64 over the JSON text, computed with coreutils: b2sum -l 64.
    assert fold(0) == 0xAC00623085BF099C >> 1
    assert fold(7, "picture", 17) == 0xFD293CA4919C5A9C >> 1


@given(keys, keys)
def test_fold_tells_paths_apart(first, second):
    assert 0 <= fold(3, *first) < 2**63
    assert (fold(3, *first) == fold(3, *second)) == (first == second)


def test_fold_takes_any_integer_and_nothing_else():
    assert fold(np.int64(3), np.uint8(4)) == fold(3, 4) != fold(3, "4")
    with pytest.raises(TypeError, match="float"):
        fold(3, 4.0)


def test_draws_do_not_depend_on_their_order():
    noise = NoiseSource(5)
    first, second = noise.normal((3, 4), "a", 1), noise.normal((3, 4), "a", 2)
    assert torch.equal(NoiseSource(5).normal((3, 4), "a", 2), second)
    assert torch.equal(noise.normal((3, 4), "a", 1), first)
    assert not torch.equal(first, second)


def test_a_child_is_a_longer_key():
    assert torch.equal(NoiseSource(5).child("a", 1).normal((6,), 2), NoiseSource(5).normal((6,), "a", 1, 2))


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    NoiseSource(1).normal((10,))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_picture_is_the_same_alone_and_in_any_batch():
    noise = NoiseSource(9)
    batch = noise.batch(range(15, 19)).child("fine").normal((4, 3, 5, 7), "step", 2)
    alone = noise.batch([17]).child("fine").normal((1, 3, 5, 7), "step", 2)
    assert torch.equal(batch[2:3], alone)
    assert torch.equal(alone[0], noise.child(17, "fine").normal((3, 5, 7), "step", 2))


def test_a_batch_needs_one_source_a_picture():
    with pytest.raises(InputError, match="the batch has 2 pictures and 3"):
        NoiseBatch(tuple(NoiseSource(i) for i in range(3))).normal((2, 1, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_dtype_sees_the_same_numbers(dtype):
    noise = NoiseSource(2)
    like = torch.empty(0, dtype=dtype)
    assert torch.equal(noise.normal((4, 4), like=like), noise.normal((4, 4)).to(dtype))
    assert torch.equal(noise.batch([1, 2]).normal((2, 4), like=like), noise.batch([1, 2]).normal((2, 4)).to(dtype))


def test_draws_of_neighboring_keys_are_independent_and_normal():
    draws = torch.stack([NoiseSource(0).normal((500,), "step", i) for i in range(20)]).double()
    assert kstest(draws.flatten().numpy(), "norm").pvalue > 0.001
    off_diagonal = torch.corrcoef(draws) - torch.eye(20, dtype=torch.float64)
    assert off_diagonal.abs().max() < 5 / 500**0.5


def test_another_process_draws_the_same_numbers():
    program = "from sinwave.rng import NoiseSource; print(NoiseSource(4).normal((3,), 'a').tolist())"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(NoiseSource(4).normal((3,), "a").tolist())
