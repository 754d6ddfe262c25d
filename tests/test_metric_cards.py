"""The cards of the metrics, and the page that shows them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from sinwave.metrics.cards import CARDS, Card, cards_for
from sinwave.metrics.evaluate import Method, Results, evaluate
from sinwave.metrics.picture_measures import MEASURES, Resources
from sinwave.metrics.set_measures import SET_MEASURES
from sinwave.pretrained.published import PUBLISHED, PYIQA

PAGE = Path(__file__).parents[1] / "docs/metrics.md"


def bound(value: float) -> str:
    return {math.inf: "∞", -math.inf: "-∞"}.get(value, f"{value:g}")


def row(card: Card) -> str:
    name = f"`{card.name}`" + ("" if card.default else " *opt-in*")
    needs = ", ".join(weights.file for weights in card.weights)
    protocols = ", ".join(card.protocols).replace("single", "samples")
    ends = f"{bound(card.best)} ... {bound(card.worst)}"
    return f"| {card.title} | {name} | {card.kind} | {ends} | {protocols} | {card.meaning} | {needs} |"


def cards_table() -> str:
    head = "| metric | name | kind | best ... worst | for | what it is | needs |\n|---|---|---|---|---|---|---|\n"
    return head + "\n".join(map(row, CARDS.values())) + "\n"


def weights_table() -> str:
    head = "| file | what | from | licence |\n|---|---|---|---|\n"
    return head + "\n".join(f"| {w.file} | {w.purpose} | <{w.url}> | {w.license} |" for w in PUBLISHED) + "\n"


@pytest.mark.parametrize(("part", "table"), [("cards", cards_table()), ("weights", weights_table())])
def test_the_page_shows_what_the_code_knows(part, table):
    (shown,) = re.findall(f"<!-- {part} -->\n(.*?)<!-- end of {part} -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown == table


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_every_card_has_its_measure_in_each_protocol(card):
    names = [name for measure in (*MEASURES, *SET_MEASURES) for name in measure.names]
    assert names.count(card.name) == 1
    for protocol in {"single", "pairs", "sets"} - set(card.protocols):
        methods = [Method("flat", {"a.png": (torch.zeros(3, 2, 2, dtype=torch.uint8),) * 3})]
        results = evaluate(protocol, [card.name], methods, {}, Resources())
        assert vars(results) == vars(Results())  # nothing was tried
        assert card.name not in [each.name for each in cards_for(protocol)]


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_weights_on_a_card_are_published_ones(card):
    assert set(card.weights) <= {*PUBLISHED, PYIQA}
    assert all(weights.url.startswith("https://") and weights.license for weights in card.weights)
