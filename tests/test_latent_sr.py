"""LDM-SR: the walk is that of diffusers' own pipeline, and a folder is read exactly or not at all."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    UNet2DModel,
    VQModel,
)
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion_superresolution import LDMSuperResolutionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from test_sample import FromGenerator

from sinwave.cli import main
from sinwave.diffusion.process import VariancePreserving
from sinwave.errors import InputError, MissingError
from sinwave.images import read
from sinwave.pretrained.folder import find_folder
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems import table
from sinwave.systems.contracts import Computing, SuperResolver
from sinwave.systems.latent_sr.model import IDS, LatentDenoiser, from_folder
from sinwave.systems.schedule import Schedule

COMPUTING = Computing(torch.device("cpu"), torch.float32)
LDM = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0155, "clip_sample": False}


def tiny(scheduler=None, unet=(), vqvae=()):
    """The real classes with the blocks of LDM-SR, random weights and few channels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            **{"in_channels": 6, "out_channels": 3, "block_out_channels": (8, 16), "layers_per_block": 1}
            | {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "norm_num_groups": 4, "attention_head_dim": 8}
            | {"up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
            | dict(unet)
        )
        codes = VQModel(
            **{"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
            | {"block_out_channels": (8, 8, 8), "norm_num_groups": 4, "num_vq_embeddings": 512}
            | dict(vqvae)
        )
        codes.quantize.embedding.weight.data.normal_(std=2)
    return LDMSuperResolutionPipeline(vqvae=codes, unet=network, scheduler=scheduler or DDIMScheduler(**LDM))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    tiny().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "pipeline"))


def edit(file, **entries):
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def picture(height=16, width=24):
    return NoiseSource(1).normal((1, 3, height, width), "low").clamp(-1, 1)


def enlarged(model, low, size, seed=0, **options):
    return model.upscale(low, size, NoiseSource(seed), **options)


def theirs(pipeline, low, steps, eta):
    """The picture of diffusers' pipeline, which draws all noise from the global generator."""
    pipeline.set_progress_bar_config(disable=True)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return 2 * pipeline(low, num_inference_steps=steps, eta=eta, output_type="pt").images - 1


def ours(folder, low, steps, stochasticity):
    model = replace(from_folder(folder, steps).build("network", COMPUTING).network, stochasticity=stochasticity)
    size = tuple(4 * side for side in low.shape[2:])
    return model.upscale(low, size, FromGenerator(torch.Generator().manual_seed(5), torch.float32))


@pytest.mark.parametrize(
    ("scheduler", "steps", "eta"),
    [
        (DDIMScheduler(**LDM), 20, 0.0),
        (DDIMScheduler(**LDM), 20, 1.0),
        (DDIMScheduler(**LDM), 7, 0.5),
        (DDIMScheduler(clip_sample=False, prediction_type="v_prediction", timestep_spacing="trailing"), 10, 1.0),
        (DDIMScheduler(**LDM, prediction_type="sample", set_alpha_to_one=False, steps_offset=1), 10, 0.0),
        (DDIMScheduler(**LDM, set_alpha_to_one=False), 10, 0.0),
        (DDIMScheduler(50, beta_schedule="squaredcos_cap_v2", clip_sample=False, prediction_type="sample"), 25, 1.0),
        (DDIMScheduler(4, trained_betas=[0.1, 0.2, 0.3, 0.4], clip_sample=False), 4, 1.0),
    ],
)
def test_the_walk_is_that_of_diffusers_with_ddim(scheduler, steps, eta, tmp_path):
    pipeline = tiny(scheduler)
    pipeline.save_pretrained(tmp_path)
    expected = theirs(pipeline, picture(), steps, eta)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(tmp_path, picture(), steps, eta), expected, rtol=0, atol=1e-4)


