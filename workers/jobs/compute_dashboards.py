"""Dashboards, from a job's row to the rows of features: read the corpus or merge what parts of it
gave, write, declare.

Every phase goes on where an attempt before it was cut off. The reading is put down as a checkpoint
now and then, and at its end; a part's last checkpoint is what the whole merges. The writing keeps,
in the transaction of each range of features, how far it is (`Job.written`); and an SAE whose
dashboards this job declared is left alone.
"""

from contextlib import closing

from django.db import transaction

from features.ingest import background
from features.ingest import dashboards as dashboard_ingest
from features.jobs import execution as job_execution
from features.models import Dashboard, Example, Job
from features.records import FeatureRange, Progress
from features.version import VERSION
from workers.jobs import corpus_scan
from workers.lifecycle import cleanup
from workers.lifecycle.work import RunningJob
from workers.pipeline.dashboards.compute import describe_scan
from workers.pipeline.dashboards.corpus_pass import WHOLE, ScanState
from workers.pipeline.dashboards.logit_lens import readout_record
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.sae.reconstruct import written_hook


def compute_dashboards(job: RunningJob) -> None:
    """Fill the features of one or several SAEs, and declare each complete."""
    given = corpus_scan.scan_inputs(job)
    parts = list(job.row.parts.order_by("id"))
    scan = _merged(job, given, parts) if parts else corpus_scan.scan_corpus(job, given, WHOLE)
    for sae, target, accumulator in zip(given.saes, given.targets, scan.accumulators, strict=True):
        name = f"{sae}: " if len(given.saes) > 1 else ""
        for line in describe_scan(target, accumulator, job.params["tokens"]):
            job.log(name + line.text)
    for place in range(len(given.saes)):
        if not Dashboard.objects.filter(sae=given.saes[place], job=job.row).exists():
            _write(job, given, scan, place)
        _declare(job, given, scan, place)
    cleanup.clear()


def _merged(job: RunningJob, given: corpus_scan.ScanInputs, parts: list[Job]) -> ScanState:
    """What the parts read, as one: the accumulators of two of them are in memory at a time."""
    merged: ScanState | None = None
    for number, part in enumerate(parts):
        list(job.results([Progress(number, len(parts), "parts", "Merging what the parts read")]))
        merged = _joined(merged, corpus_scan.load_scan(job, given, part.checkpoint))
    assert merged is not None
    return merged


def _joined(merged: ScanState | None, scan: ScanState) -> ScanState:
    if merged is None:
        return scan
    for accumulator, other in zip(merged.accumulators, scan.accumulators, strict=True):
        accumulator.merge(other)
    return merged


def _write(job: RunningJob, given: corpus_scan.ScanInputs, scan: ScanState, place: int) -> None:
    """Write the features of the SAE at that place while the next ones are computed, from the first
    that is not there on.
    """
    sae, target = given.saes[place], given.targets[place]
    key, total = str(sae.pk), sum(sae.width for sae in given.saes)
    before = sum(sae.width for sae in given.saes[:place])

    @transaction.atomic
    def write(record: FeatureRange) -> int:
        dashboard_ingest.write_range(sae, given.corpus, sae.context_size, record)
        job_execution.store_written(job.row, {**job.row.written, key: record.stop})
        return record.stop

    hook, first = written_hook(target.sae, target.hook), job.row.written.get(key, 0)
    ranges = feature_ranges(given.language, target.sae, hook, scan.accumulators[place], first)
    with closing(background.in_background(write, ranges)) as stops:
        for _ in job.results(
            Progress(before + stop, total, "features", "Writing dashboards") for stop in stops
        ):
            pass


def _declare(job: RunningJob, given: corpus_scan.ScanInputs, scan: ScanState, place: int) -> None:
    """Declare the dashboards of the SAE at that place complete; with the last, the job
    is finished.
    """
    sae, target = given.saes[place], given.targets[place]
    readout = readout_record(given.language, written_hook(target.sae, target.hook))
    with transaction.atomic():
        shown = dashboard_ingest.finish(sae, given.corpus, scan.tokens, job.row, VERSION, readout)
        examples = Example.objects.filter(feature__sae=sae).count()
        job.log(
            f"{sae}: {shown.alive:,} of {sae.width:,} features fired; {examples:,} examples kept."
        )
        if sae == given.saes[-1]:
            alive = sum(
                Dashboard.objects.filter(sae__in=given.saes).values_list("alive", flat=True)
            )
            job_execution.finish(
                job.row, {"sae": job.params["sae"], "alive": alive, "tokens": scan.tokens}
            )
        else:
            job_execution.store_written(
                job.row, job.row.written
            )  # fails where the job is no longer ours
