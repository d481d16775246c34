"""The verdict as a PDF: the page's lanes on paper, made in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from avsafe.errors import MissingExtra
from avsafe.server.lanes import Page, source_name
from avsafe.server.signed import Work
from avsafe.server.when import Row, When
from avsafe.server.words import Words

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

_MARK = {"present": "#24559b", "invalid": "#a3262a", "failed": "#a3262a"}


def pdf(
    page: Page,
    say: Words,
    *,
    name: str,
    size: str,
    sha256: str,
    now: datetime,
    stills: Mapping[str, bytes] | None = None,
) -> bytes:
    """One document. Raises MissingExtra without reportlab.

    ``stills`` are pictures by source (``avsafe.server.stills``).
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
    facts = {say("file"): name, say("size"): size, say("hash"): sha256}
    document.build(list(_story(page, say, facts, stills or {}, now)))
    return out.getvalue()


def _story(
    page: Page, say: Words, file: Mapping[str, str], stills: Mapping[str, bytes], now: datetime
) -> Iterator[Flowable]:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Image, Paragraph, Spacer

    styles = getSampleStyleSheet()
    plain, small = styles["BodyText"], styles["BodyText"].clone("small", fontSize=8, leading=10)
    small.textColor = "#5a666d"

    def p(text: str, style: Any = plain) -> Flowable:
        return Paragraph(_latin(text), style)

    yield p(say("report-title"), small)
    yield p(page.title, styles["Title"].clone("left", alignment=0))
    yield p(page.text)
    yield p(say("never"))
    yield Spacer(1, 8)
    for key, value in file.items():
        yield Paragraph(f"<b>{_latin(key)}:</b> {_latin(value)}", plain)
    for lane in page.lanes:
        if lane.name == "detector" and page.when is not None:
            yield p(say("timeline"), styles["Heading2"])
            for row in page.when.rows:
                yield p(source_name(row.source, say) or row.source, small)
                yield _drawn(row)
            yield from (p(line, small) for line in _stretches(page.when, say))
        yield p(lane.title, styles["Heading2"])
        for item in lane.items:
            colour = _MARK.get(item.status, "#5a666d")
            title = f"<b>{_latin(item.title)}</b> " if item.title else ""
            status = f'{title}<font color="{colour}">[{_latin(item.status_said)}]</font>'
            yield Paragraph(f"{status} {_latin(item.said)}", plain)
            for key, value in item.facts:
                yield p(f"{key}: {value}" if key else value, small)
            if item.source in stills:
                yield Image(io.BytesIO(stills[item.source]), 300, 220, kind="proportional")
                yield p(say("still"), small)
            if item.note != item.said:
                yield p(item.note, small)
        if lane.history:
            yield p(say("history"))
        for step in lane.history:
            yield p(f"- {step}", small)
        if lane.work is not None:
            yield p(say("ingredients"))
            yield from (p(line, small) for line in _lines(lane.work))
    yield Spacer(1, 12)
    yield p(say("made-on", when=now.strftime("%Y-%m-%d %H:%M")), small)


def _lines(work: Work, depth: int = 0) -> Iterator[str]:
    indent = "\u00a0" * 6 * depth
    yield f"{indent}- {work.title} [{work.state_said}]"
    for line in work.lines:
        yield f"{indent}\u00a0\u00a0{line}"
    for one in work.below:
        yield from _lines(one, depth + 1)


def _stretches(when: When, say: Words) -> Iterator[str]:
    if not when.listed:
        yield say("timeline-none")
        return
    yield f"{say('timeline-some')}:"
    for source, start, end in when.listed:
        yield f"- {source_name(source, say) or source}: {start:.1f} s - {end:.1f} s"
    if when.unlisted:
        yield say("timeline-more", n=when.unlisted)


def _drawn(row: Row) -> Flowable:
    """The bars of one detector; points of 1/72 inch."""
    from reportlab.graphics.shapes import Drawing, Rect
    from reportlab.lib.colors import HexColor, white

    width, height = 460, 12
    paint, edge = HexColor("#24559b"), HexColor("#8a5a00")
    drawing = Drawing(width, height)
    for bar in row.bars:
        box = Rect(width * bar.left / 100, 1, width * bar.width / 100, height - 2)
        box.fillColor = paint if bar.shade is not None else white
        box.fillOpacity = 0.05 + 0.095 * (bar.shade or 0)
        box.strokeColor = edge if bar.flagged else None
        drawing.add(box)
    return drawing


def _latin(text: str) -> str:
    return escape(text.encode("latin-1", "backslashreplace").decode("latin-1"))
