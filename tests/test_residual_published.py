"""The published networks of ResShift and SinSR: counts, names, files, arithmetic, and the pictures that they draw."""

from __future__ import annotations

import math
import re
import zipfile
import zlib

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, VQModel
from torch.nn import functional
from torch.testing import assert_close

from sinwave.diffusion.process import ResidualShift
from sinwave.diffusion.sample import Ddim, Step
from sinwave.errors import InputError, MissingError
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import SuperResolver
from sinwave.systems.residual_sr import checkpoints
from sinwave.systems.residual_sr.autoencoder import VQ_F4, VQ_F8_FACE, AutoencoderLayout
from sinwave.systems.residual_sr.checkpoints import load_autoencoder, load_unet, recognize
from sinwave.systems.residual_sr.published import RELEASES, LatentDenoiser, Published
from sinwave.systems.residual_sr.swin import Block, joined, shift_mask, windows
from sinwave.systems.residual_sr.unet import FACE, INPAINTING, X2, X4, UNetLayout, derived_buffers

FIFTEEN = [0.02, 0.117165, 0.176305, 0.233629, 0.291574, 0.351009, 0.412356, 0.475858, 0.541672, 0.609910, 0.680658]
FIFTEEN += [0.753985, 0.829951, 0.908606, 0.99]
FOUR = [0.1, 0.520096, 0.761382, 0.99]

SMALL = UNetLayout(widths=(32, 64), swin=32, heads=2, side=16)
SMALL_CODES = AutoencoderLayout(widths=(32, 32, 32), blocks=(1, 1, 1), codes=50)

UNETS = {"x4": X4, "x2": X2, "inpainting": INPAINTING, "face": FACE}
NETWORKS = UNETS | {"vq-f4": VQ_F4, "vq-f8": VQ_F8_FACE}


def skeleton(layout):
    with torch.device("meta"):
        return layout.build()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def made(name, shape):
    """Numbers that follow from the name of a parameter: those of the golden figures."""
    values = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(tuple(shape))
    if values.ndim > 1:
        return torch.from_numpy(values / math.sqrt(math.prod(shape[1:]))).float()
    return torch.from_numpy(values / 10 + (1 if name.endswith("weight") else 0)).float()


def filled(layout):
    network = skeleton(layout)
    values = {name: made(name, value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(values, assign=True)
    return network.requires_grad_(False)


def normal(seed, *shape):
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)).float()


def figures(x):
    """Mean, deviation, and three places of the first picture."""
    places = (x[0, :, 0, 0], x[0, :, -1, -1], x[0, :, x.shape[2] - 3, 5])
    return [x.mean().item(), x.std().item(), *torch.cat(places).tolist()]


def numbers(row):
    return pytest.approx([float(number) for number in row.split()], abs=2e-4)


@pytest.fixture(scope="module")
def codes():
    return filled(VQ_F4)


@pytest.fixture(scope="module")
def published():
    return contents(X4)


@pytest.fixture(scope="module")
def small():
    return filled(SMALL), filled(SMALL_CODES)


@pytest.mark.parametrize(
    ("name", "parameters", "tensors", "buffers"),
    [
        ("x4", 118_593_583, 540, 24),
        ("x2", 118_640_431, 544, 24),
        ("inpainting", 118_714_399, 548, 24),
        ("face", 118_931_604, 552, 24),
        ("vq-f4", 55_322_782, 205, 0),
        ("vq-f8", 77_009_115, 285, 0),
    ],
)
def test_the_networks_have_so_many_parameters(name, parameters, tensors, buffers):
    network = skeleton(NETWORKS[name])
    names = network.state_dict()
    derived = derived_buffers(network) if name in UNETS else {}
    assert (count(network), len(names), len(derived)) == (parameters, tensors, buffers)
    assert names.keys() == dict(network.named_parameters()).keys()
    assert not names.keys() & derived.keys()


def test_the_parts_of_the_unet_have_so_many_parameters():
    network = skeleton(X4)
    down = [8800, 1621100, 666880, 230560, 2861580, 2255360, 921920, 3271180, 2255360, 921920, 7697740, 8197120]
    up = [13843660, 12704640, 14343040, 5423180, 3382720, 4304640, 4398540, 3382720, 3792320, 2159500, 948960, 948960]
    assert [count(block) for block in network.input_blocks] == down
    assert [count(block) for block in network.middle_block] == [8197120, 1139020, 8197120]
    assert [count(block) for block in network.output_blocks] == up
    assert (count(network.time_embed), count(network.out)) == (513280, 4643)