def test_a_range_of_estimates_is_kept_as_diffusers_does_it(tmp_path):
    """Its pipeline clips x_0 and leaves eps as it was; the rule that changes both is an option of its scheduler."""
    pipeline = tiny(DDIMScheduler(**LDM | {"clip_sample": True}, clip_sample_range=0.7))
    pipeline.save_pretrained(tmp_path)
    scheduler, low = pipeline.scheduler, picture()
    scheduler.set_timesteps(10)
    x = torch.randn((1, 3, 16, 24), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for t in scheduler.timesteps:
            answer = pipeline.unet(torch.cat([x, low], 1), t).sample
            x = scheduler.step(answer, t, x, use_clipped_model_output=True).prev_sample
        expected = pipeline.vqvae.decode(x).sample.clamp(-1, 1)
    assert x.abs().max() <= 0.7
    torch.testing.assert_close(ours(tmp_path, low, 10, 0.0), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [2, 7, 100])
def test_the_times_are_those_of_diffusers(spacing, steps):
    scheduler = DDIMScheduler(timestep_spacing=spacing)
    scheduler.set_timesteps(steps)
    schedule = Schedule(VariancePreserving.linear(), spacing=spacing)
    times = np.array(schedule.times(steps))
    np.testing.assert_allclose(times[:-1] * 1000 - 1, scheduler.timesteps.numpy(), atol=1e-9)
    assert times[-1] == 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
@pytest.mark.parametrize("kind", [PNDMScheduler, LMSDiscreteScheduler])
def test_of_another_scheduler_the_noise_levels_are_taken(kind, tmp_path):
    scheduler = kind(beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0155)
    scheduler.save_pretrained(tmp_path / "scheduler")
    schedule = Schedule.read(tmp_path)
    expected = scheduler.alphas_cumprod.double().numpy()
    np.testing.assert_allclose(schedule.process.alphas_cumprod[1:], expected, rtol=1e-4)
    assert schedule.clip is None
    assert schedule.times(10)[0] == (1.0 if kind is LMSDiscreteScheduler else 0.901)
    assert schedule.times(10)[-1] == (0.0 if kind is LMSDiscreteScheduler else 0.001)


def test_any_size_is_enlarged_and_what_was_mirrored_is_cropped(saved):
    model = from_folder(saved, 3).build("network", COMPUTING)
    assert isinstance(model, SuperResolver)
    low = picture(13, 7)
    mirrored = torch.cat([low, low[:, :, 11:12]], 2)
    mirrored = torch.cat([mirrored, mirrored[..., 5:6]], 3)
    large = enlarged(model, low, (52, 28))
    torch.testing.assert_close(large, enlarged(model, mirrored, (56, 32))[:, :, :52, :28])
    torch.testing.assert_close(enlarged(model, low, (40, 30)), resize(large, (40, 30)).clamp(-1, 1))
    assert enlarged(model, picture(1, 1), (4, 4)).shape == (1, 3, 4, 4)


def test_the_seed_decides_whatever_is_in_the_batch(saved):
    model = from_folder(saved, 3).build("network", COMPUTING)
    low, source = picture(), NoiseSource(3)
    both = model.upscale(low.expand(2, -1, -1, -1), (64, 96), source.batch([4, 5]))
    for row, name in enumerate((4, 5)):
        alone = model.upscale(low, (64, 96), source.child(name))
        torch.testing.assert_close(both[row : row + 1], alone, rtol=0, atol=1e-4)
    assert torch.equal(enlarged(model, low, (64, 96)), enlarged(model, low, (64, 96)))
    assert (both[0] - both[1]).abs().max() > 0.1


def test_progress_ends_with_the_result(saved):
    model, seen = from_folder(saved, 5).build("network", COMPUTING), []
    large = enlarged(model, picture(), (64, 96), on_step=lambda step: seen.append((step[:4], step.estimate())))
    assert [place for place, _ in seen] == [(0, 1, step, 5) for step in range(1, 6)]
    assert all(estimate.shape == large.shape for _, estimate in seen)
    torch.testing.assert_close(seen[-1][1], large)


def test_what_was_loaded_is_not_changed_by_what_is_built(saved):
    loaded = from_folder(saved)
    assert (loaded.steps, loaded.abilities, loaded.engines) == (100, {"upscale"}, ("network",))
    model = loaded.build("network", Computing(torch.device("cpu"), torch.float64)).network
    assert {weight.dtype for weight in model.networks.unet.parameters()} == {torch.float64}
    assert {weight.dtype for weight in loaded.networks.unet.parameters()} == {torch.float32}
    assert replace(model, steps=3).upscale(picture(), (64, 96), NoiseSource(0)).dtype == torch.float32
    assert loaded.memory("network", (512, 512)) > loaded.memory("network", (64, 64)) > 0
    with pytest.raises(InputError, match="cannot be mixed"):
        loaded.mix([loaded], [1, 1], "network", COMPUTING)
    with pytest.raises(InputError, match="condition is None"):
        LatentDenoiser(model.networks, model.schedule)(picture(), 0.5)


def test_old_names_of_attention_are_read(folder):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    expected = enlarged(from_folder(folder, 3).build("network", COMPUTING).network, picture(), (64, 96))
    for part in ("unet", "vqvae"):
        file = folder / part / "diffusion_pytorch_model.safetensors"
        content = load_file(file)
        for new, name in old.items():
            content = {key.replace(f".{new}.", f".{name}."): value for key, value in content.items()}
        assert any(".proj_attn." in key for key in content)
        save_file(content, file)
    again = from_folder(folder, 3).build("network", COMPUTING).network
    assert torch.equal(enlarged(again, picture(), (64, 96)), expected)
    # diffusers itself reads them, too
    UNet2DModel.from_pretrained(folder, subfolder="unet", use_safetensors=True, low_cpu_mem_usage=False)


@pytest.mark.parametrize(
    "part",
    ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "vqvae/config.json"]
    + [f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vqvae")],
)
def test_a_part_that_is_missing_or_damaged_is_named(part, folder):
    for content, words in ((b"{broken", "is no JSON|is damaged, or no safetensors"), (None, "lacks|is missing")):
        (folder / part).write_bytes(content) if content else (folder / part).unlink()
        with pytest.raises(InputError, match=words) as caught:
            from_folder(folder)
        assert part in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_pickle_is_not_read(folder):
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.bin, which is not read; save the pipeline again"):
        from_folder(folder)


@pytest.mark.parametrize(
    ("file", "entries", "words"),
    [
        ("model_index.json", {"_class_name": "LDMPipeline"}, "holds a LDMPipeline, and upscale has use for a LDMSuper"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "the unet is a UNet2DConditionModel"),
        ("vqvae/config.json", {"_class_name": "AutoencoderKL"}, "the vqvae is a AutoencoderKL, and it must be a VQM"),
        ("unet/config.json", {"block_out_channels": [8, 24]}, "does not fit its config.json: .* in the file and .*24"),
        ("unet/config.json", {"block_out_channels": [1 << 20, 1 << 20]}, "does not fit its config.json"),
        ("unet/config.json", {"block_out_channels": [1 << 61, 1 << 61]}, "its config.json makes no UNet2DModel"),
        ("unet/config.json", {"layers_per_block": 10**9}, "layers_per_block is 1000000000, and it holds"),
        ("unet/config.json", {"act_fn": "nonsense"}, "its config.json makes no UNet2DModel"),
        ("vqvae/config.json", {"num_vq_embeddings": 10**9}, r"does not fit .*quantize.embedding.weight is \(512, 3\)"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDPMScheduler"}, "the scheduler is a DDPMScheduler"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, "thresholding is true, which is not supported"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type is 'flow': it must be"),
        ("scheduler/scheduler_config.json", {"beta_schedule": []}, "beta_schedule is '\\[\\]': it must be linear or"),
        ("scheduler/scheduler_config.json", {"beta_end": float("nan")}, "beta_end is 'nan': it must be a positive"),
        ("scheduler/scheduler_config.json", {"beta_end": 1e-9}, "beta_start is 0.0015 and beta_end 1e-09"),
        ("scheduler/scheduler_config.json", {"trained_betas": [float("nan")] * 9}, "trained_betas are no list"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, "num_train_timesteps is '1000000000'"),
        ("scheduler/scheduler_config.json", {"clip_sample": 1}, "clip_sample is '1': it must be true or false"),
        ("scheduler/scheduler_config.json", {"steps_offset": 11}, "steps is 100: 11 further on, they go beyond"),
        ("scheduler/scheduler_config.json", {"note": "x" * 70_000}, "too many for a configuration"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(file, entries, words, folder):
    edit(folder / file, **entries)
    with pytest.raises(InputError, match=words) as caught:
        from_folder(folder)
    assert str(folder) in str(caught.value) or "steps" in entries.popitem()[0]


def test_weights_are_those_of_the_network_or_refused(folder):
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    content = load_file(file)
    for change, words in (
        ({"conv_in.weight": None}, "conv_in.weight is missing in the file"),
        ({"new": torch.zeros(1)}, r"new is \(1,\) in the file and missing in the network"),
        ({"conv_in.bias": torch.full((8,), torch.nan)}, "conv_in.bias holds what is no finite number"),
        ({"conv_in.bias": torch.zeros(8, dtype=torch.int64)}, "conv_in.bias holds what is no finite number"),
    ):
        save_file({name: value for name, value in (content | change).items() if value is not None}, file)
        with pytest.raises(InputError, match=words):
            from_folder(folder)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"unet": {"in_channels": 4}}, "the U-Net's input has 4 channels, and 6 are needed"),
        ({"unet": {"out_channels": 6}}, "the U-Net's output has 6 channels, and 3 are needed"),
        ({"vqvae": {"out_channels": 1}}, "the autoencoder's output has 1 channels, and 3 are needed"),
        ({"unet": {"num_class_embeds": 7}}, "the U-Net wants classes"),
    ],
)
def test_networks_that_do_not_belong_together_are_refused(parts, words, tmp_path):
    tiny(**parts).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=words):
        from_folder(tmp_path)


