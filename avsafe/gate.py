"""The gate: a request goes in, a Release comes out, or nothing does.

     1  reserve quota, whose likeness, score the risk, decide
     2  ledger: intent, with the decision; a denial or a review ends here
     3  the generator makes raw media
     4  output checks and visible labels, as iterators
     5  encode with the marks inside the loop; read them back from the written file
     6  manifest
     7  sign while writing beside the destination; read back and verify; ``keep`` may store a copy
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

from avsafe import acts, claims, likeness, media, pipeline, plugins
from avsafe.errors import Cancelled as CancelledError
from avsafe.errors import UsageError
from avsafe.settlement import refuse_unless_allowed, settled
from avsafe.staging import Keep, final_path, kept_here, open_stage
from avsafe.types import (
    RELEASING,
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
    keep: Keep = kept_here,
) -> Release:
    """Do the task behind the gate and release the result to ``destination``.

    Task.RELEASE takes media made elsewhere: the request's one input is the file, its generator need
    not be registered. Every other task runs a registered generator. ``keep`` is given the signed
    file before anything counts as released: what it stores elsewhere is not lost with this machine.

    Raises Denied or NeedsReview (both carry the Decision), UsageError for a task that the generator
    does not do, GeneratorFailed, CannotMark, MarkNotReadable, SigningFailed, Cancelled.
    """
    from avsafe import policy
    from avsafe.provenance import outbox, sign

    progress = pipeline.forward_only(progress)
    info, make = _source(request, progress, cancelled)
    home, registry, ledger = workspace.home, workspace.registry, workspace.ledger
    release_id, salt = secrets.token_hex(16), secrets.token_bytes(16)
    meter = claims.Meter(lambda step: progress(0.0, step))
    final, user, quota = final_path(destination), request.principal.user, workspace.daily_quota
    with (
        open_stage(home, ledger, release_id, final) as stage,
        settled(workspace, release_id, user) as used,
    ):
        with meter.step("decide"):  # 1
            person = likeness.of_request(request, workspace)
            decision = policy.decide(
                request,
                workspace.policy,
                generator=info,
                likeness=person.status,
                consent_scope=person.scope,
                jobs_today=used,
                quota=quota,
            )
            decision = person.noted(decision)
        ledger.intent(release_id, claims.intent(request, decision, info, salt))  # 2
        acts.expired_uses(ledger, release_id, person.expired)
        refuse_unless_allowed(decision, request.approval)
        with meter.step("generate"):  # 3
            made = make()
        raw, label = pipeline.labelled(pipeline.checked(made, info, final), decision)  # 4
        with meter.step("encode_and_mark"):  # 5
            marked = pipeline.encode_marked(
                raw,
                stage.encoded,
                pipeline.payloads_for(raw, registry.payload_taken),
                workspace.watermark_key,
                progress,
                cancelled,
            )
        with meter.step("sign"):
            manifest = claims.manifest(request, info, release_id, final, salt, marked, label)  # 6
            signed = sign.sign_file(  # 7
                stage.encoded,
                stage.signed,
                manifest,
                workspace.signer,
                timestamp_url=workspace.timestamp_url,
                consume=True,
            )
        keep(stage)
        progress(1.0, RELEASING)
        if cancelled():  # until here nothing is released; from here on it is
            raise CancelledError("Stopped before the release.")
        released = claims.release(stage, raw, decision, manifest, signed, marked, meter)
        registry.add_release(  # 8
            claims.record(request, info, released, signed.manifest_bytes, marked.features, salt)
        )
        outbox.remember(home.keys, final, signed, workspace.signer)
        ledger.outcome(release_id, "released", claims.outcome(released))  # 9
        return stage.publish(released)  # 10


def _source(
    request: GenerationRequest, progress: Progress, cancelled: Cancelled
) -> tuple[GeneratorInfo | None, Callable[[], RawMedia]]:
    """What the policy may know of the generator, and how to get the raw media when it allows."""
    if request.task is Task.RELEASE:
        if len(request.inputs) != 1:
            raise UsageError("A release takes exactly one input: the file.")
        path = request.inputs[0].media.path
        return plugins.generator_info(request.generator), lambda: media.decode(path)
    generator: Generator = plugins.load("generators", request.generator)
    if request.task not in generator.info.tasks:
        tasks = ", ".join(generator.info.tasks)
        raise UsageError(f"{request.generator} does not do {request.task} (it does: {tasks}).")
    return generator.info, lambda: generator.generate(
        request, progress=progress, cancelled=cancelled
    )
