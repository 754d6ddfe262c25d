"""Options: what may be declared, what is refused and in which words, and the way to JSON and back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinwave.errors import InputError
from sinwave.options import check, facts, from_json, option, to_json


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Paint a picture."""

    source: Path = option(help="a picture", positional=True)
    number: int = option(8, "how many", low=1, short="-n")
    variation: float = option(0.7, "how far", low=0, high=1)
    weight: float = option(1.0, "how heavy")
    max_pixels: int | None = option(None, "how many pixels", high=100)
    medium: Literal["oil", "ink"] = option("oil", "what with")
    wavelet: str = option("haar", "which filter", choices=("haar", "db2"))
    patches: tuple[int, ...] = option((9, 7), "how large", low=3)
    layers: tuple[Path, ...] | None = option(None, "what below")
    dry: bool = option(False, "only say what would be done")

    def __post_init__(self) -> None:
        check(self)


def test_a_declaration_is_read_back_whole() -> None:
    declared = {option.name: option for option in facts(Paint)}
    assert list(declared) == list(Paint.__dataclass_fields__)
    assert declared["source"].required and not declared["number"].required
    assert declared["source"].facts.positional and declared["number"].facts.short == "-n"
    assert (declared["number"].kind, declared["number"].default, declared["number"].facts.help) == (int, 8, "how many")
    assert declared["max_pixels"].optional and declared["max_pixels"].kind is int
    assert declared["medium"].choices == ("oil", "ink") and declared["wavelet"].choices == ("haar", "db2")
    assert declared["patches"].several and declared["patches"].kind is int
    assert declared["layers"].several and declared["layers"].optional and declared["layers"].kind is Path


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"variation": float("nan")}, "variation must be between 0 and 1, not nan"),
        ({"variation": float("inf")}, "variation must be between 0 and 1, not inf"),
        ({"variation": -0.1}, "variation must be between 0 and 1, not -0.1"),
        ({"variation": "0.5"}, "variation must be a number, not '0.5'"),
        ({"variation": True}, "variation must be a number, not True"),
        ({"variation": None}, "variation must be a number, not None"),
        ({"weight": float("inf")}, "weight must be finite, not inf"),
        ({"number": 0}, "number must be at least 1, not 0"),
        ({"number": 2.0}, "number must be a whole number, not 2.0"),
        ({"max_pixels": 101}, "max pixels must be at most 100, not 101"),
        ({"medium": "chalk"}, "medium must be one of oil, ink, not 'chalk'"),
        ({"wavelet": "db3"}, "wavelet must be one of haar, db2, not 'db3'"),
        ({"patches": 9}, "patches must be several values, not 9"),
        ({"patches": (9, 1)}, "patches must be at least 3, not 1"),
        ({"dry": 1}, "dry must be true or false, not 1"),
        ({"source": "photo.jpg"}, "source must be a path, not 'photo.jpg'"),
    ],
)
def test_a_bad_value_is_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        Paint(**{"source": Path("photo.jpg"), **given})
    assert str(raised.value) == sentence


@pytest.mark.parametrize("variation", [0, 0.0, 1, 1.0, 5e-324])
def test_the_ends_of_a_range_belong_to_it(variation: float) -> None:
    assert Paint(source=Path("a"), variation=variation).variation == variation


def test_an_absurdly_large_whole_number_is_only_out_of_range() -> None:
    with pytest.raises(InputError, match="at most 100"):
        Paint(source=Path("a"), max_pixels=10**400)


paints = st.builds(
    Paint,
    source=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(Path),
    number=st.integers(1),
    variation=st.floats(0, 1),
    max_pixels=st.none() | st.integers(max_value=100),
    medium=st.sampled_from(["oil", "ink"]),
    patches=st.lists(st.integers(3)).map(tuple),
    layers=st.none() | st.lists(st.sampled_from([Path("a"), Path("b") / "c"])).map(tuple),
    dry=st.booleans(),
)


@given(paints)
def test_json_and_back_is_the_identity(paint: Paint) -> None:
    assert from_json(Paint, json.loads(json.dumps(to_json(paint)))) == paint


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"source": "a", "variaton": 0.5}, "there is no option 'variaton'; did you mean 'variation'?"),
        ({"source": "a", "zzz": 0.5}, "there is no option 'zzz'"),
        ({"number": 3}, "source is missing"),
        ({"source": "a", "patches": [9, "7"]}, "patches must be a whole number, not '7'"),
        ({"source": 3}, "source must be a path, not 3"),
        ({"source": "a", "number": None}, "number must be a whole number, not None"),
    ],
)
def test_json_is_read_strictly(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        from_json(Paint, values)
    assert str(raised.value) == sentence


def test_a_field_that_no_reader_could_show_fails_when_it_is_declared_or_read() -> None:
    with pytest.raises(TypeError, match="help"):
        option(3)

    @dataclass
    class Undeclared:
        number: int = field(default=3)

    with pytest.raises(TypeError, match=r"Undeclared\.number must be declared"):
        facts(Undeclared)

    @dataclass
    class Unknown:
        number: complex = option(3j, "how many")

    with pytest.raises(TypeError, match=r"Unknown\.number has the type"):
        facts(Unknown)
