"""The model file: what goes in comes out, damage is seen, nothing runs."""

import json
import os
import pickle
import struct
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from sinwave.errors import InputError, OutputError
from sinwave.systems import table
from sinwave.systems.files import Base, ModelFile, read_manifest, read_model, write_model
from sinwave.systems.singan.options import Configuration

WEIGHTS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.tensor([1.5], dtype=torch.bfloat16),
    "count": torch.tensor(3),
    "empty": torch.zeros(0, 4),
}
MODEL = ModelFile("wavelet", {"levels": 3}, {"seed": 7}, WEIGHTS, (b"\x89PNG one", b"\x89PNG two"))


@pytest.fixture
def file(tmp_path):
    write_model(tmp_path / "m.safetensors", MODEL)
    return tmp_path / "m.safetensors"


def test_what_goes_in_comes_out(file):
    found = read_model(file)
    assert (found.system, found.options, found.provenance) == ("wavelet", {"levels": 3}, {"seed": 7})
    assert found.pictures == MODEL.pictures
    assert found.weights.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert found.weights[name].dtype == tensor.dtype
        assert torch.equal(found.weights[name], tensor)
    assert read_manifest(file).parameters == 8


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(options=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_options_survive(tmp_path_factory, options):
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    write_model(path, ModelFile("wavelet", options, {}, {}, ()))
    assert read_manifest(path).options == options


def test_the_same_model_gives_the_same_bytes(file, tmp_path):
    turned = ModelFile("wavelet", {"levels": 3}, {"seed": 7}, dict(reversed(WEIGHTS.items())), MODEL.pictures)
    write_model(tmp_path / "n.safetensors", turned)
    assert (tmp_path / "n.safetensors").read_bytes() == file.read_bytes()


def test_the_manifest_is_read_without_torch(file):
    code = f"""
import sys
from pathlib import Path
from sinwave.systems.files import read_manifest
from sinwave.systems.table import is_model_file
assert is_model_file(Path({str(file)!r}))
read_manifest(Path({str(file)!r}))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_overwritten_unless_asked(file):
    before = file.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_model(file, ModelFile("wavelet", {}, {}, {}, ()))
    assert file.read_bytes() == before
    write_model(file, ModelFile("wavelet", {}, {}, {}, ()), overwrite=True)
    assert read_model(file).weights == {}


def with_manifest(changes, weights=None):
    tensors = {"w": torch.ones(2)} if weights is None else weights
    manifest = {"schema": 1, "system": "wavelet", "options": {}, "provenance": {}, "sha256": "0"} | changes
    return save(tensors, {"sinwave": json.dumps(manifest)})


def flipped(data):
    """One bit of the last weight is another."""
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


class Evil:
    path = ""

    def __reduce__(self):
        return (open, (self.path, "w"))


HOSTILE = {
    "empty": (lambda data: b"", "the file is empty"),
    "picture": (lambda data: b"\x89PNG\r\n\x1a\n" + bytes(100), "not a model file"),
    "short": (lambda data: data[:5], "not a model file"),
    "header cut": (lambda data: data[:60], "not a model file"),
    "data cut": (lambda data: data[:-5], "damaged or cut off"),
    "absurd header": (lambda data: struct.pack("<Q", 2**60) + data[8:], "not a model file"),
    "no json": (lambda data: struct.pack("<Q", 20) + b"{" * 40, "damaged"),
    "a list": (lambda data: struct.pack("<Q", 2) + b"[]", "damaged"),
    "flipped bit": (flipped, "it is not what was written"),
    "foreign": (lambda data: save({"lora.up": torch.ones(1)}, {"format": "pt"}), r"another program .*lora\.up"),
    "newer": (lambda data: with_manifest({"schema": 3}), r"newer sinwave \(schema 3, this one reads up to 1\)"),
    "no system": (lambda data: with_manifest({"system": None}), "manifest of the model is damaged"),
    "options": (lambda data: with_manifest({"options": [1]}), "manifest of the model is damaged"),
    "nested": (lambda data: struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995, "damaged"),
    "other options": (lambda data: data.replace(b'levels\\": 3', b'levels\\": 4'), "it is not what was written"),
    "checksum": (lambda data: with_manifest({}), "it is not what was written"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_file_ends_in_a_sentence(name, file):
    spoil, sentence = HOSTILE[name]
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError, match=sentence) as caught:
        read_model(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_no_file_and_a_folder(tmp_path):
    for name, sentence in (("none", "no such file"), ("", "folder")):
        with pytest.raises(InputError, match=sentence):
            read_model(tmp_path / name)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(InputError, match="the weights w hold NaN"):
        write_model(tmp_path / "m", ModelFile("wavelet", {}, {}, {"w": torch.tensor([1.0, float("nan")])}, ()))
    assert not (tmp_path / "m").exists()


def test_a_pipe_is_no_model_and_is_not_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    os.mkfifo(tmp_path / "pipe")
    assert not table.is_model_file(tmp_path / "pipe")


def test_a_pickle_does_not_run(tmp_path):
    evil = Evil()
    evil.path = str(tmp_path / "ran")
    (tmp_path / "evil.safetensors").write_bytes(pickle.dumps(evil))
    with pytest.raises(InputError):
        read_model(tmp_path / "evil.safetensors")
    assert not (tmp_path / "ran").exists()


def test_a_model_is_told_from_a_picture_by_its_content(file, tmp_path):
    assert table.is_model_file(file)
    (tmp_path / "p.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    assert not table.is_model_file(tmp_path / "p.safetensors")
    assert not table.is_model_file(tmp_path / "missing")
    assert not table.is_model_file(tmp_path)


def test_adapters_name_the_weights_that_they_belong_to(tmp_path):
    base = Base("someone/diffusion-1", "main", "0" * 64)
    model = ModelFile("pairs", {}, {}, WEIGHTS, base=base)
    write_model(tmp_path / "m.safetensors", model)
    assert read_manifest(tmp_path / "m.safetensors").base == read_model(tmp_path / "m.safetensors").base == base
    data = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(data.replace(b"diffusion-1", b"diffusion-2"))
    with pytest.raises(InputError, match="it is not what was written"):
        read_model(tmp_path / "m.safetensors")
    for wrong in ({"id": "x"}, {"id": 1, "revision": "", "sha256": ""}, []):
        (tmp_path / "w.safetensors").write_bytes(with_manifest({"base": wrong}))
        with pytest.raises(InputError, match="manifest of the model is damaged"):
            read_model(tmp_path / "w.safetensors")


WRONG = [
    ("wavelet", {"width": 100_000}, "width must be between 1 and 4096, not 100000"),
    ("wavelet", {"width": "72"}, "width must be a whole number, not '72'"),
    ("wavelet", {"width": 72.0}, "width must be a whole number"),
    ("wavelet", {"guided": 1}, "guided must be true or false, not 1"),
    ("wavelet", {"progression": ["levels"]}, "progression must be text"),
    ("wavelet", {"levels": None}, "levels must be a whole number"),
    ("wavelet", {"levels": 10**30}, "levels must be between 1 and 24"),
    ("wavelet", {"answers": "both"}, "answers must be one of clean, noise"),
    ("wavelet", {"high": float("nan")}, "high must be"),
    ("wavelet", {"high": 0.001}, "low must be at most high and start"),
    ("wavelet", {"precision": "float8"}, "precision must be one of"),
    ("wavelet", {"colour": 3}, "there is no option 'colour'"),
    ("singan", {"width": 10**9}, "width must be between 1 and 4096"),
    ("singan", {"factor": True}, "factor must be a number, not True"),
    ("singan", {"least": {}}, "least must be a whole number"),
    ("singan", {"own": -1}, "instance norm scales must be between 0"),
]


@pytest.mark.parametrize(("system", "options", "sentence"), WRONG)
def test_options_of_a_wrong_type_or_size_are_refused_in_a_sentence(system, options, sentence, tmp_path):
    write_model(tmp_path / "m.safetensors", ModelFile(system, options, {}, WEIGHTS, (b"\x89PNG one",)))
    with pytest.raises(InputError, match=sentence):
        table.load(tmp_path / "m.safetensors")


def test_an_absurd_network_is_refused_before_it_is_allocated(tmp_path):
    """With these options the weights are 50 GB."""
    options = {"width": 4096, "blocks": 64}
    write_model(tmp_path / "m.safetensors", ModelFile("wavelet", options, {}, WEIGHTS, (b"\x89PNG one",)))
    code = f"""
import resource
from pathlib import Path
from sinwave.errors import InputError
from sinwave.systems import table, wavelet
import sinwave.systems.wavelet.network
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    table.load(Path({str(tmp_path / "m.safetensors")!r}))
except InputError as error:
    print(error)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "the weights do not fit the options of the model (blocks.0.first.bias is missing in the file" in run.stdout


def test_options_of_older_files_have_new_names():
    old = {"width": 16, "own": 3, "together": 2}
    assert Configuration.from_json(old) == Configuration(width=16, instance_norm_scales=3, concurrent_stages=2)