@pytest.mark.parametrize(
    ("layout", "parts"),
    [(VQ_F4, [22_337_411, 32_960_771, 24_576, 12, 12]), (VQ_F8_FACE, [33_028_680, 43_947_523, 32_768, 72, 72])],
)
def test_the_parts_of_an_autoencoder_have_so_many_parameters(layout, parts):
    network = skeleton(layout)
    modules = (network.encoder, network.decoder, network.quantize, network.quant_conv, network.post_quant_conv)
    assert [count(module) for module in modules] == parts


def test_the_buffers_are_18_tables_and_6_masks():
    buffers = derived_buffers(skeleton(X4))
    masks = {name: tuple(value.shape) for name, value in buffers.items() if name.endswith(".attn_mask")}
    middle = {"input_blocks.1": 64, "input_blocks.4": 16, "input_blocks.7": 4}
    middle |= {"output_blocks.3": 4, "output_blocks.6": 16, "output_blocks.9": 64}
    assert masks == {f"{name}.1.blocks.1.attn_mask": (n, 64, 64) for name, n in middle.items()}
    tables = [value for name, value in buffers.items() if name.endswith(".attn.relative_position_index")]
    assert len(tables) == 18
    places = [(y, x) for y in range(8) for x in range(8)]
    table = [[(a - c + 7) * 15 + b - d + 7 for c, d in places] for a, b in places]
    assert all(torch.equal(value, torch.tensor(table)) for value in tables)


# --- files


def contents(layout, scale=1.0):
    """A state dict of a published layout, quick to write: all numbers of a parameter are the same."""
    network = skeleton(layout)
    values = {
        name: torch.tensor(scale * (zlib.crc32(name.encode()) % 1000)).expand(value.shape)
        for name, value in network.state_dict().items()
    }
    return values | (derived_buffers(network) if isinstance(layout, UNetLayout) else {})


def saved(path, content):
    torch.save(content, path)
    return path


def loaded_values(network):
    return {name: value.flatten()[0].item() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_file_of_the_published_names_is_loaded(tmp_path, published, prefix):
    """Wrapped and bare by turns, in single and in half precision."""
    values = published
    content = {
        prefix + name: value.half() if prefix and value.is_floating_point() else value for name, value in values.items()
    }
    assert len(content) == 564
    network = load_unet(saved(tmp_path / "w.pth", content if len(prefix) < 8 else {"state_dict": content, "step": 3}))
    assert loaded_values(network) == {
        name: value.flatten()[0].item() for name, value in values.items() if not name.endswith(("_mask", "_index"))
    }
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.is_contiguous() for parameter in network.parameters())


def test_a_file_of_the_autoencoder_is_loaded(tmp_path):
    values = contents(VQ_F4)
    assert len(values) == 205
    network = load_autoencoder(saved(tmp_path / "w.pth", values))
    assert loaded_values(network) == {name: value.flatten()[0].item() for name, value in values.items()}


def test_a_loaded_network_does_not_hang_on_its_file(tmp_path):
    file = saved(tmp_path / "w.pth", contents(SMALL_CODES))
    network = load_autoencoder(file, SMALL_CODES)
    before = loaded_values(network)
    file.write_bytes(b"\0" * file.stat().st_size)
    assert loaded_values(network) == before


