"""Files of weights: the published names and shapes load, and nothing else does."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sinwave.errors import InputError, MissingError
from sinwave.pretrained.efficientnet import EfficientNetLite0
from sinwave.pretrained.files import cache_folder, find, load_module, places
from sinwave.pretrained.inception import Inception
from sinwave.pretrained.perceptual import Lpips, StLpips, alexnet, vgg16
from sinwave.pretrained.published import (
    ALEXNET,
    EFFICIENTNET_LITE0,
    INCEPTION,
    INCEPTION_TORCHVISION,
    LPIPS_ALEX,
    LPIPS_VGG,
    PUBLISHED,
    ST_LPIPS_ALEX,
    ST_LPIPS_VGG,
    VGG16,
)

Shapes = dict[str, tuple[int, ...]]

# kernel, widening, channels of each block
LITE0_BLOCKS = [(3, 1, 16)] + [(3, 6, 24)] * 2 + [(5, 6, 40)] * 2 + [(3, 6, 80)] * 3
LITE0_BLOCKS += [(5, 6, 112)] * 3 + [(5, 6, 192)] * 4 + [(3, 6, 320)]
ST_ALEX_TABLE = """
slice1.0 64 3 11 11
slice1.1.filt 64 1 3 3
slice2.4.filt 64 1 3 3
slice2.5 192 64 5 5
slice3.8.filt 192 1 3 3
slice3.9 384 192 3 3
slice4.11 256 384 3 3
slice5.13 256 256 3 3
"""
ST_VGG_TABLE = """
slice1.0 64 3 3 3
slice1.2 64 64 3 3
slice2.5.filt 64 1 3 3
slice2.6 128 64 3 3
slice2.8 128 128 3 3
slice3.11.filt 128 1 3 3
slice3.12 256 128 3 3
slice3.14 256 256 3 3
slice3.16 256 256 3 3
slice4.19.filt 256 1 3 3
slice4.20 512 256 3 3
slice4.22 512 512 3 3
slice4.24 512 512 3 3
slice5.27.filt 512 1 3 3
slice5.28 512 512 3 3
slice5.30 512 512 3 3
slice5.32 512 512 3 3
"""

ALEXNET_TABLE = """
features.0 64 3 11 11
features.3 192 64 5 5
features.6 384 192 3 3
features.8 256 384 3 3
features.10 256 256 3 3
classifier.1 4096 9216
classifier.4 4096 4096
classifier.6 1000 4096
"""
VGG16_TABLE = """
features.0 64 3 3 3
features.2 64 64 3 3
features.5 128 64 3 3
features.7 128 128 3 3
features.10 256 128 3 3
features.12 256 256 3 3
features.14 256 256 3 3
features.17 512 256 3 3
features.19 512 512 3 3
features.21 512 512 3 3
features.24 512 512 3 3
features.26 512 512 3 3
features.28 512 512 3 3
classifier.0 4096 25088
classifier.3 4096 4096
classifier.6 1000 4096
"""
INCEPTION_STEM = """
Conv2d_1a_3x3 32 3 3 3
Conv2d_2a_3x3 32 32 3 3
Conv2d_2b_3x3 64 32 3 3
Conv2d_3b_1x1 80 64 1 1
Conv2d_4a_3x3 192 80 3 3
"""
INCEPTION_FINE = """
{name}.branch1x1 64 {before} 1 1
{name}.branch5x5_1 48 {before} 1 1
{name}.branch5x5_2 64 48 5 5
{name}.branch3x3dbl_1 64 {before} 1 1
{name}.branch3x3dbl_2 96 64 3 3
{name}.branch3x3dbl_3 96 96 3 3
{name}.branch_pool {pooled} {before} 1 1
"""
INCEPTION_HALVING = """
Mixed_6a.branch3x3 384 288 3 3
Mixed_6a.branch3x3dbl_1 64 288 1 1
Mixed_6a.branch3x3dbl_2 96 64 3 3
Mixed_6a.branch3x3dbl_3 96 96 3 3
Mixed_7a.branch3x3_1 192 768 1 1
Mixed_7a.branch3x3_2 320 192 3 3
Mixed_7a.branch7x7x3_1 192 768 1 1
Mixed_7a.branch7x7x3_2 192 192 1 7
Mixed_7a.branch7x7x3_3 192 192 7 1
Mixed_7a.branch7x7x3_4 192 192 3 3
"""
INCEPTION_LONG = """
{name}.branch1x1 192 768 1 1
{name}.branch7x7_1 {inner} 768 1 1
{name}.branch7x7_2 {inner} {inner} 1 7
{name}.branch7x7_3 192 {inner} 7 1
{name}.branch7x7dbl_1 {inner} 768 1 1
{name}.branch7x7dbl_2 {inner} {inner} 7 1
{name}.branch7x7dbl_3 {inner} {inner} 1 7
{name}.branch7x7dbl_4 {inner} {inner} 7 1
{name}.branch7x7dbl_5 192 {inner} 1 7
{name}.branch_pool 192 768 1 1
"""
INCEPTION_WIDE = """
{name}.branch1x1 320 {before} 1 1
{name}.branch3x3_1 384 {before} 1 1
{name}.branch3x3_2a 384 384 1 3
{name}.branch3x3_2b 384 384 3 1
{name}.branch3x3dbl_1 448 {before} 1 1
{name}.branch3x3dbl_2 384 448 3 3
{name}.branch3x3dbl_3a 384 384 1 3
{name}.branch3x3dbl_3b 384 384 3 1
{name}.branch_pool 192 {before} 1 1
"""


def rows(table: str, **values: object) -> Shapes:
    lines = (line.split() for line in table.format(**values).split("\n") if line)
    return {name: tuple(map(int, sizes)) for name, *sizes in lines}


def with_biases(table: str) -> Shapes:
    parts = (with_bias(name, shape) for name, shape in rows(table).items())
    return {name: shape for part in parts for name, shape in part.items()}


def inception(classes: int) -> Shapes:
    convolutions = rows(INCEPTION_STEM)
    for name, before, pooled in (("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)):
        convolutions |= rows(INCEPTION_FINE, name=name, before=before, pooled=pooled)
    for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        convolutions |= rows(INCEPTION_LONG, name=name, inner=inner)
    convolutions |= rows(INCEPTION_HALVING)
    for name, before in (("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        convolutions |= rows(INCEPTION_WIDE, name=name, before=before)
    return with_norms(convolutions) | {"fc.weight": (classes, 2048), "fc.bias": (classes,)}


def with_norms(convolutions: Shapes) -> Shapes:
    shapes: Shapes = {}
    for name, shape in convolutions.items():
        shapes[f"{name}.conv.weight"] = shape
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = shape[:1]
    return shapes


def heads(*channels: int) -> Shapes:
    return {f"lin{index}.model.1.weight": (1, c, 1, 1) for index, c in enumerate(channels)}


def shift_tolerant(table: str) -> Shapes:
    """Trunk, blurs, heads and constants by the names in the file, whose layers are counted through all slices."""
    shapes: Shapes = {"scaling_layer.shift": (1, 3, 1, 1), "scaling_layer.scale": (1, 3, 1, 1)}
    for name, shape in rows(table).items():
        shapes |= {f"net.{name}": shape} if name.endswith("filt") else with_bias(f"net.{name}", shape)
    return shapes


def with_bias(name: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def efficientnet() -> Shapes:
    convolutions: Shapes = {"_conv_stem": (32, 3, 3, 3)}
    norms = {"_bn0": 32}
    before = 32
    for index, (kernel, widening, after) in enumerate(LITE0_BLOCKS):
        name, width = f"_blocks.{index}", before * widening
        if widening > 1:
            convolutions[f"{name}._expand_conv"] = (width, before, 1, 1)
            norms[f"{name}._bn0"] = width
        convolutions |= {
            f"{name}._depthwise_conv": (width, 1, kernel, kernel),
            f"{name}._project_conv": (after, width, 1, 1),
        }
        norms |= {f"{name}._bn1": width, f"{name}._bn2": after}
        before = after
    convolutions["_conv_head"], norms["_bn1"] = (1280, 320, 1, 1), 1280
    shapes = {f"{name}.weight": shape for name, shape in convolutions.items()} | with_bias("_fc", (1000, 1280))
    parts = ("weight", "bias", "running_mean", "running_var")
    return shapes | {f"{name}.{part}": (width,) for name, width in norms.items() for part in parts}


AUXILIARY = with_norms({"AuxLogits.conv0": (128, 768, 1, 1), "AuxLogits.conv1": (768, 128, 5, 5)})
AUXILIARY |= {"AuxLogits.fc.weight": (1000, 768), "AuxLogits.fc.bias": (1000,)}
TABLES = {
    ALEXNET: with_biases(ALEXNET_TABLE),
    VGG16: with_biases(VGG16_TABLE),
    LPIPS_ALEX: heads(64, 192, 384, 256, 256),
    LPIPS_VGG: heads(64, 128, 256, 512, 512),
    INCEPTION: inception(1008),
    INCEPTION_TORCHVISION: inception(1000) | AUXILIARY,
    ST_LPIPS_ALEX: shift_tolerant(ST_ALEX_TABLE) | heads(64, 192, 384, 256, 256),
    ST_LPIPS_VGG: shift_tolerant(ST_VGG_TABLE) | heads(64, 128, 256, 512, 512),
    EFFICIENTNET_LITE0: efficientnet(),
}
NETWORKS = {
    ALEXNET: alexnet,
    VGG16: vgg16,
    INCEPTION: Inception,
    INCEPTION_TORCHVISION: Inception,
    EFFICIENTNET_LITE0: EfficientNetLite0,
}
SHIFT_TOLERANT = {"alex": ST_LPIPS_ALEX, "vgg": ST_LPIPS_VGG}


def zeros(shapes: Shapes) -> OrderedDict[str, Tensor]:
    """Zeros of any shape, but one number each in a file."""
    return OrderedDict((name, torch.zeros(1).expand(shape)) for name, shape in shapes.items())


@pytest.fixture(autouse=True)
def no_weights_of_the_user(tmp_path, monkeypatch):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("SINWAVE_WEIGHTS", raising=False)
    for weights in (ST_LPIPS_ALEX, EFFICIENTNET_LITE0):
        monkeypatch.setitem(sys.modules, weights.package.module, None)  # is not found by find_spec


def assert_one_sentence(error: pytest.ExceptionInfo[Exception], *parts: object) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert not message.endswith(".")
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize(
    ("weights", "count"),
    [(ALEXNET, 61_100_840), (VGG16, 138_357_544), (INCEPTION_TORCHVISION, 27_161_264), (EFFICIENTNET_LITE0, 4_652_008)],
)
def test_the_tables_have_as_many_parameters_as_the_networks_are_known_for(weights, count):
    shapes = (shape for name, shape in TABLES[weights].items() if ".running_" not in name)
    assert sum(torch.Size(shape).numel() for shape in shapes) == count


@pytest.mark.parametrize("weights", NETWORKS, ids=lambda weights: weights.file)
@pytest.mark.parametrize("zipped", [True, False])
def test_networks_take_every_parameter_of_a_published_file(weights, zipped, tmp_path):
    torch.save(zeros(TABLES[weights]), tmp_path / weights.file, _use_new_zipfile_serialization=zipped)
    state = torch.get_rng_state()
    module = load_module(NETWORKS[weights], weights, tmp_path)
    found = {name: tuple(value.shape) for name, value in module.state_dict().items() if "num_batches" not in name}
    assert found == {name: shape for name, shape in TABLES[weights].items() if not name.startswith(weights.unused)}
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("network", "trunk", "head"), [("alex", ALEXNET, LPIPS_ALEX), ("vgg", VGG16, LPIPS_VGG)], ids=["alex", "vgg"]
)
def test_heads_load_with_their_networks(network, trunk, head, tmp_path):
    for weights in (trunk, head):
        torch.save(zeros(TABLES[weights]), tmp_path / weights.file)
    shapes = [each.shape for each in Lpips.load(network, tmp_path).heads]
    assert shapes == [shape[1:2] for shape in TABLES[head].values()]
    torch.save(zeros(TABLES[trunk]), tmp_path / head.file)  # what a user may have by this name
    with pytest.raises(InputError) as error:
        Lpips.load(network, tmp_path)
    assert_one_sentence(error, tmp_path / head.file, "the heads of LPIPS", "lin0.model.1.weight")


def test_what_norms_have_counted_is_not_asked_for_and_half_precision_is_made_whole(tmp_path):
    counted = zeros(TABLES[INCEPTION])
    counted |= {name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in counted}
    counted |= {name: value.half() for name, value in zeros(TABLES[INCEPTION]).items()}
    torch.save(counted, tmp_path / INCEPTION.file)
    module = load_module(Inception, INCEPTION, tmp_path)
    assert {each.dtype for each in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("weights", [ALEXNET, INCEPTION], ids=lambda weights: weights.file)
def test_a_parameter_that_is_missing_foreign_or_of_another_shape_is_named(weights, tmp_path):
    *_, last = (name for name in TABLES[weights] if not name.startswith(weights.unused))
    path = tmp_path / weights.file
    wrong = {
        f"no parameter {last}": {name: shape for name, shape in TABLES[weights].items() if name != last},
        f"{last}.more is not one of": TABLES[weights] | {f"{last}.more": (3,)},
        f"{last} is (7, 2), not {TABLES[weights][last]}": TABLES[weights] | {last: (7, 2)},
    }
    for message, shapes in wrong.items():
        torch.save(zeros(shapes), path)
        with pytest.raises(InputError) as error:
            load_module(NETWORKS[weights], weights, tmp_path)
        assert_one_sentence(error, path, weights.purpose, message)


class Harmful:
    """What a pickle can do: call anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_no_file_runs_code(tmp_path):
    harm, path = tmp_path / "harm", tmp_path / ALEXNET.file
    path.write_bytes(pickle.dumps(Harmful(harm)))
    pickle.loads(path.read_bytes())
    assert harm.exists()
    harm.unlink()
    for write in (lambda what: path.write_bytes(pickle.dumps(what)), lambda what: torch.save(what, path)):
        write({"features.0.weight": Harmful(harm)})
        with warnings.catch_warnings(record=True) as heard, pytest.raises(InputError) as error:
            warnings.simplefilter("always")
            load_module(alexnet, ALEXNET, tmp_path)
        assert_one_sentence(error, path, "more than tensors")
        assert not heard  # the one sentence is all
    assert not harm.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_named(zipped, tmp_path):
    path = tmp_path / ALEXNET.file
    torch.save(zeros(TABLES[ALEXNET]), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for content in (b"", b"<!DOCTYPE html>", b"not found", bytes(99), whole[:9], whole[:999], whole[:-40]):
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            load_module(alexnet, ALEXNET, tmp_path)
        assert_one_sentence(error, path, "damaged")


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "a list, where"), ({"epoch": 3}, "a int 'epoch'"), ({"state_dict": {}}, "a dict 'state_dict'")],
)
def test_what_is_not_tensors_by_their_names_is_named(content, message, tmp_path):
    torch.save(content, tmp_path / ALEXNET.file)
    with pytest.raises(InputError) as error:
        load_module(alexnet, ALEXNET, tmp_path)
    assert_one_sentence(error, tmp_path / ALEXNET.file, message)


