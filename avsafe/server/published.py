"""Benchmark reports that whoever runs the service published: pages in ``reports/`` of the state
folder, each NAME.html or NAME/report.html.

A report is a page of its own with pictures and styles inside. It is shown in a sandbox: without
scripts, without forms, without anything from elsewhere, and as if it came from another site.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from fastapi.responses import Response

from avsafe.server.visits import Gone, Visit, Visits

FOLDER = "reports"
MOST_BYTES = 32 << 20
POLICY = (
    "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LISTED = 200
_HEAD = 64 * 1024  # where the title is looked for


@dataclass(frozen=True)
class Report:
    """A page that was published."""

    name: str
    path: Path
    title: str
    changed_at: datetime
    size_bytes: int


def report_pages(visits: Visits) -> None:
    """Add the pages."""
    folder = visits.settings.home.root / FOLDER

    async def listed(visit: Visit) -> Response:
        found = await asyncio.to_thread(reports, folder)
        return visits.show(visit, "team_reports.html", reports=found)

    async def shown(visit: Visit, name: str) -> Response:
        def read() -> bytes | None:
            found = report(folder, name)
            return found.path.read_bytes() if found is not None else None

        body = await asyncio.to_thread(read)
        if body is None:
            raise Gone
        headers = {"Content-Security-Policy": POLICY}
        return Response(body, media_type="text/html; charset=utf-8", headers=headers)

    visits.add("GET", "/reports", "", listed)
    visits.add("GET", "/reports/{name}", "", shown)


def reports(folder: Path) -> list[Report]:
    """What is published, the newest first."""
    try:
        names = sorted({path.name.removesuffix(".html") for path in folder.iterdir()})
    except OSError:
        return []
    found = [one for name in names[:5000] if (one := report(folder, name)) is not None]
    return sorted(found, key=lambda one: one.changed_at, reverse=True)[:_LISTED]


def report(folder: Path, name: str) -> Report | None:
    """One report; None for a name that is none, a link, or a page that is too large."""
    if not _NAME.fullmatch(name):
        return None
    for path in (folder / f"{name}.html", folder / name / "report.html"):
        try:
            linked = path.is_symlink() or (path.parent != folder and path.parent.is_symlink())
            if linked or not path.is_file():
                continue
            about = path.stat()
            if about.st_size > MOST_BYTES:
                continue
            with path.open("rb") as file:
                title = _title(file.read(_HEAD))
        except OSError:
            continue
        changed = datetime.fromtimestamp(about.st_mtime, UTC)
        return Report(name, path, title or name, changed, about.st_size)
    return None


class _Title(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text, self._inside = "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = self._inside or (tag == "title" and not self.text)

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "title"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text += data


def _title(head: bytes) -> str:
    """
    >>> _title(b"<html><title>How far &amp; why</title>")
    'How far & why'
    """
    parser = _Title()
    parser.feed(head.decode("utf-8", "replace"))
    return " ".join(parser.text.split())[:160]