MASK, INDEX = "input_blocks.1.1.blocks.1.attn_mask", "middle_block.1.blocks.0.attn.relative_position_index"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"out.2.bias": None}, "x4 of ResShift and SinSR: out.2.bias is missing$"),
        ({INDEX: None}, f"{re.escape(INDEX)} is missing$"),
        ({"out.3.bias": torch.zeros(3)}, "out.3.bias is not one of its parameters$"),
        ({"huge": torch.zeros(1).expand(1 << 50)}, "huge is not one of its parameters$"),
        ({"out.2.bias": torch.zeros(1).expand(1 << 50)}, r"out.2.bias is \(1125899906842624,\) instead of \(3,\)$"),
        ({"out.2.weight": torch.zeros(3, 160)}, r"out.2.weight is \(3, 160\) instead of \(3, 160, 3, 3\)$"),
        ({"out.2.bias": torch.zeros(3, dtype=torch.int32)}, "out.2.bias is torch.int32, where a parameter"),
        ({"out.2.bias": torch.zeros(3).to_sparse()}, "out.2.bias is no tensor of plain numbers$"),
        ({"out.2.bias": 3}, "out.2.bias is no tensor of plain numbers$"),
        ({"out.2.bias": torch.tensor([0, math.nan, 0])}, "out.2.bias holds NaN or infinite values$"),
        ({MASK: torch.zeros(64, 64, 64)}, f"the values of {re.escape(MASK)} are not the ones that follow"),
        ({MASK: torch.full((64, 64, 64), math.nan)}, f"the values of {re.escape(MASK)} are not"),
        ({INDEX: torch.zeros(64, 64, dtype=torch.long)}, f"the values of {re.escape(INDEX)} are not"),
        (
            {
                "out.0.bias": None,
                "out.2.bias": None,
                "time_embed.0.weight": torch.zeros(2),
                "a": torch.zeros(2),
                "b": None,
            },
            r"time_embed.0.weight is \(2,\) instead of \(640, 160\), out.0.bias is missing, out.2.bias is missing, "
            "and 1 more$",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value)[:40],
)
def test_a_wrong_file_is_refused_by_the_name_of_what_is_wrong(tmp_path, published, changes, sentence):
    """The changes are other values, or None for what is missing."""
    content = {name: value for name, value in (published | changes).items() if value is not None}
    file = saved(tmp_path / "w.pth", content)
    with pytest.raises(InputError, match=sentence) as error:
        load_unet(file)
    assert str(error.value).startswith(f"{file} is not the U-Net")


def test_an_averaged_mask_is_the_mask_and_an_index_is_exact(tmp_path):
    """A small network is loaded in the same way."""
    buffers = derived_buffers(skeleton(SMALL))
    mask, index = (next(name for name in buffers if name.endswith(end)) for end in ("attn_mask", "position_index"))
    near = contents(SMALL) | {mask: buffers[mask] * (1 - 5e-5)}
    load_unet(saved(tmp_path / "near.pth", near), SMALL)
    for name, value in ((mask, buffers[mask] * (1 - 5e-4)), (index, buffers[index].float() + 1e-3)):
        with pytest.raises(InputError, match=re.escape(name)):
            load_unet(saved(tmp_path / "far.pth", near | {name: value}), SMALL)


def test_a_prefix_on_a_part_of_the_names_is_no_prefix(tmp_path):
    content = contents(SMALL_CODES)
    mixed = {(f"module.{name}" if name == "quant_conv.bias" else name): value for name, value in content.items()}
    with pytest.raises(InputError, match=r"quant_conv.bias is missing, module.quant_conv.bias is not one"):
        load_autoencoder(saved(tmp_path / "w.pth", mixed), SMALL_CODES)


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_what_is_no_file_of_weights_is_refused_in_a_sentence(tmp_path, capsys, monkeypatch):
    good = saved(tmp_path / "good.pth", contents(SMALL_CODES))
    cut, packed, text = (tmp_path / name for name in ("cut.pth", "packed.pth", "text.pth"))
    cut.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    text.write_bytes(b"no weights")
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        for entry in archive.namelist():
            other.writestr(entry, archive.read(entry))
    for file, sentence in [
        (cut, "cannot be read as weights"),
        (text, "cannot be read as weights"),
        (saved(tmp_path / "evil.pth", {"a": Evil()}), "holds more than tensors"),
        (saved(tmp_path / "list.pth", [1, 2]), "holds a list, where"),
        (packed, "is compressed"),
        (tmp_path / "absent.pth", "there is no such file"),
        (tmp_path, "there is no such file"),
    ]:
        with pytest.raises(InputError, match=sentence):
            load_autoencoder(file, SMALL_CODES)
    assert "must not run" not in capsys.readouterr().out
    monkeypatch.setattr(checkpoints, "_MOST_BYTES", 1000)
    with pytest.raises(InputError, match="more than any of these networks"):
        load_autoencoder(good, SMALL_CODES)


