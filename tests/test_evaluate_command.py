"""`sinwave evaluate` and `sinwave report` as users meet them."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from sinwave.cli import main
from sinwave.images import from_uint8, read, to_uint8, write
from sinwave.metrics.cards import CARDS, cards_for
from sinwave.metrics.fidelity import lr_consistency, psnr_y
from sinwave.metrics.niqe import NaturalModel, niqe
from sinwave.metrics.patches import coherence
from sinwave.pretrained.files import cache_folder
from sinwave.pretrained.inception import Inception
from sinwave.pretrained.perceptual import alexnet, blur_kernel, shift_tolerant_alexnet, vgg16
from sinwave.pretrained.published import ALEXNET, INCEPTION, LPIPS_ALEX, LPIPS_VGG, ST_LPIPS_ALEX, VGG16
from sinwave.resize import resize


@pytest.fixture(autouse=True)
def nothing_of_the_user(tmp_path, monkeypatch):
    """No weights, and a cache that is gone afterwards."""
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("SINWAVE_WEIGHTS", raising=False)
    monkeypatch.setitem(sys.modules, ST_LPIPS_ALEX.package.module, None)  # is not found by find_spec
    monkeypatch.chdir(tmp_path)


def photograph(name: str = "astronaut", height: int = 64, width: int = 80, left: int = 100) -> Tensor:
    picture = getattr(data, name)()[60 : 60 + height, left : left + width]
    return torch.from_numpy(picture.copy()).movedim(2, 0)


def save(file: str, picture: Tensor, **text: str) -> Path:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, from_uint8(picture), text=text)
    return path


def from_file(file: str) -> Tensor:
    return to_uint8(read(file, min_side=1).pixels)


def reduced(picture: Tensor) -> Tensor:
    size = (picture.shape[1] // 4, picture.shape[2] // 4)
    return resize(picture[None].double(), size)[0].round().clamp(0, 255).byte()


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[dict, list[str]]:
    """The JSON of a command, and its remarks."""
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    remarks = err.splitlines()
    assert all(line.startswith("sinwave: ") for line in remarks)
    return json.loads(out) if out else {}, remarks


def scores(found: dict, method: str = "samples") -> dict[str, dict]:
    return {score["metric"]: score for score in found["scores"] if score["method"] == method}


@pytest.fixture
def samples() -> list[str]:
    source = photograph()
    save("photo.png", source)
    save("out/photo-0000.png", source)
    save("out/photo-0001.png", photograph(left=110))
    save("out/photo-0002.png", photograph("coffee"))
    for index in (3, 4):
        save(f"out/photo-000{index}.png", photograph(left=110 + 10 * index))
    return ["evaluate", "--source", "photo.png", "--samples", "out"]


def test_samples_are_measured_by_every_metric_that_needs_no_weights(samples, capsys):
    found, remarks = run(capsys, *samples)
    assert not remarks
    assert found["protocol"] == "single"
    each = scores(found)
    assert set(each) == {card.name for card in cards_for("single") if not card.weights and card.default}
    assert all(score["n"] == 5 and score["better"] == CARDS[name].better for name, score in each.items())
    by_file = each["coherence"]["each"]
    assert by_file["photo-0000"] == 0
    assert by_file["photo-0002"] == pytest.approx(coherence(photograph("coffee"), photograph(), stride=4))
    assert each["coherence"]["value"] == pytest.approx(sum(by_file.values()) / 5)
    low, high = each["coherence"]["interval"]
    assert 0 <= low < each["coherence"]["value"] < high
    assert each["copied"]["each"]["photo-0000"] == 1
    assert set(found["unavailable"]) == {"sifid", "lpips_diversity", "st_lpips_diversity", "niqe"}


def test_the_table_shows_the_same(samples, capsys):
    found, _ = run(capsys, *samples)
    assert main(samples) == 0
    out, err = capsys.readouterr()
    for score in found["scores"]:
        (line,) = (line for line in out.splitlines() if line.startswith(f"{CARDS[score['metric']].title} "))
        assert f"{score['value']:.4g}" in line
        assert line.split()[-1] == "5"
    assert "SIFID is unavailable: inception_v3_google-0cc3c7bd.pth" in err


def test_figures_are_kept_by_content_and_code(samples, capsys, monkeypatch):
    first, _ = run(capsys, *samples)
    kept = list(Path("XDG_CACHE_HOME").rglob("*.npy"))
    assert kept
    Path("out/photo-0002.png").rename("out/renamed.png")
    with monkeypatch.context() as broken:
        broken.setattr("sinwave.metrics.patches.wasserstein_by_scale", lambda *pictures, **options: [math.nan] * 3)
        again, _ = run(capsys, *samples)
        anew, _ = run(capsys, *samples, "--anew")
    # What is kept is not computed again, so the broken function was called only when everything was done anew.
    assert sorted(scores(again)["swd"]["each"].values()) == sorted(scores(first)["swd"]["each"].values())
    assert "swd" not in scores(anew)
    for file in kept:
        file.write_bytes(b"no array")
    mended, _ = run(capsys, *samples, "--cache", str(kept[0].parents[1]))
    assert scores(mended) == scores(again)


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(samples, capsys):
    save("out/wide.png", photograph(width=90))
    save("out/tiny.png", photograph(height=8))
    save("out/photo-sheet.png", photograph(), **{"sinwave:picture": "sheet"})
    save("out/photo.png", photograph())
    Path("out/broken.png").write_bytes(Path("photo.png").read_bytes()[:500])
    Path("out/empty.jpg").touch()
    Path("out/notes.txt").write_text("no picture")
    Path("out/folder").mkdir()
    Path("out/folder/photo-0009.png").write_bytes(Path("photo.png").read_bytes())
    found, remarks = run(capsys, *samples)
    text = "\n".join(remarks)
    assert "photo-sheet.png: this is a contact sheet" in text
    assert len([line for line in remarks if "broken.png" in line]) == 1
    assert len([line for line in remarks if "empty.jpg: the file is empty" in line]) == 1
    assert "samples: no swd for tiny: a picture of 80 x 8 is too small" in text
    assert "samples: diversity: tiny is left out: it is 80 x 8, and those of 80 x 64 are measured" in remarks[-2]
    assert "samples: diversity: wide is left out: it is 90 x 64, and those of 80 x 64 are measured" in remarks[-1]
    assert "out: 2 other files or folders were not looked at (" in text
    assert scores(found)["coherence"]["n"] == 8
    assert scores(found)["swd"]["n"] == 7
    assert scores(found)["diversity"]["n"] == 6


def test_metrics_are_chosen_by_name(samples, capsys):
    found, _ = run(capsys, *samples, "--metrics", "coherence,swd", "seam")
    assert set(scores(found)) == {"coherence", "swd", "seam"}
    assert not found["unavailable"]
    found, remarks = run(capsys, *samples, "--metrics", "sifid", "--weights", "out", code=2)
    assert set(scores(found)) == {"diversity", "copied"}  # what likeness never stands without
    assert "inception_v3_google-0cc3c7bd.pth" in found["unavailable"]["sifid"]
    assert "out, " in found["unavailable"]["sifid"]
    assert not remarks
    assert main([*samples, "--metrics", "sifid", "-q"]) == 2  # not even quiet: it was asked for
    assert "SIFID is unavailable" in capsys.readouterr().err
    found, _ = run(capsys, *samples, "--metrics", "musiq", code=2)
    assert "pip install 'sinwave[learned]'" in found["unavailable"]["musiq"]


def test_learned_metrics_are_measured_with_weights(samples, capsys):
    torch.manual_seed(0)
    network = alexnet()
    torch.save({**network.state_dict(), "classifier.6.bias": torch.zeros(1000)}, ALEXNET.file)
    heads = {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate(network.channels)}
    torch.save(heads, LPIPS_ALEX.file)
    found, _ = run(capsys, *samples, "--metrics", "lpips_diversity", "--weights", ".")
    assert scores(found)["lpips_diversity"]["value"] > 0
    assert scores(found)["lpips_diversity"]["n"] == 5


def test_st_lpips_is_measured_with_its_file_under_its_own_name(samples, capsys):
    torch.manual_seed(0)
    network = shift_tolerant_alexnet()
    slices = {0: 1, 1: 1, 4: 2, 5: 2, 8: 3, 9: 3, 11: 4, 13: 5}
    content = {}
    for name, value in network.state_dict().items():
        _, layer, kind = name.split(".")
        content[f"net.slice{slices[int(layer)]}.{layer}.{kind}"] = value
        if kind == "filt":
            assert torch.equal(value, blur_kernel(len(value)))
    content |= {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate(network.channels)}
    content["scaling_layer.shift"] = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    content["scaling_layer.scale"] = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    torch.save(content, ST_LPIPS_ALEX.file)
    found, _ = run(capsys, *samples, "--metrics", "st_lpips_diversity", "--weights", ".")
    assert scores(found)["st_lpips_diversity"]["value"] > 0
    assert "ST-LPIPS" in CARDS["st_lpips_diversity"].title
    found, _ = run(capsys, *restoration(), "--metrics", "st_lpips", "lpips", "--weights", ".", code=2)
    assert scores(found, "ours")["st_lpips"]["value"] > 0
    assert set(found["unavailable"]) == {"lpips"}


def test_niqe_is_fitted_to_good_pictures(samples, capsys):
    for name in ("chelsea", "coffee", "rocket"):
        whole = torch.from_numpy(getattr(data, name)()).movedim(2, 0)
        for index, part in enumerate(piece for strip in whole.split(144, 1) for piece in strip.split(144, 2)):
            save(f"good/{name}-{index}.png", part)
    Path("out/photo-0000.png").unlink()
    save("out/large.png", photograph(height=144, width=192))
    found, remarks = run(capsys, *samples, "--metrics", "niqe", "--niqe", "good")
    assert scores(found)["niqe"]["n"] == 1
    whole = [from_file(f"good/{each.name}") for each in sorted(Path("good").iterdir())]
    model = NaturalModel.fit([each for each in whole if min(each.shape[1:]) >= 48], 48)
    assert scores(found)["niqe"]["value"] == pytest.approx(niqe(from_file("out/large.png"), model))
    small = ", ".join(f"photo-000{index}" for index in (1, 2, 3, 4))
    assert any(f"samples: no niqe for {small}: " in line for line in remarks)
    small = sum(min(each.shape[1:]) < 48 for each in whole)
    assert small
    assert f"sinwave: good: {small} pictures are too small for NIQE, 48 pixels a side" in remarks


def restoration(count: int = 2) -> list[str]:
    for index in range(count):
        truth = photograph(left=40 * index)
        save(f"true/{index}.png", truth)
        save(f"low/{index}.png", reduced(truth))
        noise = torch.randint(-9, 10, truth.shape, generator=torch.Generator().manual_seed(index))
        save(f"ours/{index}.png", (truth.int() + noise).clamp(0, 255).byte())
    return ["evaluate", "--pairs", "low", "true", "ours"]


def test_restored_pictures_stand_beside_bicubic_ones(capsys):
    found, remarks = run(capsys, *restoration())
    assert not remarks
    ours, bicubic = scores(found, "ours"), scores(found, "bicubic")
    assert set(ours) == set(bicubic) == {"psnr_y", "ssim_y", "lr_consistency"}
    assert ours["psnr_y"]["value"] > bicubic["psnr_y"]["value"] + 5
    truth, low = photograph(left=0), reduced(photograph(left=0))
    enlarged = resize(low[None].double(), (64, 80))[0].round().clamp(0, 255).byte()
    assert bicubic["psnr_y"]["each"]["0"] == pytest.approx(psnr_y(enlarged, truth))
    assert bicubic["lr_consistency"]["each"]["0"] == pytest.approx(lr_consistency(enlarged, low))


def test_unpaired_and_resized_pictures_are_named(capsys):
    arguments = restoration(4)
    Path("low/0.png").unlink()
    Path("ours/1.png").unlink()
    Path("ours/2.png").unlink()
    save("ours/2.png", photograph(width=72, left=80))
    save("ours/other.png", photograph())
    found, remarks = run(capsys, *arguments)
    assert remarks == [
        "sinwave: true/0: low has no picture of that name",
        "sinwave: ours/0: there is no pair of pictures of that name",
        "sinwave: ours/other: there is no pair of pictures of that name",
        "sinwave: ours/1: this restored picture is missing",
        "sinwave: ours/2: its size is 72 x 64, that of the true picture 80 x 64",
    ]
    assert set(scores(found, "ours")["psnr_y"]["each"]) == {"3"}
    assert set(scores(found, "bicubic")["psnr_y"]["each"]) == {"1", "2", "3"}


def test_sets_of_pictures_of_many_sizes_are_compared_as_far_as_they_can_be(capsys):
    for index in range(2):
        save(f"real/{index}.png", photograph(left=40 * index))
        save(f"made/{index}.png", photograph("coffee", left=40 * index))
    save("real/tiny.png", photograph(height=20))
    save("made/flat.png", photograph(height=10))
    found, remarks = run(capsys, "evaluate", "--real", "real", "--fake", "made", "--metrics", "set_frechet")
    assert scores(found, "made")["set_frechet"]["n"] == 2
    assert remarks == [
        "sinwave: made: set_frechet: flat is left out: it is 80 x 10, and 28 a side are needed",
        "sinwave: made: set_frechet: tiny is left out: it is 80 x 20, and 28 a side are needed",
    ]


def test_sets_are_compared(capsys):
    for index in range(3):
        save(f"real/{index}.png", photograph(left=40 * index))
        save(f"copied/{index}.png", photograph(left=40 * index))
        save(f"made/{index}.png", photograph("coffee", left=40 * index))
    copied, _ = run(capsys, "evaluate", "--real", "real", "--fake", "copied", "--metrics", "set_frechet")
    made, _ = run(capsys, "evaluate", "--real", "real", "--fake", "made")
    assert scores(copied, "copied")["set_frechet"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores(made, "made")["set_frechet"]["value"] > 0.1
    assert set(made["unavailable"]) >= {"fid", "kid", "intra_lpips", "nearest_lpips"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "one of the three"),
        (["--source", "photo.png"], "belong together"),
        (["--samples", "out"], "belong together"),
        (["--real", "out"], "belong together"),
        (["--source", "photo.png", "--samples", "out", "--real", "out"], "one of the three"),
        (["--pairs", "out", "out"], "takes three folders or more"),
        (["--source", "photo.png", "--samples", "out", "--metrics", "swdd"], "did you mean swd?"),
        (["--source", "photo.png", "--samples", "out", "--metrics", "fid"], "is not one of single"),
        (["--source", "none.png", "--samples", "out"], "none.png: there is no such file"),
        (["--source", "photo.png", "--samples", "none"], "none: there is no such file"),
        (["--source", "photo.png", "--samples", "nothing"], "there is no picture in this folder"),
        (["--pairs", "out", "other", "out"], "there is nothing to compare"),
        (["--source", "photo.png", "--samples", "out", "--niqe", "photo.png"], "photo.png: this is not an .npz file"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_one_sentence(samples, arguments, sentence, capsys):
    Path("nothing").mkdir()
    save("other/else.png", photograph())
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_report_holds_everything_and_asks_no_network(samples, capsys):
    save("others/a.png", photograph(left=90))
    arguments = ["report", "photo.png", "--samples", "out", "--peers", "rough=others"]
    found, _ = run(capsys, *arguments, "-o", "page.html")
    assert found["file"] == "page.html"
    page = Path("page.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=['\"](?!data:)", page)
    assert "http" not in re.sub(r"<li>.*?</li>", "", page)  # where weights are published is text, and no link
    for word in ("photo-0002", "rough", "sliced Wasserstein", "copied area", "<svg", "data:image/png", "unavailable"):
        assert word in page
    assert main([*arguments, "-o", "page.html"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "-o", "page.html", "--overwrite", "-q"]) == 0


def test_a_report_on_one_sample(samples, capsys):
    _, remarks = run(capsys, "report", "photo.png", "--samples", "out/photo-0001.png")
    assert "1 sample of photo.png" in Path("report.html").read_text(encoding="utf-8")
    assert any("diversity is that of two samples" in line for line in remarks)
    assert Path("report.html").exists()


@pytest.mark.parametrize("peers", [["=out"], ["a="], ["a=out", "a=out"], ["samples=out"]], ids=str)
def test_peers_have_names_of_their_own(samples, peers, capsys):
    assert main(["report", "photo.png", "--samples", "out", "--peers", *peers]) == 2
    assert "NAME=PATH" in (err := capsys.readouterr().err) or "one name" in err


def test_a_generated_folder_is_measured_without_its_sheet(capsys):
    source = photograph(height=32, width=40)
    save("photo.png", source)
    assert main(["generate", "photo.png", "-n", "2", "-o", "new", "-q"]) == 0
    capsys.readouterr()
    found, remarks = run(capsys, "evaluate", "--source", "photo.png", "--samples", "new", "--metrics", "swd")
    assert scores(found)["swd"]["n"] == 2
    assert len(remarks) == 1
    assert np.isfinite(scores(found)["swd"]["value"])


def test_samples_of_equal_names_are_all_measured(samples, capsys):
    save("more/photo-0001.png", photograph(left=200))
    write(Path("more/photo-0001.webp"), from_uint8(photograph(left=210)))
    found, remarks = run(capsys, *samples[:-1], "out", "more", "--metrics", "swd")
    assert not remarks
    assert set(scores(found)["swd"]["each"]) >= {"photo-0001", "photo-0001.png", "photo-0001.webp"}
    assert scores(found)["swd"]["n"] == 7


def test_methods_of_equal_names_stay_apart(capsys):
    arguments = restoration()
    for place in ("a/ours", "b/ours"):
        for index in range(2):
            save(f"{place}/{index}.png", photograph(left=40 * index))
    found, _ = run(capsys, *arguments, "a/ours", "b/ours", "b/ours", "--metrics", "psnr_y")
    methods = [score["method"] for score in found["scores"]]
    assert methods[:4] == ["bicubic", "ours", "a/ours", "b/ours"]
    assert len(set(methods)) == 5
    assert scores(found, "a/ours")["psnr_y"]["value"] == "inf"


def test_low_pictures_of_other_proportions_are_named(capsys):
    arguments = restoration()
    Path("low/1.png").unlink()
    save("low/1.png", photograph(height=16, width=16))
    found, remarks = run(capsys, *arguments)
    assert remarks[0] == "sinwave: low/1: it has other proportions than the true picture"
    assert scores(found, "ours")["psnr_y"]["n"] == 1


def test_what_a_picture_is_not_taken_as_is_said(samples, capsys):
    clear = np.full((64, 80, 4), 255, np.uint8)
    clear[:32, :, 3] = 0
    Image.fromarray(clear).save("out/clear.png")
    frames = [Image.new("RGB", (80, 64), color) for color in ("red", "blue")]
    frames[0].save("out/moving.gif", save_all=True, append_images=frames[1:])
    _, remarks = run(capsys, *samples, "--metrics", "coherence")
    assert any("moving.gif: " in line and "first" in line for line in remarks)
    (line,) = (line for line in remarks if "clear.png" in line)
    assert "of the picture is transparent and is measured as the mean color of the rest" in line


def test_file_names_can_do_no_harm(samples, capsys):
    for name in ("<b>x&y'\"onerror=1", "two\nlines\x1b[31m", "of \udcff bytes"):
        try:
            Path("out", f"{name}.png").write_bytes(Path("photo.png").read_bytes())
            Path("out", f"{name}.jpg").write_bytes(b"no picture")
        except (OSError, UnicodeError):
            pytest.skip("this file system has no such names")
    assert main(["report", "photo.png", "--samples", "out"]) == 0
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert all(line.startswith("sinwave: ") for line in err.splitlines())
    page = Path("report.html").read_text(encoding="utf-8")
    assert "<b>x" not in page
    assert "&lt;b&gt;x&amp;y" in page


def test_small_samples_are_no_reason_for_no_report(samples, capsys):
    save("out/tiny.png", photograph(height=5))
    save("others/a.png", photograph(height=4, width=4))
    _, remarks = run(capsys, "report", "photo.png", "--samples", "out", "--peers", "small=others")
    assert any("samples: no coherence or copied or offsets for tiny" in line for line in remarks)
    assert Path("report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "photo.png", "--overwrite"], "this is read here"),
        (["-o", "out/photo-0001.png", "--overwrite"], "this is read here"),
        (["--weights", "kept", "-o", "kept/alex.pth", "--overwrite"], "this is read here"),
        (["-o", "nowhere/page.html"], "the folder nowhere does not exist"),
        (["-o", "out"], "this is a folder"),
        (["--weights", "nowhere"], "nowhere: there is no such folder of weights"),
        (["--niqe", "nowhere"], "nowhere: cannot be read"),
        (["--niqe", "out"], "a natural model needs more than 36"),
        (["--cache", "photo.png"], "a file of that name is in the way"),
        (["--device", "abacus"], "device abacus cannot compute in float32 here"),
        (["--cache", "kept", "--anew"], "exclude each other"),
    ],
    ids=str,
)
def test_a_report_that_cannot_be_is_refused_at_once(samples, arguments, sentence, capsys, monkeypatch):
    monkeypatch.setattr("sinwave.metrics.evaluate.evaluate", None)  # would fail, were anything measured
    before = Path("photo.png").read_bytes()
    Path("kept").mkdir()
    Path("kept/alex.pth").touch()
    assert main(["report", "photo.png", "--samples", "out", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert Path("photo.png").read_bytes() == before


def test_damaged_weights_make_a_metric_unavailable(samples, capsys):
    for file in (ALEXNET.file, "inception_v3_google-0cc3c7bd.pth"):
        Path(file).write_bytes(b"half a download")
    found, remarks = run(capsys, *samples, "--weights", ".")
    assert "cannot be read as weights" in found["unavailable"]["sifid"]
    assert "cannot be read as weights" in found["unavailable"]["lpips_diversity"]
    assert not remarks
    run(capsys, *samples, "--weights", ".", "--metrics", "lpips_diversity", code=2)


@pytest.mark.slow
def test_a_set_of_few_pictures_is_measured_as_far_as_that_goes(capsys):
    torch.manual_seed(0)
    for build, file in ((Inception, INCEPTION.file), (vgg16, VGG16.file)):
        torch.save(build().state_dict(), file)
    channels = vgg16().channels
    torch.save({f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate(channels)}, LPIPS_VGG.file)
    for index in range(3):
        save(f"real/{index}.png", photograph(left=40 * index))
    save("made/a.png", photograph("coffee"))
    save("made/b.png", photograph(left=81))
    arguments = ["evaluate", "--real", "real", "--fake", "made", "--weights", "."]
    found, remarks = run(capsys, *arguments)
    assert set(scores(found, "made")) == {"fid", "kid", "set_frechet", "nearest_lpips"} | (
        {"intra_lpips"} if "intra_lpips" in scores(found, "made") else set()
    )
    assert any("fid: of 2 and 3 pictures, so few that" in line for line in remarks)
    again, _ = run(capsys, *arguments, "--metrics", "kid")
    assert scores(again, "made")["kid"] == scores(found, "made")["kid"]


def test_a_user_without_a_home_has_a_cache_too(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder("linux", {}).is_absolute()


def test_a_file_that_is_named_twice_counts_once(samples, capsys):
    found, remarks = run(capsys, *samples, "out/photo-0001.png", "--metrics", "diversity")
    assert scores(found)["diversity"]["n"] == 5
    assert remarks == ["sinwave: out/photo-0001.png: this file was named twice and is taken once"]


def test_no_figure_is_made_up_where_there_is_none(samples, capsys):
    save("flat.png", torch.full((3, 64, 80), 90, dtype=torch.uint8))
    save("small/crop.png", photograph()[:, :23, :23])
    small = [*samples[:3], "--samples", "small", "--metrics"]
    found, remarks = run(capsys, *small, "copied", "coherence", code=2)
    assert set(scores(found)) == {"coherence"}
    assert remarks == [
        "sinwave: samples: no copied for crop: copies are squares of 24 pixels, "
        "and the sample or the source has a shorter side"
    ]
    flat = ["evaluate", "--source", "flat.png", "--samples", "out", "--metrics"]
    found, remarks = run(capsys, *flat, "copied", "coherence", code=2)
    assert scores(found)["copied"]["value"] == 0
    assert "coherence" not in scores(found)
    assert "the source has one color only" in remarks[0]


def test_a_report_on_specks_has_no_curves(samples, capsys):
    save("specks/a.png", photograph(height=5))
    run(capsys, "report", "photo.png", "--samples", "specks")
    assert "No sample has 7 pixels a side." in Path("report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"PK\3\4 no archive", b"\x93NUMPY\1\0v\0 no header", b""], ids=str)
def test_damaged_files_of_the_cache_cost_time_only(samples, content, capsys):
    arguments = [*samples, "--metrics", "swd", "--cache", "kept"]
    first, _ = run(capsys, *arguments)
    for file in Path("kept").rglob("*.npy"):
        file.write_bytes(content)
    again, remarks = run(capsys, *arguments)
    assert scores(again) == scores(first)
    assert not remarks


def test_pictures_without_a_part_in_intra_lpips_are_named_and_not_counted(capsys):
    torch.manual_seed(0)
    torch.save(vgg16().state_dict(), VGG16.file)
    heads = {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate(vgg16().channels)}
    torch.save(heads, LPIPS_VGG.file)
    save("real/a.png", photograph())
    save("real/b.png", photograph("coffee"))
    for index, picture in enumerate((photograph(left=101), photograph(left=102), photograph("coffee", left=101))):
        save(f"made/{index}.png", picture)
    save("made/wide.png", photograph(width=90))
    arguments = ["evaluate", "--real", "real", "--fake", "made", "--weights", ".", "--metrics"]
    found, remarks = run(capsys, *arguments, "intra_lpips")
    assert scores(found, "made")["intra_lpips"]["n"] == 2
    assert remarks == [
        "sinwave: made: intra_lpips: wide is left out: it is 90 x 64, and the real ones are 80 x 64",
        "sinwave: made: intra_lpips: nearest to each real picture are 2 1 of the generated ones",
    ]
    _, remarks = run(capsys, *arguments, "intra_lpips", "nearest_lpips")
    assert len([line for line in remarks if "wide" in line]) == 1
