"""Pages of a team: jobs, reviews, consent, the policy simulator, the ledger. For browsers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import RedirectResponse, Response

from avsafe import plugins
from avsafe.errors import AvsafeError, UsageError
from avsafe.registry.database import Database
from avsafe.server import asked, files, ranges
from avsafe.server.consent_pages import consent_pages
from avsafe.server.dashboard import LISTED, dashboard_pages, job_row
from avsafe.server.decisions import Decisions
from avsafe.server.jobs import ENDED, PAGES, QUEUED, RUNNING, VIDEOS, Job, Jobs, new_id
from avsafe.server.key_pages import key_pages
from avsafe.server.login import login_pages
from avsafe.server.people import AUDIT, GENERATE
from avsafe.server.plain import told
from avsafe.server.provider_pages import provider_pages
from avsafe.server.published import report_pages
from avsafe.server.reviews import review_pages
from avsafe.server.settings import Settings
from avsafe.server.uploads import Form
from avsafe.server.visits import Gone, Visit, Visits
from avsafe.server.watched import Watch
from avsafe.server.words import languages

if TYPE_CHECKING:
    pass

MOST_CASES = 50  # of one simulation
_DAYS = re.compile(r"[0-9]{1,4}")


def team_pages(app: FastAPI, settings: Settings, database: Database) -> None:
    """Add the pages to the service."""
    if settings.oidc_issuer:
        provider_pages(app, settings, database)
    for language in languages():
        visits = Visits(settings, database, language)
        _Team(visits)
        for add in (dashboard_pages, key_pages, report_pages, login_pages):
            add(visits)
        app.include_router(visits.router, include_in_schema=False)


class _Team:
    def __init__(self, visits: Visits) -> None:
        self._visits, self._settings = visits, visits.settings
        self._jobs = Jobs(visits.database)
        self._watch = Watch()
        self._consents = consent_pages(visits)
        self._decisions = Decisions(visits.settings, visits.database)
        review_pages(visits)
        for method, path, scope, handler in (
            ("GET", "/new", GENERATE, self._new),
            ("POST", "/new", GENERATE, self._create),
            ("GET", "/jobs/{job_id}", "", self._show),
            ("GET", "/jobs/{job_id}/file", "", self._file),
            ("POST", "/jobs/{job_id}/cancel", GENERATE, self._cancel),
            ("POST", "/jobs/{job_id}/delete", GENERATE, self._delete),
            ("GET", "/policy", "", self._policy),
            ("POST", "/policy", "", self._simulate),
            ("GET", "/ledger", AUDIT, self._ledger),
        ):
            visits.add(method, path, scope, handler)

    # ------------------------------------------------------------ jobs

    async def _new(self, visit: Visit) -> Response:
        return self._visits.show(
            visit,
            "team_new.html",
            **await asyncio.to_thread(self._choices, visit.who.team),
        )

    def _choices(self, team: str) -> dict[str, Any]:
        infos = [plugins.generator_info(name) for name in self._settings.offered]
        now = datetime.now(UTC)
        return {
            "models": [info for info in infos if info is not None],
            "tasks": sorted(plugins.DEFAULT_GENERATORS),
            "consents": [r for r in self._consents.of_team(team) if r.state(now) == "live"],
        }

    async def _create(self, visit: Visit, form: Form) -> Response:
        fields = {k: v for k, v in form.texts.items() if v.strip()}
        if fields.get("model") == "auto":
            del fields["model"]
        sent = {k: u for k, u in form.files.items() if u.size_bytes}
        kept = Form(form.folder, sent, {})
        job_id = new_id()
        most = self._settings.team_jobs

        def add() -> Job:
            wanted = asked.of_page(fields, self._settings.offered, kept)
            files.keep_inputs(self._settings, job_id, wanted, kept)
            endpoint = VIDEOS if asked.suffix(wanted) == ".mp4" else PAGES
            return self._jobs.add(
                visit.who.account.id, visit.who.team, endpoint, wanted, job_id=job_id, most=most
            )[0]

        try:
            job = await asyncio.to_thread(add)
        except BaseException:
            await asyncio.to_thread(files.forget, self._settings, job_id)
            raise
        return RedirectResponse(visit.path("jobs", job.id), 303)

    async def _mine(self, visit: Visit, job_id: str) -> Job:
        job = await asyncio.to_thread(self._jobs.get, job_id, visit.who.team)
        if job is None:
            raise Gone
        return job

    async def _show(self, visit: Visit, job_id: str) -> Response:
        job = await self._mine(visit, job_id)
        kept = await asyncio.to_thread(files.released, self._settings, job)
        return self._visits.show(
            visit,
            "team_job.html",
            job=job,
            row=job_row(job, visit.say),
            kept=kept is not None,
            suffix=kept.suffix if kept is not None else "",
            picture=kept is not None and kept.suffix == ".png",
            sound=kept is not None and kept.suffix in asked.SOUNDS.values(),
            ended=job.state in ENDED,
            reload_s=2 if job.state in (QUEUED, RUNNING) else 0,
        )

    async def _file(self, visit: Visit, job_id: str) -> Response:
        job = await self._mine(visit, job_id)
        kept = await asyncio.to_thread(files.released, self._settings, job)
        if kept is None:
            raise Gone
        return ranges.answer(visit.request, kept, job.id, inline=True)

    async def _cancel(self, visit: Visit, form: Form, job_id: str) -> Response:
        job = await self._mine(visit, job_id)
        await asyncio.to_thread(self._decisions.stop, job.id, visit.who)
        return RedirectResponse(visit.path("jobs", job.id), 303)

    async def _delete(self, visit: Visit, form: Form, job_id: str) -> Response:
        job = await self._mine(visit, job_id)
        await asyncio.to_thread(self._jobs.delete, job.id)
        await asyncio.to_thread(files.forget, self._settings, job.id)
        return RedirectResponse(visit.path("jobs"), 303)

    # ------------------------------------------------------------ policy, ledger

    async def _policy(self, visit: Visit) -> Response:
        base = await asyncio.to_thread(lambda: _policy_text(self._settings.home.policy))
        return self._visits.show(
            visit, "team_policy.html", base=base, cases=_EXAMPLE_CASES, found=None, problem=""
        )

    async def _simulate(self, visit: Visit, form: Form) -> Response:
        cases, base = form.texts.get("cases", ""), form.texts.get("base", "")
        found, problem = None, ""
        try:
            found = await asyncio.to_thread(
                simulated, self._settings.home.policy, base, cases, form.folder
            )
        except AvsafeError as error:
            problem = told(error, self._settings.home.root)
        return self._visits.show(
            visit, "team_policy.html", base=base, cases=cases, found=found, problem=problem
        )

    async def _ledger(self, visit: Visit) -> Response:
        asked_for = visit.request.query_params.get("release", "")
        found = await asyncio.to_thread(self._entries, asked_for[:64], visit.who.team)
        return self._visits.show(visit, "team_ledger.html", asked_for=asked_for, **found)

    def _entries(self, asked_for: str, team: str) -> dict[str, Any]:
        """The log is one for all teams: of another's entries only that they are there is shown, and
        in a proof the hash of what they say."""
        from avsafe.ledger import Ledger

        home = self._settings.home
        if not Ledger.exists(home.log):
            return {"size": 0, "ok": True, "problems": (), "read": None, "rows": (), "proofs": ()}
        with Ledger.open(home.log, home.keys) as ledger:
            look = self._watch.look(ledger)
            release = ledger.resolve(asked_for) if asked_for else None
            start = 0 if release else max(0, len(ledger) - LISTED)
            rows = list(ledger.entries(release, start=start))[-LISTED:]
            proofs = ledger.prove(release) if release else ()
            ids = {e.release_id for e in (*rows, *(p.entry for p in proofs))}
            ours = self._ours(team, ids)
            return {
                "size": len(ledger),
                "ok": look.found.ok,
                "problems": look.found.problems,
                "read": look,
                "rows": [
                    {"seq": e.seq, "time": e.time, "type": e.type, "release": e.release_id,
                     "said": _said(e.body)}
                    if e.release_id in ours
                    else {"seq": e.seq, "time": e.time, "type": e.type, "release": "", "said": ""}
                    for e in reversed(rows)
                ],
                "proofs": [
                    {"seq": p.entry.seq, "size": p.size, "root": p.root.hex(),
                     "leaf": p.leaf if p.entry.release_id in ours else _hash_of(p.leaf),
                     "path": [one.hex() for one in p.path], "holds": p.holds(),
                     "checkpoint": p.checkpoint}
                    for p in proofs
                ],
            }  # fmt: skip

    def _ours(self, team: str, ids: set[str]) -> frozenset[str]:
        """Releases, jobs and consents of the team among these."""
        consents = {record.id for record in self._consents.of_team(team)}
        jobs = self._jobs.released_by(team, ids) | self._jobs.of_team(team, ids)
        return jobs | (consents & ids)


def _said(body: Mapping[str, Any]) -> str:
    return next((str(body[k]) for k in ("status", "verdict", "task") if body.get(k)), "")


def _hash_of(leaf: str) -> str:
    return f"SHA-256 {hashlib.sha256(leaf.encode()).hexdigest()}"


def simulated(folder: Path, base: str, cases: str, work: Path) -> list[dict[str, Any]]:
    """Each case (a JSON object a line) under the policy in force and under an edited base set."""
    from avsafe.policy import Policy
    from avsafe.policy import simulate as simulation
    from avsafe.policy.engine import BASE, SCHEMA
    from avsafe.policy.engine import REVIEW as REVIEW_FILE

    before = Policy.load(folder)
    edited = work / "policy"
    edited.mkdir()
    source = _policy_folder(folder)
    for name in (REVIEW_FILE, SCHEMA):
        (edited / name).write_bytes((source / name).read_bytes())
    (edited / BASE).write_text(base, encoding="utf-8")
    after = Policy.load(edited)
    if sum(1 for line in cases.splitlines() if line.strip()) > MOST_CASES:
        raise UsageError(f"At most {MOST_CASES} requests are tried at once.")
    lines = work / "cases.jsonl"
    lines.write_text(cases, encoding="utf-8")
    found = []
    for case in simulation.read_cases(lines):
        try:
            one = simulation.simulate(before, after, [case])  # which scores the text once
        except ValueError as error:
            raise UsageError(f"Line {case.line}: {error}.") from None
        effect, changes = next(iter(one.before)), one.changes
        found.append(
            {
                "task": str(case.request.task),
                "prompt": case.request.prompt,
                "before": effect,
                "after": str(changes[0].after.effect) if changes else effect,
                "rules_before": list(changes[0].before.rules) if changes else [],
                "rules_after": list(changes[0].after.rules) if changes else [],
                "changed": bool(changes),
            }
        )
    return found


def _policy_folder(folder: Path) -> Path:
    from avsafe.policy.engine import BASE, DEFAULT_FOLDER

    return folder if (folder / BASE).is_file() else DEFAULT_FOLDER


def _policy_text(folder: Path) -> str:
    from avsafe.policy.engine import BASE

    return (_policy_folder(folder) / BASE).read_text(encoding="utf-8")


_EXAMPLE_CASES = "\n".join(
    json.dumps(case)
    for case in (
        {"task": "text-to-video", "prompt": "a red ball bouncing", "roles": ["creator"]},
        {"task": "talking-head", "prompt": "", "roles": ["creator"], "likeness": "unknown"},
        {"task": "text-to-image", "prompt": "two men fight with knives", "roles": ["creator"]},
    )
)