def test_a_file_of_the_old_form_is_loaded(tmp_path):
    torch.save(contents(SMALL_CODES), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert loaded_values(load_autoencoder(tmp_path / "w.pth", SMALL_CODES))["quant_conv.bias"] >= 0


def test_a_release_is_loaded_and_a_missing_file_is_named(tmp_path, published, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    release = RELEASES["sinsr-v2"]
    with pytest.raises(MissingError, match=r"autoencoder_vq_f4.pth.* is in none of .*cache.*zsyOAOA/ResShift/releases"):
        Published.load(release, tmp_path)
    saved(tmp_path / "autoencoder_vq_f4.pth", contents(VQ_F4))
    with pytest.raises(
        MissingError, match=r"SinSR_v2.pth.* is in none of .*wyf0912/SinSR/releases .*no commercial use"
    ):
        Published.load(release, tmp_path)
    model = Published.load(release, saved(tmp_path / "SinSR_v2.pth", published))
    assert (model.factor, model.steps, model.mode) == (4, 1, "one-step")
    assert count(model.unet) + count(model.autoencoder) == 173_916_365


# --- recognition


def shapes(values):
    return {name: tuple(value.shape) for name, value in values.items()}


@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_is_recognized_by_its_keys(name, prefix):
    layout = NETWORKS[name]
    keys = {prefix + key: shape for key, shape in shapes(skeleton(layout).state_dict()).items()}
    assert recognize(keys).layout == layout


def diffusers_codes(layout=VQ_F4):
    return VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=layout.widths,
        layers_per_block=layout.blocks[0],
        latent_channels=layout.latent,
        vq_embed_dim=layout.latent,
        num_vq_embeddings=layout.codes,
        norm_num_groups=32,
        scaling_factor=1.0,
    )


def test_other_files_are_named_too():
    small = AutoencoderLayout(widths=(32, 32, 32), blocks=(1, 1, 1))
    foreign = [
        ({"state_dict_unet": (), "state_dict_vae": (), "rank_unet": ()}, "OSEDiff"),
        ({"conv_in.lora_A.default.weight": (4, 4, 3, 3)}, "LoRA"),
        ({"model.diffusion_model.out.2.bias": (4,), "first_stage_model.quant_conv.bias": (4,)}, "whole latent"),
        (shapes(diffusers_codes(small).state_dict()), "VQModel of diffusers"),
        (shapes(AutoencoderKL(block_out_channels=(32,)).state_dict()), "autoencoder of diffusers without codes"),
        (shapes(skeleton(SMALL).state_dict()), "U-Net like ResShift's with other channels"),
        ({"input_blocks.0.0.weight": (128, 3, 3, 3), "middle_block.1.qkv.weight": (9, 3, 1)}, "ADM"),
        (shapes(skeleton(small).state_dict()), "VQ autoencoder with other channels"),
        ({"encoder.down.0.block.0.conv1.bias": (9,), "decoder.up.0.block.0.conv1.bias": (9,)}, "Stable Diffusion"),
        ({"params_ema": ()}, "BasicSR"),
        ({"body.0.rdb1.conv1.weight": (32, 64, 3, 3)}, "RRDB"),
        ({"layers.0.residual_group.blocks.0.attn.qkv.weight": (540, 180)}, "SwinIR"),
        ({"lin0.model.1.weight": (1, 64, 1, 1)}, "LPIPS"),
        ({}, "not recognized"),
        ({"x": (1,)}, "not recognized"),
    ]
    for keys, name in foreign:
        content = recognize(keys)
        assert name in content.name
        assert content.layout is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (X2, "and 2 more; it seems to hold the U-Net x2 of ResShift$"),
        (VQ_F4, "more; it seems to hold the autoencoder VQ-f4$"),
        ({"rank_unet": 4, "state_dict_unet": {}}, "it seems to hold adapters of OSEDiff$"),
        ({}, "it seems to hold weights of a network that is not recognized$"),
    ],
    ids=["x2", "vq", "osediff", "empty"],
)
def test_a_refusal_names_the_network_that_a_file_holds(tmp_path, content, sentence):
    with pytest.raises(InputError, match=sentence):
        load_unet(saved(tmp_path / "w.pth", content if isinstance(content, dict) else contents(content)))


# --- arithmetic


@pytest.mark.slow
def test_the_unet_gives_the_figures_of_the_published_arithmetic():
    network = filled(X4)
    for width, index, row in [
        (64, 0, "-.025361 .511007 .28841 -.01407 .38275 -.22287 -.24818 -.67506 .70939 .10223 -1.00070"),
        (64, 14, "-.047232 .516338 .16939 -.02271 .40858 -.11345 -.22235 -.63923 .47636 .08061 -.96641"),
        (128, 0, "-.045080 .517074 .37621 .51311 .38786 -.02360 .25683 -.13265 -.74143 -.12264 -.26094"),
        (128, 14, "-.066093 .517468 .28545 .51487 .31753 .07500 .30730 -.15348 -.74556 -.04562 -.55849"),
    ]:
        low = normal(2, 1, 3, 64, width).clamp(-1, 1)
        assert figures(network(normal(1, 1, 3, 64, width), torch.tensor([index]), low)) == numbers(row)


