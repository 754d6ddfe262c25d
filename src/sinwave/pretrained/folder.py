"""A folder of published weights in the layout of diffusers, which is only read: nothing is downloaded.

    model_index.json                    names the pipeline, such as `LDMSuperResolutionPipeline`
    scheduler/scheduler_config.json     the noise levels of the training
    unet/, vae/, ...                    config.json and the weights as safetensors

A folder is sought where other published weights are, and then where the hub's own client keeps downloads. A file in
another format than safetensors is not read, since reading a pickle may run code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sinwave.errors import InputError, MissingError, one_line
from sinwave.pretrained.files import cache_folder

__all__ = ["Json", "check_pipeline", "config", "find_folder", "weights"]

Json: TypeAlias = Mapping[str, Any]

_NETWORK = "diffusion_pytorch_model.safetensors"
_MOST_JSON = 1 << 16
"""Bytes of a configuration: those published have less than 10,000."""


def find_folder(what: str, ids: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> Path:
    """Find a folder of one of the hub's `ids`; a `MissingError` lists where it was sought, and where it is from."""
    names = [id.partition("/")[2] for id in ids]
    own = environment.get("SINWAVE_WEIGHTS")
    homes = [Path(own).expanduser()] if own else []
    homes.append(cache_folder(environment=environment) / "sinwave" / "weights")
    places = [home / name for home in homes for name in dict.fromkeys(names)]
    downloads = [_hub(environment) / f"models--{id.replace('/', '--')}" for id in ids]
    places += [place for folder in downloads for place in _snapshot(folder)]
    for place in places:
        if (place / "model_index.json").is_file():
            return place
    sought = ", ".join(str(place) for place in dict.fromkeys([*places, *downloads]))
    urls = " or ".join(f"https://huggingface.co/{id}" for id in ids)
    raise MissingError(
        f"{what} with model_index.json is not at {sought}: put the folder from {urls} (its license is there), saved as "
        f"safetensors, into $SINWAVE_WEIGHTS/{names[0]}"
    )


def check_pipeline(folder: Path, needed: str, user: str) -> None:
    """Refuse a folder that holds another pipeline than `user`, a task or a system, has use for."""
    name = _json(folder / "model_index.json").get("_class_name")
    if name != needed:
        raise InputError(f"{folder} holds a {one_line(str(name))}, and {user} has use for a {needed} only")


def config(folder: Path, part: str, *classes: str) -> Json:
    """Read the configuration of a part, which must be of one of these classes."""
    file = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    content = _json(file)
    names = [content.get("_class_name"), *_listed(content.get("architectures"))]
    if not set(classes) & {name for name in names if isinstance(name, str)}:
        name = one_line(str(next((name for name in names if name is not None), None)))
        raise InputError(f"{file}: the {part} is a {name}, and it must be a {' or '.join(classes)}")
    return content


def weights(folder: Path, part: str, name: str = _NETWORK) -> Path:
    """The file of a part's weights."""
    file = folder / part / name
    if file.is_file():
        return file
    others = ", ".join(sorted(path.name for path in file.parent.glob("*") if path.suffix != ".json"))
    if others:
        hint = f"there is {one_line(others)}, which is not read; save the pipeline again by its save_pretrained"
        raise InputError(f"{folder} lacks the weights {part}/{file.name}: {hint}")
    raise InputError(f"{folder} lacks the weights {part}/{file.name}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(file: Path) -> Json:
    try:
        if file.stat().st_size > _MOST_JSON:
            raise InputError(f"{file} has more than {_MOST_JSON} bytes, too many for a configuration")
        content = json.loads(file.read_bytes())
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{file} is missing or cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is no JSON ({one_line(str(error))})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no JSON object")
    return content


def _hub(environment: Mapping[str, str]) -> Path:
    """The folder in which the hub's client keeps downloads."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    home = environment.get("HF_HOME")
    # The client takes ~/.cache on every platform.
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home or cache).expanduser() / "hub"


def _snapshot(downloads: Path) -> list[Path]:
    """The folder of the revision that was downloaded last."""
    try:
        revision = (downloads / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return []
    return [downloads / "snapshots" / revision]
