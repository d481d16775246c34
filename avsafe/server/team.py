"""Pages of a team: jobs, reviews, consent, the policy simulator, the ledger. For browsers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, RedirectResponse, Response

from avsafe import plugins
from avsafe.consent import ConsentRegister
from avsafe.errors import AvsafeError, UsageError
from avsafe.media import sha256_of
from avsafe.registry.database import Database
from avsafe.server import asked, files, ranges, worker
from avsafe.server.dashboard import LISTED, dashboard_pages, job_row
from avsafe.server.gateway import reviewed, stop
from avsafe.server.jobs import ENDED, PAGES, QUEUED, REVIEW, RUNNING, VIDEOS, Job, Jobs, new_id
from avsafe.server.key_pages import key_pages
from avsafe.server.login import login_pages
from avsafe.server.people import AUDIT, GENERATE, NotAllowed
from avsafe.server.people import REVIEW as MAY_REVIEW
from avsafe.server.plain import told
from avsafe.server.provider_pages import provider_pages
from avsafe.server.published import report_pages
from avsafe.server.settings import Settings
from avsafe.server.uploads import Form
from avsafe.server.visits import Gone, Visit, Visits
from avsafe.server.watched import Watch
from avsafe.server.words import languages

if TYPE_CHECKING:
    from avsafe.consent import ConsentRecord

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
        self._consent = ConsentRegister(visits.settings.home.consent)
        for method, path, scope, handler in (
            ("GET", "/new", GENERATE, self._new),
            ("POST", "/new", GENERATE, self._create),
            ("GET", "/jobs/{job_id}", "", self._show),
            ("GET", "/jobs/{job_id}/file", "", self._file),
            ("POST", "/jobs/{job_id}/cancel", GENERATE, self._cancel),
            ("POST", "/jobs/{job_id}/delete", GENERATE, self._delete),
            ("GET", "/reviews", MAY_REVIEW, self._reviews),
            ("GET", "/reviews/{job_id}/input/{number}", MAY_REVIEW, self._input),
            ("POST", "/reviews/{job_id}", MAY_REVIEW, self._decide),
            ("GET", "/consent", "", self._consents),
            ("POST", "/consent", GENERATE, self._consent_add),
            ("POST", "/consent/{record_id}/revoke", GENERATE, self._consent_revoke),
            ("GET", "/consent/{record_id}/receipt", "", self._receipt),
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
        return {
            "models": [info for info in infos if info is not None],
            "tasks": sorted(plugins.DEFAULT_GENERATORS),
            "consents": [r for r in self._theirs(team) if r.state(datetime.now(UTC)) == "live"],
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
        await asyncio.to_thread(stop, self._jobs, self._settings, job.id)
        return RedirectResponse(visit.path("jobs", job.id), 303)

    async def _delete(self, visit: Visit, form: Form, job_id: str) -> Response:
        job = await self._mine(visit, job_id)
        await asyncio.to_thread(self._jobs.delete, job.id)
        await asyncio.to_thread(files.forget, self._settings, job.id)
        return RedirectResponse(visit.path("jobs"), 303)

    # ------------------------------------------------------------ reviews

    async def _reviews(self, visit: Visit) -> Response:
        found = await asyncio.to_thread(
            lambda: self._jobs.list(
                visit.who.team, limit=LISTED, newest_first=False, states=(REVIEW,)
            )
        )
        rows = [
            job_row(job, visit.say)
            | {
                "request": job.request,
                "decision": job.decision or {},
                "own": job.user_id == visit.who.account.id,
                "inputs": list(enumerate(job.request.get("inputs", ()))),
            }
            for job in found
        ]
        return self._visits.show(visit, "team_reviews.html", rows=rows)

    async def _input(self, visit: Visit, job_id: str, number: str) -> Response:
        """An input as the browser may show it: decoded in the limited process, coded anew."""
        job = await self._mine(visit, job_id)
        inputs = list(job.request.get("inputs", ()))
        if job.state != REVIEW or number not in map(str, range(len(inputs))):
            raise Gone
        name = inputs[int(number)]["file"]
        kept = await asyncio.to_thread(files.kept, self._settings, job, name)
        if kept is None:
            raise Gone
        still = await asyncio.to_thread(files.still, self._settings, kept)
        return Response(still, media_type="image/webp")

    async def _decide(self, visit: Visit, form: Form, job_id: str) -> Response:
        job = await self._mine(visit, job_id)
        decision = form.texts.get("decision")
        if decision not in ("approve", "deny"):
            raise UsageError("Approve or deny.")
        await asyncio.to_thread(
            reviewed, self._jobs, self._settings, job, visit.who, approved=decision == "approve",
            reason=form.texts.get("reason", ""), seen=_several(form.texts.get("rules")),
        )  # fmt: skip
        return RedirectResponse(visit.path("reviews"), 303)

    # ------------------------------------------------------------ consent

    def _theirs(self, team: str) -> list[ConsentRecord]:
        """What was entered in the team, and what the installation itself recorded for all."""
        return [r for r in self._consent.list() if worker.of_team(r.granted_by, team)]

    def _of_team(self, record_id: str, team: str, *, own: bool = False) -> ConsentRecord:
        record = self._consent.get(record_id)
        if record is None or not worker.of_team(record.granted_by, team):
            raise Gone
        if own and "/" not in record.granted_by:
            raise NotAllowed("Whoever runs this installation entered it, and withdraws it.")
        return record

    async def _consents(self, visit: Visit) -> Response:
        now = datetime.now(UTC)
        found = await asyncio.to_thread(self._theirs, visit.who.team)
        states = [(record, record.state(now)) for record in found]
        rows = [
            {"record": record, "state": state, "said": visit.say(f"team:consent-state:{state}"),
             "own": "/" in record.granted_by}
            for record, state in states
        ]  # fmt: skip
        return self._visits.show(visit, "team_consent.html", rows=rows)

    async def _consent_add(self, visit: Visit, form: Form) -> Response:
        texts = form.texts
        file = form.files.get("files")
        if file is None or not file.size_bytes:
            raise UsageError(visit.say("team:consent-no-file"))

        def add() -> ConsentRecord:
            evidence = form.files.get("evidence")
            days = texts.get("days", "365").strip()
            return self._consent.add(
                texts.get("subject", ""),
                texts.get("modality", ""),
                [sha256_of(file.path)],
                granted_by=f"{visit.who.team}/{visit.who.account.name}",
                adult=texts.get("adult") == "yes",
                purposes=_several(texts.get("purposes")) or ("general",),
                generators=_several(texts.get("generators")) or ("*",),
                duration=timedelta(days=int(days) if _DAYS.fullmatch(days) else 0),
                evidence_sha256=sha256_of(evidence.path)
                if evidence and evidence.size_bytes
                else None,
            )

        await asyncio.to_thread(add)
        return RedirectResponse(visit.path("consent"), 303)

    async def _consent_revoke(self, visit: Visit, form: Form, record_id: str) -> Response:
        await asyncio.to_thread(self._revoke, record_id, visit)
        return RedirectResponse(visit.path("consent"), 303)

    def _revoke(self, record_id: str, visit: Visit) -> None:
        """What waits on it ends at once; what runs is stopped by its worker."""
        self._of_team(record_id, visit.who.team, own=True)
        self._consent.revoke(record_id)
        self._jobs.stop_for_consent(record_id, worker.REVOKED)

    async def _receipt(self, visit: Visit, record_id: str) -> Response:
        record = await asyncio.to_thread(self._of_team, record_id, visit.who.team)
        name = f'attachment; filename="consent-{record.id}.jsonld"'
        return JSONResponse(
            receipt(record), media_type="application/ld+json", headers={"Content-Disposition": name}
        )

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
            ours = self._jobs.released_by(team, ids)
            return {
                "size": len(ledger),
                "ok": look.found.ok,
                "problems": look.found.problems,
                "read": look,
                "rows": [
                    {"seq": e.seq, "time": e.time, "type": e.type, "release": e.release_id,
                     "said": e.body.get("status") or e.body.get("task") or ""}
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


def _hash_of(leaf: str) -> str:
    return f"SHA-256 {hashlib.sha256(leaf.encode()).hexdigest()}"


def receipt(record: ConsentRecord) -> dict[str, Any]:
    """What the person who consented is given: JSON-LD in the W3C Data Privacy Vocabulary, fields
    after ISO/IEC TS 27560."""
    return {
        "@context": {"dpv": "https://w3id.org/dpv#", "dct": "http://purl.org/dc/terms/"},
        "@type": "dpv:ConsentRecord",
        "dct:identifier": record.id,
        "dpv:hasDataSubject": record.subject,
        "dpv:hasPersonalData": "face" if record.modality == "face" else "voice",
        "dpv:hasPurpose": list(record.purposes),
        "dpv:isImplementedUsingTechnology": list(record.generators),
        "dpv:hasIndicationMethod": record.evidence_sha256,
        "dpv:hasNotice": {"dct:hasVersion": record.notice_version},
        "dct:created": record.created_at.isoformat(),
        "dct:valid": record.expires_at.isoformat(),
        "dpv:hasConsentStatus": "dpv:ConsentWithdrawn" if record.revoked_at else "dpv:ConsentGiven",
        "dpv:hasWithdrawalTime": record.revoked_at.isoformat() if record.revoked_at else None,
        "dct:subject": {"sha256": list(record.media_sha256)},
    }


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
        one = simulation.simulate(before, after, [case])  # which scores the text once
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


def _several(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


_EXAMPLE_CASES = "\n".join(
    json.dumps(case)
    for case in (
        {"task": "text-to-video", "prompt": "a red ball bouncing", "roles": ["creator"]},
        {"task": "talking-head", "prompt": "", "roles": ["creator"], "likeness": "unknown"},
        {"task": "text-to-image", "prompt": "a battlefield with wounded", "roles": ["creator"]},
    )
)