def test_the_autoencoder_gives_the_figures_of_the_published_arithmetic(codes):
    latent = codes.encode(normal(3, 1, 3, 64, 96).clamp(-1, 1))
    assert figures(latent) == numbers(
        ".072552 .297260 -.20397 .16556 .12417 -.15414 .30912 .39092 -.02070 -.31914 -.07189"
    )
    assert figures(codes.decode(latent)) == numbers(
        ".206864 .770571 .16490 -.00229 .18516 .16449 -.05203 -.33027 -.04766 .22515 -.30168"
    )
    assert figures(codes.decode(latent, quantize=False)) == numbers(
        ".206055 .771663 .15330 -.00084 .18182 .16895 -.06511 -.31635 .00043 .23203 -.27985"
    )


def renamed(name, value):
    """The name and the shape that diffusers has for a parameter of VQ-f4."""
    name = re.sub(r"\bdown\.(\d)\.block\.", r"down_blocks.\1.resnets.", name)
    name = name.replace(".downsample.", ".downsamplers.0.").replace(".upsample.", ".upsamplers.0.")
    name = re.sub(r"\bdown\.(\d)\.", r"down_blocks.\1.", name)
    name = re.sub(r"\bup\.(\d)\.", lambda match: f"up_blocks.{2 - int(match[1])}.", name).replace(
        ".block.", ".resnets."
    )
    name = re.sub(r"mid\.block_(\d)", lambda match: f"mid_block.resnets.{int(match[1]) - 1}", name)
    name = name.replace("nin_shortcut", "conv_shortcut").replace("norm_out", "conv_norm_out")
    attention = re.search(r"mid\.attn_1\.(norm|q|k|v|proj_out)\.", name)
    if attention:
        part = {"norm": "group_norm", "proj_out": "to_out.0"}.get(attention[1], f"to_{attention[1]}")
        name = name.replace(attention[0], f"mid_block.attentions.0.{part}.")
    return name, value[..., 0, 0] if attention and value.ndim == 4 else value


def test_the_autoencoder_is_the_one_of_diffusers(codes):
    """All names, both ways of decoding, and the gradient that passes the codes."""
    theirs = diffusers_codes()
    theirs.load_state_dict(dict(renamed(*item) for item in codes.state_dict().items()), strict=True)
    picture = normal(5, 1, 3, 64, 48).clamp(-1, 1)
    with torch.no_grad():
        latent = codes.encode(picture)
        assert_close(latent, theirs.encode(picture).latents, atol=2e-5, rtol=0)
        assert_close(
            codes.decode(latent, quantize=False),
            theirs.decode(latent, force_not_quantize=True).sample,
            atol=5e-5,
            rtol=0,
        )
    mine, other = (latent[..., :8, :8].clone().requires_grad_() for _ in range(2))
    decoded, same = codes.decode(mine), theirs.requires_grad_(False).decode(other).sample
    assert_close(decoded, same, atol=5e-5, rtol=0)
    assert_close(
        *(torch.autograd.grad(x[..., :9].square().sum(), z)[0] for x, z in ((decoded, mine), (same, other))),
        rtol=1e-3,
        atol=1e-3,
    )


def test_every_place_becomes_the_nearest_code():
    network = filled(SMALL_CODES)
    z = normal(7, 2, 3, 70, 90)
    table = network.quantize.embedding.weight.numpy().astype(np.float64)
    places = z.movedim(1, -1).reshape(-1, 3).numpy().astype(np.float64)
    nearest = ((places[:, None] - table) ** 2).sum(-1).argmin(1)
    expected = torch.from_numpy(table[nearest]).float().reshape(2, 70, 90, 3).movedim(-1, 1)
    assert_close(network.quantize(z), expected)


