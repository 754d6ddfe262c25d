"""`sinwave train` as users run it, small: what it writes, how it goes on, and what it refuses."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sinwave.atomic import locked
from sinwave.cli import main
from sinwave.errors import InputError, Stop
from sinwave.images import from_uint8, probe, read, write
from sinwave.rng import NoiseSource
from sinwave.systems.files import read_manifest, read_model
from sinwave.systems.wavelet.options import Options
from sinwave.tasks.base.machine import check_memory, device_memory
from sinwave.tasks.train import Train
from sinwave.training.averages import Averages
from sinwave.training.hooks import Pace

SMALL = ["--width", "8", "--receptive-field", "9", "--precision", "float32", "-q"]


@pytest.fixture
def picture(tmp_path):
    rows = torch.linspace(-1, 1, 28)[:, None].expand(28, 32)
    image = torch.stack([rows, rows.T[:28, :1] * rows, -rows])
    write(tmp_path / "photo.png", (0.8 * image + 0.1 * NoiseSource(0).normal((3, 28, 32))).clamp(-1, 1))
    return tmp_path / "photo.png"


def train(*arguments):
    return main(["train", *map(str, arguments), *SMALL])


def weights_of(path):
    model = read_model(path)
    return hashlib.sha256(b"".join(model.weights[name].numpy().tobytes() for name in sorted(model.weights))).hexdigest()


def test_it_writes_a_model_that_draws(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(picture, "--steps", 12, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["steps"], told["receptive_field"], told["kept"]) == ("photo.safetensors", 12, 9, False)
    assert probe(told["samples"]).format == "PNG"
    log = [json.loads(line) for line in Path("photo.run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [10, 12]
    assert log[-1]["held_out"]["loss"] == pytest.approx(told["loss"], rel=1e-4)
    assert list(Path("photo.run").glob("events.out.tfevents.*"))
    manifest = read_manifest(tmp_path / "photo.safetensors")
    assert manifest.provenance["finished"]
    assert manifest.provenance["pictures"] == [hashlib.sha256(picture.read_bytes()).hexdigest()]
    for engine in ("network", "hybrid", "closed-form"):
        command = [
            "generate",
            "photo.safetensors",
            "-n",
            "2",
            "--size",
            "28x23",
            "--engine",
            engine,
            "-o",
            engine,
            "-q",
        ]
        assert main(command) == 0
        assert read(tmp_path / engine / "photo-0001.png").size == (23, 28)
    capsys.readouterr()
    assert main(["info", "photo.safetensors", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["system"], told["receptive_field"], told["steps"]) == ("wavelet", 9, 12)
    assert main(["info", "photo.safetensors"]) == 0
    assert "receptive field" in capsys.readouterr().out


def test_the_closed_form_of_a_model_is_that_of_its_picture(picture, tmp_path):
    assert train(picture, "--steps", 1, "-o", tmp_path / "m.safetensors") == 0
    for source in (picture, tmp_path / "m.safetensors"):
        assert (
            main(["generate", str(source), "-n", "1", "--engine", "closed-form", "-o", str(tmp_path / "out"), "-q"])
            == 0
        )
    assert torch.equal(read(tmp_path / "out/photo-0000.png").pixels, read(tmp_path / "out/m-0000.png").pixels)


def test_the_same_command_has_nothing_left_to_do(picture, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    assert train(picture, "--steps", 3, "-o", model) == 0
    before = model.read_bytes()
    capsys.readouterr()
    assert train(picture, "--steps", 3, "-o", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["kept"]
    assert model.read_bytes() == before
    assert train(picture, "--steps", 4, "-o", model) == 2
    assert "another file of that name exists; --overwrite" in capsys.readouterr().err
    assert train(picture, "--steps", 4, "-o", model, "--overwrite") == 0
    assert read_manifest(model).provenance["steps"] == 4


def test_the_seed_decides(picture, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert train(picture, "--steps", 3, "--seed", seed, "-o", tmp_path / f"{name}.safetensors") == 0
    a, b, c = (weights_of(tmp_path / f"{name}.safetensors") for name in "abc")
    assert a == b != c


def test_several_pictures_make_one_model(picture, tmp_path, capsys):
    other = tmp_path / "other.png"
    write(other, -read(picture).pixels[:, 3:23, 2:25])
    model = tmp_path / "both.safetensors"
    assert train(picture, other, "--steps", 3, "-o", model) == 0
    assert len(read_model(model).pictures) == 2
    assert main(["generate", str(model), "-n", "1", "-o", str(tmp_path), "-q"]) == 0
    assert main(["generate", str(model), "-n", "1", "--engine", "hybrid", "-o", str(tmp_path / "h")]) == 2
    assert "this model has no engine hybrid; it has network" in capsys.readouterr().err


def test_transparent_and_gray_pictures_train(tmp_path):
    values = (torch.rand(3, 24, 28, generator=torch.Generator().manual_seed(0)) * 255).byte()
    colors = from_uint8(values)
    opacity = torch.ones(1, 24, 28)
    opacity[:, :, 18:] = -1
    write(tmp_path / "holes.png", torch.cat([colors, opacity]))
    write(tmp_path / "gray.png", colors[:1].expand(3, -1, -1), gray=True)
    for name in ("holes", "gray"):
        assert train(tmp_path / f"{name}.png", "--steps", 2, "-o", tmp_path / f"{name}.safetensors") == 0
        assert main(["generate", str(tmp_path / f"{name}.safetensors"), "-n", "1", "-o", str(tmp_path), "-q"]) == 0
    assert probe(tmp_path / "gray-0000.png").mode == "L"


def test_minutes_become_steps(picture, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    assert main(["train", str(picture), "--minutes", "0.05", "-o", str(model), *SMALL[:-1]]) == 0
    assert "steps a second" in capsys.readouterr().err
    known = read_manifest(model).provenance
    assert known["finished"]
    assert known["steps"] == known["stop"] > 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "0"], "steps must be"),
        (["--steps", "5", "--minutes", "1"], "exclude each other"),
        (["--minutes", "nan"], "minutes must be"),
        (["-o", "model.pt"], "ends in .safetensors"),
        (["--receptive-field", "12"], "for instance 11 or 13, not 12"),
        (["--preset", "slow"], "one of fast, reference"),
        (["--width", "4"], "width must be"),
    ],
)
def test_bad_options_end_in_a_sentence(arguments, sentence, picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(picture), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("*.run"))


def test_bad_pictures_and_places_end_in_a_sentence(picture, tmp_path, capsys):
    assert main(["train"]) == 2
    assert "PICTURE is missing" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "none.png")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "m.run").write_text("a file")
    assert train(picture, "--steps", 1, "-o", tmp_path / "m.safetensors") == 2
    assert "a file of that name is in the way" in capsys.readouterr().err


def test_a_picture_has_no_network(picture, tmp_path, capsys):
    assert main(["generate", str(picture), "--engine", "network", "-o", str(tmp_path)]) == 2
    assert "needs a model file; 'sinwave train" in capsys.readouterr().err


def test_a_damaged_model_is_named(picture, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    assert train(picture, "--steps", 1, "-o", model) == 0
    data = model.read_bytes()
    model.write_bytes(data[:-9])
    assert main(["generate", str(model), "-o", str(tmp_path)]) == 2
    assert "m.safetensors: the model file is damaged or cut off" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_at_random_moments_the_model_is_the_same(picture, tmp_path, monkeypatch):
    straight, killed = tmp_path / "straight.safetensors", tmp_path / "killed.safetensors"
    assert train(picture, "--steps", 400, "-o", straight) == 0
    command = [sys.executable, "-c", KILLED, str(picture), str(killed)]
    chance, environment = random.Random(1), os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(10):
        process = subprocess.Popen(command, env=environment)
        time.sleep(chance.uniform(2.0, 5.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if killed.exists():
            read_model(killed)
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert weights_of(killed) == weights_of(straight)


KILLED = """
import sys
import torch
torch.set_num_threads(1)
from sinwave.cli import main
from sinwave.training import checkpoint
saver = checkpoint.Saver
checkpoint.Saver = lambda *places, **settings: saver(*places, **settings | {"seconds": 0.2})
picture, model = sys.argv[1:]
options = "--width 8 --receptive-field 9 --precision float32 -q --steps 400 --samples-every 50".split()
sys.exit(main(["train", picture, "-o", model, *options]))
"""


def test_options_are_read_in_python_too(picture, tmp_path):
    options = Options(width=8, receptive_field=9, precision="float32")
    result = Train(pictures=(picture,), output=tmp_path / "m.safetensors", steps=2, options=options).run()
    assert (result.steps, result.receptive_field) == (2, 9)


# What must not be lost, or happen twice


def test_two_trainings_in_one_folder_are_kept_apart(picture, tmp_path, capsys):
    model, folder = tmp_path / "m.safetensors", tmp_path / "m.run"
    folder.mkdir()
    program = f"""
