"""One HTML file that needs nothing else: its style and its pictures are inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

__all__ = ["Section", "page", "pictures", "table"]


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph that says how to read what follows, and that, as HTML."""

    heading: str
    explanation: str
    body: str


def page(title: str, subtitle: str, sections: Iterable[Section], footer: str) -> str:
    """The whole file."""
    body = "".join(
        f"<section><h2>{escape(each.heading)}</h2><p class='soft'>{escape(each.explanation)}</p>{each.body}</section>"
        for each in sections
    )
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}<style>{style}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p class='soft'>{escape(subtitle)}</p>{body}"
        f"<h2>How this was made</h2><p class='soft'>{escape(footer)}</p></main></body></html>\n"
    )


def pictures(shown: Sequence[tuple[str, str]], *, wide: bool = False, framed: bool = False) -> str:
    """A grid of pictures, each an address and what stands below it; the first may have a frame."""
    figures = [
        f"<figure{' class=first' if framed and index == 0 else ''}><img src='{address}' alt='{escape(text)}'>"
        f"<figcaption>{escape(text)}</figcaption></figure>"
        for index, (address, text) in enumerate(shown)
    ]
    return f"<div class='grid{' wide' if wide else ''}'>{''.join(figures)}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
