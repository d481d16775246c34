"""The verdict as a PDF: the page's lanes on paper, made in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from avsafe.errors import MissingExtra
from avsafe.server.lanes import Ingredient, Page
from avsafe.server.words import Words

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

_MARK = {"present": "#24559b", "invalid": "#a3262a", "failed": "#a3262a"}


def pdf(page: Page, say: Words, *, name: str, size: str, sha256: str, now: datetime) -> bytes:
    """One document. Raises MissingExtra without reportlab.

    Letters outside Latin-1 are written as their code: the standard fonts of PDF hold no others.
    """
    try:
        from reportlab.lib.pagesizes import A4
        from reportlab.lib.units import mm
        from reportlab.platypus import SimpleDocTemplate
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "A report in PDF needs reportlab: pip install 'avsafe[serve]'."
        ) from error
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=20 * mm, rightMargin=20 * mm, topMargin=18 * mm,
        bottomMargin=18 * mm, title=say("report-title"), author="avsafe", invariant=True,
    )  # fmt: skip
    document.build(list(_story(page, say, name=name, size=size, sha256=sha256, now=now)))
    return out.getvalue()


def _story(
    page: Page, say: Words, *, name: str, size: str, sha256: str, now: datetime
) -> Iterator[Flowable]:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, Spacer

    styles = getSampleStyleSheet()
    plain, small = styles["BodyText"], styles["BodyText"].clone("small", fontSize=8, leading=10)
    small.textColor = "#5a666d"

    def p(text: str, style: Any = plain) -> Flowable:
        return Paragraph(_latin(text), style)

    yield p(say("report-title"), small)
    yield p(page.title, styles["Title"].clone("left", alignment=0))
    yield p(page.text)
    yield Spacer(1, 8)
    for key, value in ((say("file"), name), (say("size"), size), (say("hash"), sha256)):
        yield Paragraph(f"<b>{_latin(key)}:</b> {_latin(value)}", plain)
    for lane in page.lanes:
        yield p(lane.title, styles["Heading2"])
        for item in lane.items:
            colour = _MARK.get(item.status, "#5a666d")
            title = f"<b>{_latin(item.title)}</b> " if item.title else ""
            status = f'{title}<font color="{colour}">[{_latin(item.status_said)}]</font>'
            yield Paragraph(f"{status} {_latin(item.said)}", plain)
            for key, value in item.facts:
                yield p(f"{key}: {value}" if key else value, small)
            for bar in item.bars:
                if bar.flagged:
                    yield p(bar.said, small)
            if item.note != item.said:
                yield p(item.note, small)
        for step in lane.history:
            yield p(f"- {step}", small)
        yield from (p(line, small) for line in _lines(lane.ingredients))
    yield Spacer(1, 12)
    yield p(say("never"))
    yield p(say("made-on", when=now.strftime("%Y-%m-%d %H:%M")), small)


def _lines(found: tuple[Ingredient, ...], depth: int = 0) -> Iterator[str]:
    for one in found:
        yield "\u00a0" * 4 * depth + f"- {one.said}"
        yield from _lines(one.below, depth + 1)


def _latin(text: str) -> str:
    return escape(text.encode("latin-1", "backslashreplace").decode("latin-1"))