@pytest.mark.parametrize("weights", PUBLISHED, ids=lambda weights: weights.file)
def test_a_published_file_says_where_it_is_from(weights):
    assert weights.url.startswith("https://")
    assert weights.url.endswith("/" + weights.file) or weights.package is not None
    assert weights.license


def test_a_missing_file_says_where_it_was_sought_and_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SINWAVE_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(MissingError) as error:
        load_module(alexnet, ALEXNET, tmp_path / "given")
    cache, hub = cache_folder() / "sinwave" / "weights", tmp_path / "TORCH_HOME" / "hub" / "checkpoints"
    assert_one_sentence(error, ALEXNET.file, ALEXNET.url, tmp_path / "given", tmp_path / "mine", cache, hub)


def test_folders_are_looked_in_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setenv("SINWAVE_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setenv("HOME", str(tmp_path))  # the cache of macOS is in there
    cache, hub = cache_folder() / "sinwave" / "weights", tmp_path / "TORCH_HOME" / "hub" / "checkpoints"
    sought = [hub, cache, tmp_path / "mine", tmp_path / "given"]
    for value, folder in enumerate(sought):
        folder.mkdir(parents=True)
        content = OrderedDict((name, zero + value) for name, zero in zeros(TABLES[ALEXNET]).items() if "feat" in name)
        torch.save(content, folder / ALEXNET.file)
        assert load_module(alexnet, ALEXNET, tmp_path / "given").features[0].bias[0] == value


def test_every_system_has_its_cache():
    assert cache_folder("linux", {}) == Path.home() / ".cache"
    assert cache_folder("linux", {"XDG_CACHE_HOME": "/cache"}) == Path("/cache")
    assert cache_folder("darwin", {}) == Path.home() / "Library" / "Caches"
    assert cache_folder("win32", {"LOCALAPPDATA": "/local"}) == Path("/local")
    assert cache_folder("win32", {}) == Path.home() / "AppData" / "Local"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j], ids=str)