def block_by_hand(block, x):
    """One block by loops over windows and heads, in numpy."""
    weights = {name: value.double().numpy() for name, value in block.state_dict().items()}
    channels, height, width = x.shape
    heads, side, shift = block.attn.heads, block.window, block.shift

    def norm(x, name):
        groups = x.reshape(32, -1)
        groups = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)
        return (
            groups.reshape(x.shape) * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]
        )

    moved, mixed = np.roll(norm(x, "norm1"), (-shift, -shift), (1, 2)), np.zeros_like(x)
    places = [(i, j) for i in range(side) for j in range(side)]
    for top in range(0, height, side):
        for left in range(0, width, side):
            tokens = np.stack([moved[:, top + i, left + j] for i, j in places])
            parts = tokens @ weights["attn.qkv.weight"].T + weights["attn.qkv.bias"]
            q, k, v = (parts[:, n * channels : (n + 1) * channels] for n in range(3))
            answers = []
            for head in range(heads):
                own = slice(head * channels // heads, (head + 1) * channels // heads)
                scores = q[:, own] @ k[:, own].T / math.sqrt(channels / heads)
                for a, (i, j) in enumerate(places):
                    for b, (m, n) in enumerate(places):
                        row = (i - m + side - 1) * (2 * side - 1) + j - n + side - 1
                        scores[a, b] += weights["attn.relative_position_bias_table"][row, head]
                        if shift and top + side == height and (j < side // 2) != (n < side // 2):
                            scores[a, b] -= 100
                scores = np.exp(scores - scores.max(1, keepdims=True))
                answers.append(scores / scores.sum(1, keepdims=True) @ v[:, own])
            out = np.concatenate(answers, 1) @ weights["attn.proj.weight"].T + weights["attn.proj.bias"]
            for (i, j), token in zip(places, out, strict=True):
                mixed[:, top + i, left + j] = token
    x = x + np.roll(mixed, (shift, shift), (1, 2))
    hidden = np.tensordot(weights["mlp.fc1.weight"][..., 0, 0], norm(x, "norm2"), 1)
    hidden = hidden + weights["mlp.fc1.bias"][:, None, None]
    hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
    return x + np.tensordot(weights["mlp.fc2.weight"][..., 0, 0], hidden, 1) + weights["mlp.fc2.bias"][:, None, None]


@pytest.mark.parametrize("shift", [0, 2])
def test_a_block_is_its_equations(shift):
    """Not square, and of another size than its level has in training."""
    block = Block(64, 2, 4, shift, 16)
    block.load_state_dict({name: made(name, value.shape) for name, value in block.state_dict().items()})
    x = normal(11, 1, 64, 12, 8)
    with torch.no_grad():
        assert_close(block(x)[0].double().numpy(), block_by_hand(block, x[0].double().numpy()), atol=1e-5, rtol=1e-5)


def test_windows_are_joined_to_the_map():
    x = normal(0, 2, 3, 12, 8)
    assert torch.equal(joined(windows(x, 4), 4, 12), x)
    assert torch.equal(windows(x, 4)[1, 3], x[1, :, 4:8, 4:].reshape(3, 16).T)


def test_the_mask_parts_the_windows_of_the_last_row_only():
    mask = shift_mask(3, 5, 8).reshape(3, 5, 8, 8, 8, 8)
    assert not mask[:2].any()
    assert set(mask.unique().tolist()) == {-100.0, 0.0}
    assert (mask[2, :, :, :4, :, 4:] == -100).all() and (mask[2, :, :, 4:, :, :4] == -100).all()
    assert not mask[2, :, :, :4, :, :4].any() and not mask[2, :, :, 4:, :, 4:].any()


def test_windows_move_where_the_level_is_more_than_a_window():
    blocks = {name: block for name, block in skeleton(X4).named_modules() if isinstance(block, Block)}
    assert len(blocks) == 18
    moved = [name for name, block in blocks.items() if block.shift]
    assert all(blocks[name].shift == 4 for name in moved)
    levels = ("input_blocks.1.", "input_blocks.4.", "input_blocks.7.")
    levels += ("output_blocks.3.", "output_blocks.6.", "output_blocks.9.")
    assert moved == [f"{level}1.blocks.1" for level in levels]


def test_the_embedding_of_an_index_is_cosines_then_sines(small):
    captured = []
    handle = small[0].time_embed.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
    small[0](torch.zeros(2, 3, 16, 16), torch.tensor([0, 14]), torch.zeros(2, 3, 16, 16))
    handle.remove()
    angles = 14 * 10000.0 ** (-np.arange(16) / 16)
    expected = torch.from_numpy(np.stack([np.repeat([1.0, 0.0], 16), np.concatenate([np.cos(angles), np.sin(angles)])]))
    assert_close(captured[0], expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["x2", "inpainting", "face"])
def test_a_larger_picture_is_halved_to_the_latent(name):
    layout = UNETS[name]
    tiny = UNetLayout(layout.latent, layout.guide, layout.halvings, widths=(32,), swin=32, heads=1, side=8)
    network, side = filled(tiny), 8 << layout.halvings
    low = normal(1, 1, layout.guide, side, side)
    features = network.feature_extractor(low)
    assert features.shape == (1, 16 << layout.halvings, 8, 8)
    x = normal(2, 1, layout.latent, 8, 8)
    assert network(x, torch.tensor([1]), low).shape == x.shape
    with pytest.raises(InputError, match="small picture is"):
        network(x, torch.tensor([1]), low[..., :8, :8])
    with pytest.raises(InputError, match="the latent is 8 x 4: sides must be multiples of 8"):
        network(x[..., :4], torch.tensor([1]), low)


# --- the process and its steps


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (["resshift-v1", "resshift-v2", "sinsr-v1", "sinsr-v2"], FIFTEEN),
        (["resshift-v3", "resshift-bicubic"], FOUR),
    ],
)
def test_the_releases_have_their_schedules(names, table):
    for name in names:
        release = RELEASES[name]
        assert release.process.sqrt_eta == pytest.approx([0, *table], abs=6e-7)
        assert release.mode == ("one-step" if name.startswith("sinsr") else "chain")
        assert (release.process.at(1.0).noise ** 2 + 1) ** 0.5 == pytest.approx(2.21820, abs=5e-6)