def test_codes_may_have_other_channels_than_the_decoder(tmp_path):
    pipeline = tiny(unet={"in_channels": 5, "out_channels": 2}, vqvae={"vq_embed_dim": 2, "latent_channels": 4})
    pipeline.save_pretrained(tmp_path)
    model = from_folder(tmp_path, 2).build("network", COMPUTING).network
    assert model.networks.latent == 2 and enlarged(model, picture(), (64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("steps", [1, 1001])
def test_steps_that_the_training_did_not_have_are_refused(steps, saved):
    with pytest.raises(InputError, match=f"^steps must be between 2 and 1000 for this model, not {steps}$"):
        from_folder(saved, steps)


def test_the_table_opens_a_folder_and_a_name(saved, tmp_path, monkeypatch):
    assert table.has_shipped("ldm-sr") and table.is_folder(saved) and not table.is_folder(tmp_path)
    assert not table.is_folder(Path("absent")) and not table.is_folder(Path("\0"))
    file = "diffusion_pytorch_model.safetensors"
    names = [f"unet/{file}", "scheduler/scheduler_config.json", "unet/config.json", "vqvae/config.json"]
    names += [f"vqvae/{file}", "model_index.json"]
    assert {str(part.relative_to(saved)) for part in table.parts(saved)} == set(names)
    assert table.parts(tmp_path / "absent") == [tmp_path / "absent"]
    assert table.foreign(saved, 7).steps == 7
    name = "ldm-super-resolution-4x-openimages"
    (tmp_path / name).symlink_to(saved)
    monkeypatch.setenv("SINWAVE_WEIGHTS", str(tmp_path))
    assert table.shipped("ldm-sr").steps == 100 and table.shipped("ldm-sr", 9).steps == 9
    assert table.shipped("small") is not None
    with pytest.raises(InputError, match="the model small has no use for steps"):
        table.shipped("small", 9)


def test_the_folder_is_sought_in_the_places_of_weights_and_of_the_hub(saved, tmp_path):
    name, hub = (
        "ldm-super-resolution-4x-openimages",
        tmp_path / "hub/models--CompVis--ldm-super-resolution-4x-openimages",
    )
    nowhere = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "SINWAVE_WEIGHTS": str(tmp_path / "own")}
    with pytest.raises(MissingError, match=r"huggingface\.co/CompVis/ldm-super-resolution-4x-openimages") as caught:
        find_folder("the folder of LDM-SR", IDS, nowhere)
    assert str(tmp_path / "own") in str(caught.value) and str(tmp_path / "cache/huggingface/hub") in str(caught.value)
    (hub / "refs").mkdir(parents=True)
    (hub / "refs/main").write_text("abc")
    (hub / "snapshots").mkdir()
    (hub / "snapshots/abc").symlink_to(saved)
    for places in ({"HF_HOME": str(tmp_path)}, {"HF_HUB_CACHE": str(tmp_path / "hub")}):
        assert find_folder("the folder of LDM-SR", IDS, nowhere | places) == hub / "snapshots/abc"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).symlink_to(saved)
    assert find_folder("the folder of LDM-SR", IDS, nowhere | {"HF_HOME": str(tmp_path)}) == tmp_path / "own" / name


