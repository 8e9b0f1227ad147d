"""Starting jobs: validate, write the row, and queue what follows."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db import connection, transaction

from features import jobs
from features.kinds import KINDS, InvalidParams, check
from features.kinds.placing import placed
from features.models import Job


@transaction.atomic
def start(
    kind: str,
    data: Mapping[str, Any],
    *,
    by: Any = None,
    after: Job | None = None,
    promised: Collection[str] = (),
    placing: Mapping[str, Any] | None = None,
) -> Job:
    """Validate `data` with the kind's form and queue the job, with the jobs that its params ask to follow it.

    `placing` holds the fields of `features.kinds.placing.Placing`; the jobs that follow take the same place. Raises `InvalidParams` before anything is written.
    """
    if kind not in KINDS:
        raise InvalidParams({"kind": [f"There is no kind “{kind}”. Known: {', '.join(KINDS)}."]})
    _one_at_a_time()
    form = KINDS[kind]
    params = check(form, data, promised)
    place = placed(form.queue, placing or {})
    job = jobs.create(kind, params, queue=place.queue, priority=place.priority, by=by, after=after)
    if params.get("then"):
        sae = f"{params['model']}/{params['slug']}"
        rest = {"sae": sae, "corpus": params["corpus"]}
        known = {*promised, sae}
        shown = start("compute_dashboards", rest, by=by, after=job, promised=known, placing=placing)
        start("evaluate_sae", rest, by=by, after=shown, promised=known, placing=placing)
    return job


def _one_at_a_time() -> None:
    """Until this transaction ends nobody else starts a job: of two clicks on one button, the second sees the first's slug."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('featurescope: start a job'))")