def one_step(process, k, x_t, clean, anchor, stochasticity, z):
    last = len(process.sqrt_eta) - 1
    step = Step(process, k / last, (k - 1) / last, x_t, clean, anchor, lambda x, t: clean, lambda shape, *key: z)
    return Ddim(stochasticity).step(step)


@pytest.mark.parametrize("table", [FIFTEEN, FOUR], ids=len)
def test_the_chain_steps_by_the_posterior(table):
    process = ResidualShift((0.0, *table))
    x_t, clean, anchor, z = (normal(seed, 1, 3, 4, 5).double() for seed in range(4))
    for k in range(1, len(table) + 1):
        eta, before = process.sqrt_eta[k] ** 2, process.sqrt_eta[k - 1] ** 2
        mean = before / eta * x_t + (eta - before) / eta * clean
        deviation = process.kappa * math.sqrt(before / eta * (eta - before))
        assert_close(one_step(process, k, x_t, clean, anchor, 1.0, 0 * z), mean, atol=1e-12, rtol=0)
        drawn = one_step(process, k, x_t, clean, anchor, 1.0, z)
        assert_close(drawn, mean + deviation * z, atol=1e-12, rtol=0)


@pytest.mark.parametrize("table", [FIFTEEN, FOUR], ids=len)
def test_the_teacher_of_sinsr_steps_without_chance(table):
    process = ResidualShift((0.0, *table))
    x_t, clean, anchor, z = (normal(seed, 1, 3, 4, 5).double() for seed in range(4))
    for k in range(1, len(table) + 1):
        eta, before = process.sqrt_eta[k] ** 2, process.sqrt_eta[k - 1] ** 2
        m = math.sqrt(before / eta)
        j = before - math.sqrt(before * eta)
        due = (1 - before + math.sqrt(before * eta) - m) * clean + m * x_t + j * anchor
        assert_close(one_step(process, k, x_t, clean, anchor, 0.0, z), due, atol=1e-12, rtol=0)


def test_the_denoiser_divides_its_input_and_counts_from_0(small):
    process, unet = RELEASES["sinsr-v1"].process, small[0]
    denoiser = LatentDenoiser(unet, process)
    x, low = normal(1, 2, 3, 16, 16), normal(2, 2, 3, 16, 16)
    for k in (1, 7, 15):
        expected = unet(x / math.sqrt(4 * FIFTEEN[k - 1] ** 2 + 1), torch.tensor([k - 1, k - 1]), low)
        assert_close(denoiser(x, k / 15, condition=low), expected, atol=1e-4, rtol=0)
    times = torch.tensor([15, 7]).reshape(2, 1, 1, 1) / 15
    rows = [denoiser(x[row : row + 1], k / 15, condition=low[row : row + 1]) for row, k in enumerate((15, 7))]
    assert_close(denoiser(x, times, condition=low), torch.cat(rows), atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="needs the small picture"):
        denoiser(x, 1.0)


# --- pictures


def by_hand(small, low, release, noise):
    """The published inference, written out for a picture that needs no padding."""
    unet, codes = small
    anchor = codes.encode(functional.interpolate(low, scale_factor=4, mode="bicubic"))
    table = release.process.sqrt_eta
    x = anchor + 2 * table[-1] * noise.normal(anchor.shape, "start")
    for turn, k in enumerate(range(len(table) - 1, 0, -1)):
        eta, before = table[k] ** 2, table[k - 1] ** 2
        clean = unet(x / math.sqrt(4 * eta + 1), torch.tensor([k - 1]), low)
        if release.mode == "one-step" or k == 1:
            return codes.decode(clean).clamp(-1, 1)
        z = noise.child("step", turn).normal(x.shape)
        x = before / eta * x + (eta - before) / eta * clean + 2 * math.sqrt(before / eta * (eta - before)) * z
    return None


