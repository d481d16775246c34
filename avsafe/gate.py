"""The gate: a request goes in, a Release comes out, or nothing does.

     1  reserve quota, score the risk, decide
     2  ledger: intent, with the decision; a denial or a review ends here
     3  the generator makes raw media
     4  output checks and visible labels, as iterators
     5  encode with the marks inside the loop; read them back from the written file
     6  manifest
     7  sign while writing beside the destination; read back and verify
     8  registry row; a note in the outbox when no time stamp was to be had
     9  ledger: outcome "released"
    10  atomic rename to the name that was asked for

Any failure leaves no output file and an outcome that says why. A crash between any two steps is
settled at the next start (``staging.recover``).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from avsafe import claims, media, plugins
from avsafe.errors import UsageError
from avsafe.pipeline import checked, encode_marked, labelled, payloads_for
from avsafe.settlement import refuse_unless_allowed, settled
from avsafe.staging import final_path, open_stage
from avsafe.types import (
    Cancelled,
    GenerationRequest,
    Generator,
    GeneratorInfo,
    Progress,
    RawMedia,
    Release,
    Task,
    never_cancelled,
    no_progress,
)
from avsafe.workspace import Workspace


def generate(
    request: GenerationRequest,
    destination: Path,
    workspace: Workspace,
    *,
    progress: Progress = no_progress,
    cancelled: Cancelled = never_cancelled,
) -> Release:
    """Run a registered generator behind the gate and release what it makes to ``destination``.

    Raises Denied or NeedsReview (both carry the Decision), UsageError for a task that the generator
    does not do, GeneratorFailed, CannotMark, MarkNotReadable, SigningFailed, Cancelled.
    """
    generator: Generator = plugins.load("generators", request.generator)
    if request.task not in generator.info.tasks:
        tasks = ", ".join(generator.info.tasks)
        raise UsageError(f"{request.generator} does not do {request.task} (it does: {tasks}).")

    def make() -> RawMedia:
        return generator.generate(request, progress=progress, cancelled=cancelled)

    return _pass(request, generator.info, make, destination, workspace, progress, cancelled)


def release(
    request: GenerationRequest,
    destination: Path,
    workspace: Workspace,
    *,
    progress: Progress = no_progress,
    cancelled: Cancelled = never_cancelled,
) -> Release:
    """The same gate for media made elsewhere: the request's one input is the file."""
    if request.task is not Task.RELEASE or len(request.inputs) != 1:
        raise UsageError("A release takes task 'release' and exactly one input: the file.")
    info = plugins.generator_info(request.generator)  # None: not registered, recorded as such
    source = request.inputs[0].media.path
    return _pass(
        request, info, lambda: media.decode(source), destination, workspace, progress, cancelled
    )


def _pass(
    request: GenerationRequest,
    info: GeneratorInfo | None,
    make: Callable[[], RawMedia],
    destination: Path,
    workspace: Workspace,
    progress: Progress,
    cancelled: Cancelled,
) -> Release:
    from avsafe import policy
    from avsafe.provenance import outbox, sign

    home, registry, ledger = workspace.home, workspace.registry, workspace.ledger
    release_id, salt, meter = secrets.token_hex(16), secrets.token_bytes(16), claims.Meter()
    final, user = final_path(destination), request.principal.user
    with (
        open_stage(home, ledger, release_id, final) as stage,
        settled(workspace, release_id, user) as used,
    ):
        with meter.step("decide"):  # 1
            decision = policy.decide(
                request,
                workspace.policy,
                generator=info,
                jobs_today=used,
                quota=workspace.daily_quota,
            )
        ledger.intent(release_id, claims.intent(request, decision, info, salt))  # 2
        refuse_unless_allowed(decision)
        with meter.step("generate"):  # 3
            made = make()
        raw, label = labelled(checked(made, info), decision)  # 4
        with meter.step("encode_and_mark"):  # 5
            payloads = payloads_for(raw, registry.payload_taken)
            marked = encode_marked(
                raw, stage.encoded, payloads, workspace.watermark_key, progress, cancelled
            )
        with meter.step("sign"):
            manifest = claims.manifest(
                request, info, release_id, final, salt, marked.marks, label
            )  # 6
            signed = sign.sign_file(  # 7
                stage.encoded,
                stage.signed,
                manifest,
                workspace.signer,
                timestamp_url=workspace.timestamp_url,
            )
        released = Release(
            release_id=release_id,
            path=final,
            sha256=media.sha256_of(stage.signed),
            kind=raw.kind,
            decision=decision,
            manifest=manifest,
            manifest_id=signed.manifest_id,
            marks=marked.marks,
            sidecar=stage.sidecar_of(final) if signed.sidecar else None,
            cost=meter.total,
            details=raw.details,
            warnings=(*marked.warnings, *signed.warnings),
        )
        registry.add_release(  # 8
            claims.record(request, info, released, signed.manifest_bytes, marked.features, salt)
        )
        outbox.remember(home.keys, final, signed, workspace.signer)
        ledger.outcome(release_id, "released", claims.outcome(released))  # 9
        stage.publish(released)  # 10
    return released