def test_parameters_that_are_no_finite_numbers_are_refused(value, tmp_path):
    content = OrderedDict(zeros(TABLES[ALEXNET]))
    content["features.3.bias"] = torch.full((192,), value)
    torch.save(content, tmp_path / ALEXNET.file)
    with pytest.raises(InputError) as error:
        load_module(alexnet, ALEXNET, tmp_path)
    assert_one_sentence(error, tmp_path / ALEXNET.file, "features.3.bias holds what is no finite number")


def shift_tolerant_file(network: str) -> OrderedDict[str, Tensor]:
    content = zeros(TABLES[SHIFT_TOLERANT[network]])
    for name, value in content.items():
        if name.endswith("filt"):
            content[name] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).expand(value.shape) / 16
    content["scaling_layer.shift"] = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    content["scaling_layer.scale"] = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    return content


@pytest.mark.parametrize(("network", "count"), [("alex", 20), ("vgg", 37)])
def test_trunk_and_heads_of_st_lpips_stand_in_one_file_and_are_all_checked(network, count, tmp_path):
    weights, content = SHIFT_TOLERANT[network], shift_tolerant_file(network)
    assert len(content) == count
    path = tmp_path / weights.file
    for place, file in ((tmp_path, path), (tmp_path / "mine.pth", tmp_path / "mine.pth")):
        torch.save(content, file)
        measure = StLpips.load(network, place)
        assert [len(head) for head in measure.heads] == [TABLES[weights][f"lin{k}.model.1.weight"][1] for k in range(5)]
        assert not any(parameter.requires_grad for parameter in measure.trunk.parameters())
    blur = next(name for name in content if name.endswith("filt"))
    last = [name for name in content if name.startswith("net.")][-1]
    wrong = {
        f"constant {blur} has other values": {blur: content[blur].flip(1) * 1.001},
        "constant scaling_layer.shift has other values": {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)},
        "constant scaling_layer.scale has other values": {"scaling_layer.scale": torch.ones(1, 3, 1, 1)},
        f"parameter {last} is (2, 2), not": {last: torch.zeros(2, 2)},
        "net.slice9.1.weight is not one of the network's": {"net.slice9.1.weight": torch.zeros(3)},
        "lin0.model.1.weight holds what is no finite number": {
            "lin0.model.1.weight": content["lin0.model.1.weight"] / 0
        },
    }
    for message, change in wrong.items():
        torch.save(OrderedDict(content | change), path)
        with pytest.raises(InputError) as error:
            StLpips.load(network, tmp_path)
        assert_one_sentence(error, path, weights.purpose, message)
    del content[last]
    torch.save(content, path)
    with pytest.raises(InputError, match=f"it has no parameter {last}"):
        StLpips.load(network, tmp_path)


def test_a_file_in_an_installed_package_is_found_and_nothing_of_it_is_run(tmp_path, monkeypatch):
    package = ST_LPIPS_ALEX.package
    monkeypatch.delitem(sys.modules, package.module)
    folder = tmp_path / package.module / package.folder
    folder.mkdir(parents=True)
    (tmp_path / package.module / "__init__.py").write_text("raise RuntimeError('imported')")
    torch.save(shift_tolerant_file("alex"), folder / ST_LPIPS_ALEX.file)
    monkeypatch.syspath_prepend(tmp_path)
    assert find(ST_LPIPS_ALEX) == places(ST_LPIPS_ALEX)[-1] == folder / ST_LPIPS_ALEX.file
    assert StLpips.load("alex").heads
    assert package.module not in sys.modules


def test_a_missing_file_of_a_package_says_how_to_install_it():
    with pytest.raises(MissingError) as error:
        StLpips.load("vgg")
    assert_one_sentence(error, ST_LPIPS_VGG.file, "pip install --no-deps stlpips-pytorch==0.0.2", "BSD-2-Clause")
    with pytest.raises(InputError, match="ST-LPIPS has the networks alex, vgg, not 'squeeze'"):
        StLpips.load("squeeze")