@pytest.mark.parametrize("name", ["resshift-v3", "sinsr-v2"])
def test_a_picture_is_drawn_by_the_published_inference(small, name):
    release = RELEASES[name]
    low, noise = normal(4, 1, 3, 32, 16).clamp(-1, 1), NoiseSource(3)
    model = Published(*small, release.process, release.mode)
    # Where two codes are nearly as near as each other, the last bit decides.
    different = (model.upscale(low, (128, 64), noise) - by_hand(small, low, release, noise)).abs() > 1e-3
    assert different.float().mean() < 0.02


@pytest.mark.parametrize("name", ["resshift-v3", "sinsr-v2"])
def test_a_small_picture_of_odd_size_is_enlarged(small, name):
    release = RELEASES[name]
    model, low = Published(*small, release.process, release.mode), normal(4, 1, 3, 17, 23).clamp(-1, 1)
    assert isinstance(model, SuperResolver)
    steps, estimates = [], []

    def on_step(progress):
        steps.append(progress[:4])
        estimates.append(progress.estimate())

    large = model.upscale(low, (68, 92), NoiseSource(1), on_step=on_step)
    assert large.shape == (1, 3, 68, 92)
    assert large.isfinite().all() and large.abs().max() <= 1
    turns = 4 if name == "resshift-v3" else 1
    assert steps == [(0, 1, step, turns) for step in range(1, turns + 1)]
    assert {estimate.shape for estimate in estimates} == {large.shape}
    assert torch.equal(estimates[-1], large)
    assert torch.equal(model.upscale(low, (68, 92), NoiseSource(1)), large)
    assert not torch.equal(model.upscale(low, (68, 92), NoiseSource(2)), large)
    assert torch.equal(model.upscale(low, (50, 101), NoiseSource(1)), resize(large, (50, 101)).clamp(-1, 1))


@pytest.mark.parametrize("size", [(17, 23), (3, 1), (16, 20)])
def test_a_picture_is_mirrored_to_whole_windows_and_cropped(small, size):
    """As numpy reflects, which also does it more than once; the window of the small network is 16 pixels."""
    release = RELEASES["sinsr-v2"]
    model, low = Published(*small, release.process, release.mode), normal(4, 1, 3, *size).clamp(-1, 1)
    height, width = (-(-side // 16) * 16 for side in size)
    pads = ((0, 0), (0, 0), (0, height - size[0]), (0, width - size[1]))
    padded = torch.from_numpy(np.pad(low.numpy(), pads, mode="reflect"))
    whole = model.upscale(padded, (4 * height, 4 * width), NoiseSource(1))
    large = model.upscale(low, (4 * size[0], 4 * size[1]), NoiseSource(1))
    assert torch.equal(large, whole[..., : 4 * size[0], : 4 * size[1]])


def test_a_picture_is_the_same_alone_and_in_a_batch(small):
    release = RELEASES["resshift-v3"]
    model, low = Published(*small, release.process, release.mode), normal(4, 2, 3, 16, 16).clamp(-1, 1)
    sources = NoiseSource(1).batch(range(2))
    together = model.upscale(low, (64, 64), sources)
    alone = torch.cat([model.upscale(low[n : n + 1], (64, 64), NoiseSource(1).batch([n])) for n in range(2)])
    assert ((together - alone).abs() > 1e-3).float().mean() < 0.02


def test_precision_of_the_picture_is_kept(small):
    release = RELEASES["sinsr-v2"]
    model, low = Published(*small, release.process, release.mode), normal(4, 1, 3, 16, 16).clamp(-1, 1)
    assert_close(
        model.upscale(low.double(), (64, 64), NoiseSource(1)), model.upscale(low, (64, 64), NoiseSource(1)).double()
    )


def test_networks_that_do_not_fit_each_other_are_refused(small):
    process = RELEASES["sinsr-v2"].process
    for layout in (UNetLayout(latent=8, widths=(32,)), UNetLayout(guide=4, widths=(32,))):
        with pytest.raises(InputError, match="with this autoencoder it must take 3 and 3"):
            Published(skeleton(layout), small[1], process, "one-step")