import sys, time
from pathlib import Path
from sinwave.atomic import locked
with locked(Path({str(folder / "lock")!r})) as free:
    print(free, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        for options in ([], ["--overwrite"]):
            assert train(picture, "--steps", 2, "-o", model, *options) == 2
            assert f"{folder}: another training is at work in this folder" in capsys.readouterr().err
        assert not model.exists()
        other.kill()
    assert train(picture, "--steps", 2, "-o", model) == 0
    with locked(folder / "lock") as free:
        assert free


def pressing_ctrl_c(monkeypatch, step, times=1):
    """Interrupt in the middle of a step: its weights have moved, and their averages have not."""
    update = Averages.update

    def interrupted(averages, number):
        if number == step:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        update(averages, number)

    monkeypatch.setattr(Averages, "update", interrupted)


@pytest.mark.parametrize("system", ["wavelet", "singan"])
@pytest.mark.parametrize(("times", "continued"), [(1, 5), (2, None)])
def test_ctrl_c_saves_a_whole_step_and_a_second_one_ends_at_once(
    system, times, continued, picture, tmp_path, capsys, monkeypatch
):
    straight, cut = tmp_path / "straight.safetensors", tmp_path / "cut.safetensors"
    options = [
        "--steps",
        "4" if system == "singan" else "12",
        "--system",
        system,
        *(AUTO if system == "wavelet" else ()),
    ]
    command = ["train", str(picture), *options, "-o"]
    assert main([*command, str(straight)]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patched:
        pressing_ctrl_c(patched, 5, times)
        assert main([*command, str(cut)]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sinwave: interrupted"
    assert not cut.exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main([*command, str(cut)]) == 0
    assert (f"going on from step {continued}" in capsys.readouterr().err) == (continued is not None)
    assert weights_of(cut) == weights_of(straight)


AUTO = ["--width", "8", "--receptive-field", "9", "--precision", "float32"]


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_a_callback_may_end_a_training_that_then_goes_on(error, picture, tmp_path):
    options = Options(width=8, receptive_field=9, precision="float32")
    straight, cut = (
        Train(pictures=(picture,), output=tmp_path / f"{name}.safetensors", steps=12, options=options)
        for name in ("straight", "cut")
    )
    straight.run()

    def on_progress(label, done, total):
        if label.startswith("step 7 "):
            raise error

    with pytest.raises(error):
        cut.run(on_progress)
    assert not cut.target.exists()
    assert cut.run().events == ("going on from step 7",)
    assert weights_of(cut.target) == weights_of(straight.target)
    for training in (straight, cut):
        lines = (training.run_folder / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [10, 12]


def test_a_damaged_plan_is_refused_or_measured_anew_aloud(picture, tmp_path, capsys, monkeypatch):
    model, plan = tmp_path / "m.safetensors", tmp_path / "m.run/plan.json"
    measured = []

    def fastest(start, settings, on_try):
        measured.append(precisions.pop(0))
        return replace(settings, precision=measured[-1])

    precisions = ["float32", "bfloat16"]
    monkeypatch.setattr("sinwave.systems.wavelet.train.fastest", fastest)
    command = ["train", str(picture), "-o", str(model), "--width", "8", "--receptive-field", "9", "--steps"]
    with monkeypatch.context() as patched:
        patched.setattr(Averages, "update", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*command, "9"]) == 130
    first = plan.read_bytes()
    plan.write_bytes(first.replace(b"float32", b"bfloat1"))
    with monkeypatch.context() as patched:
        pressing_ctrl_c(patched, 4)
        assert main([*command, "9"]) == 130
    assert "plan.json: the plan was damaged, so it is measured anew" in capsys.readouterr().err
    assert measured == ["float32", "bfloat16"]
    second = plan.read_bytes()
    for damage, sentence in (
        (first, "the training was begun with settings"),  # whole, but of another precision than the state
        (second[:-5], "plan.json: the plan of the training here is damaged or missing; --overwrite begins anew"),
        (b"[]", "damaged or missing"),
        (b"[" * 99_999, "damaged or missing"),
        (second.replace(b"bfloat16", b"float32"), "damaged or missing"),
        (None, "damaged or missing"),
    ):
        plan.unlink() if damage is None else plan.write_bytes(damage)
        assert main([*command, "9"]) == 2
        assert sentence in capsys.readouterr().err
    plan.write_bytes(second)
    assert main([*command, "8"]) == 2
    assert "plan.json: the training was begun with steps 9, not 8; --overwrite begins anew" in capsys.readouterr().err
    assert main([*command, "9"]) == 0
    assert read_manifest(model).options["precision"] == "bfloat16"


def test_the_plan_of_another_training_that_never_began_is_not_followed(picture, tmp_path, capsys):
    model = tmp_path / "m.safetensors"
    (tmp_path / "m.run").mkdir()
    content = {"fingerprint": {}, "plan": {"iterations": 9_999}}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (tmp_path / "m.run/plan.json").write_text(json.dumps({**content, "sha256": digest}))
    assert main(["train", str(picture), "--system", "singan", "--minutes", "0.05", "-o", str(model), "-q"]) == 0
    assert json.loads((tmp_path / "m.run/plan.json").read_text())["plan"]["iterations"] < 9_999


def test_too_few_minutes_are_named_before_and_after(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Pace, "steps_a_second", lambda *_: 2.0)
    monkeypatch.setattr("sinwave.systems.singan.train._iterations", lambda *_: 3)
    for system, options, enough in (("wavelet", AUTO, 700), ("singan", [], 1621)):
        model = tmp_path / f"{system}.safetensors"
        command = ["train", str(picture), "--system", system, "-o", str(model), *options]
        assert main([*command, "--minutes", "0.05"]) == 0
        steps, lines = read_manifest(model).provenance["steps"], capsys.readouterr().err.splitlines()
        sentence = f"sinwave: {steps} of {enough} steps: what the network alone draws will be noise"
        assert lines.count(sentence) == 2
        assert lines[-1] == sentence
        assert main([*command, "--steps", "3", "--overwrite"]) == 0
        assert "will be noise" not in capsys.readouterr().err  # as was asked


def test_a_gpu_is_judged_by_its_own_memory(monkeypatch):
    monkeypatch.setattr("sinwave.tasks.base.machine.os.sysconf", {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 10**6}.get)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(2e9), int(80e9)))
    cpu, cuda, mps = (torch.device(name) for name in ("cpu", "cuda", "mps"))
    assert [device_memory(device) for device in (cpu, cuda, mps)] == [1e9, 80e9, None]
    check_memory("training", 50e9, cuda)
    check_memory("training", 500e9, mps)
    with pytest.raises(InputError, match="training needs about 90 GB of memory, and the device cuda has 80"):
        check_memory("training", 90e9, cuda)
    with pytest.raises(InputError, match="needs about 50 GB of memory, and this machine has 1; train less"):
        check_memory("training", 50e9, cpu, "train less")