def test_without_diffusers_the_extra_is_named(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingError, match=r"needs the package diffusers, .* pip install 'sinwave\[diffusers\]'"):
        from_folder(saved)


def test_the_command_takes_a_folder_and_a_name_and_knows_its_result_again(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weights = folder.rename(tmp_path / "ldm-super-resolution-4x-openimages")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("x.png")
    monkeypatch.setenv("SINWAVE_WEIGHTS", str(tmp_path))
    results = []
    for model, place in ((weights.name, "folder"), ("ldm-sr", "name")):
        line = ["upscale", "x.png", "--model", model, "--steps", "3", "-o", place]
        assert main([*line, "-q"]) == 0
        results.append(np.asarray(read(Path(place, "x-upscale.png")).pixels))
    assert results[0].shape == (3, 80, 104)
    assert np.array_equal(*results)
    line = ["upscale", "x.png", "--model", weights.name, "--steps", "3", "-o", "folder", "-q"]
    before = Path("folder/x-upscale.png").stat().st_mtime_ns
    assert main(line) == 0
    assert Path("folder/x-upscale.png").stat().st_mtime_ns == before
    file = next((weights / "unet").glob("*.safetensors"))
    save_file({name: 2 * value for name, value in load_file(file).items()}, file)
    capsys.readouterr()
    assert main(line) == 2
    assert "another file of that name exists" in capsys.readouterr().err
    for words, sentence in (
        (["--model", weights.name, "--fidelity", "0.5"], "has no use for fidelity"),
        (["--model", str(tmp_path / "folder")], "model must be small"),
    ):
        assert main(["upscale", "x.png", *words, "-o", "no", "-q"]) == 2
        assert sentence in capsys.readouterr().err
