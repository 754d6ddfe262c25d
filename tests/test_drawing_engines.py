"""Every engine: the same seed draws the same bits, `build` changes nothing, and a network without a part is said."""

from pathlib import Path

import pytest
import torch
from drawing import small_singan, small_wavelet, write_small
from torch import Tensor

import sinwave
from sinwave.cli import main
from sinwave.errors import InputError
from sinwave.images import write
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing
from sinwave.threads import threads

CPU = Computing(torch.device("cpu"), torch.float32)


def landscape(height: int = 26, width: int = 28) -> Tensor:
    """(1, 3, h, w)."""
    down, right = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    colors = torch.stack([torch.sin(9 * right + down), down * right, torch.cos(7 * down) + 0 * right])
    return (0.7 * colors + 0.05 * NoiseSource(1).normal((3, height, width))).clamp(-1, 1)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("engines")
    write(place / "land.png", landscape()[0], overwrite=False)
    for name, make in (("wavelet", small_wavelet), ("singan", small_singan)):
        write_small(place / f"{name}.safetensors", make(landscape()))
    mask = torch.full((3, 26, 28), -1.0)
    mask[:, 8:14, 9:15] = 1
    write(place / "mask.png", mask, overwrite=False)
    return place


ENGINES = [
    ("land.png", "closed-form"),
    ("wavelet.safetensors", "network"),
    ("wavelet.safetensors", "hybrid"),
    ("singan.safetensors", "network"),
]


@pytest.mark.parametrize(("source", "engine"), ENGINES)
def test_no_bit_depends_on_threads_or_on_how_many_are_drawn(source: str, engine: str, folder: Path) -> None:
    pictures = []
    for count in (1, 2, 4):
        with threads(count):
            photo = sinwave.open(folder / source, engine=engine, seed=3)
            pictures += [photo.generate(n, variation=1.0)[0].pixels for n in (1, 2)]
    assert pictures[0].std() > 0.05
    for picture in pictures[1:]:
        assert torch.equal(picture, pictures[0])


def test_no_bit_of_what_is_enlarged_depends_on_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinwave.systems.zero_shot.enlarger._STEPS", 20)
    for model in ("small", "zero-shot", "patches"):
        pictures = []
        for count in (1, 2):
            with threads(count):
                pictures += [sinwave.open(folder / "land.png", seed=3).upscale(1.5, model=model).pixels]
        assert torch.equal(*pictures), model


@pytest.mark.parametrize("make", [small_wavelet, small_singan])
def test_to_build_changes_nothing(make) -> None:
    trained = make(landscape())
    module = trained.network if hasattr(trained, "network") else trained.generators
    before = {name: value.clone() for name, value in module.state_dict().items()}

    def drawn(**computing: torch.dtype) -> Tensor:
        with torch.inference_mode():
            return trained.build("network", CPU._replace(**computing)).generate((26, 28), NoiseSource(0))

    first = drawn(convolutions=torch.float32)
    low = drawn(convolutions=torch.bfloat16)
    assert not torch.equal(first, low.float())
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(drawn(convolutions=torch.float32), first)


@pytest.mark.parametrize("model", ["wavelet.safetensors", "singan.safetensors"])
def test_a_network_without_a_part_in_the_result_is_said(
    model: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, mask, land = (str(folder / name) for name in (model, "mask.png", "land.png"))
    hidden = f"{source}: its network has seen what is to be left out, so the closed form draws, without it"
    mixed = f"{source}: not all sources have a network, so the closed form draws, without it"
    for command, note in (
        (["inpaint", source, mask], hidden),
        (["extend", source, "--left", "4", "--avoid", mask], hidden),
        (["blend", source, land], mixed),
        (["blend", land, source], mixed),
    ):
        assert main([*command, "-o", str(tmp_path / "out"), "--overwrite"]) == 0
        assert capsys.readouterr().err == f"sinwave: {note}\n"
    photo = sinwave.open(source)
    assert photo.inpaint(mask).notes == (hidden,)
    assert photo.extend(left=4, avoid=mask).notes == (hidden,)
    assert photo.blend(land).notes == (mixed,)
    assert photo.extend(left=4).notes == ()
    chosen = sinwave.open(source, engine="network")
    for use in (lambda: chosen.inpaint(mask), lambda: chosen.extend(left=4, avoid=mask)):
        with pytest.raises(InputError, match="a trained network has seen all of its picture"):
            use()
    for line in (["inpaint", source, mask], ["blend", source, land]):
        assert main([*line, "--engine", "network", "-o", str(tmp_path / "refused")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(InputError, match="the engine network needs a model file of every source"):
        chosen.blend(land)
