"""Jobs that compute dashboards: scan the corpus or merge the scans of its shards, write the
features, declare the dashboards complete.

Every phase resumes where an earlier attempt ended. A scan is stored as a checkpoint at intervals
and at its end; the last checkpoint of each shard is merged. Each range of features is written in
one transaction with the progress in `Job.written`. SAEs whose dashboards this job has declared
complete are skipped.
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
    """Compute the dashboards of one or several SAEs."""
    sources = corpus_scan.scan_inputs(job)
    parts = list(job.row.parts.order_by("id"))
    scan = _merge(job, sources, parts) if parts else corpus_scan.scan_corpus(job, sources, WHOLE)
    for sae, target, accumulator in zip(
        sources.saes, sources.targets, scan.accumulators, strict=True
    ):
        name = f"{sae}: " if len(sources.saes) > 1 else ""
        for line in describe_scan(target, accumulator, job.params["tokens"]):
            job.log(name + line.text)
    for number in range(len(sources.saes)):
        if not Dashboard.objects.filter(sae=sources.saes[number], job=job.row).exists():
            _write(job, sources, scan, number)
        _declare(job, sources, scan, number)
    cleanup.clear()


def _merge(job: RunningJob, sources: corpus_scan.ScanInputs, parts: list[Job]) -> ScanState:
    """The merged scan of all shards; at most two are in memory at a time."""
    merged: ScanState | None = None
    for number, part in enumerate(parts):
        list(job.results([Progress(number, len(parts), "parts", "Merging the shards")]))
        merged = _merge_scans(merged, corpus_scan.load_scan(job, sources, part.checkpoint))
    assert merged is not None
    return merged


def _merge_scans(merged: ScanState | None, scan: ScanState) -> ScanState:
    if merged is None:
        return scan
    for accumulator, other in zip(merged.accumulators, scan.accumulators, strict=True):
        accumulator.merge(other)
    return merged


def _write(job: RunningJob, sources: corpus_scan.ScanInputs, scan: ScanState, number: int) -> None:
    """Write the features of SAE `number` while the next ones are computed, after those that an
    earlier attempt wrote.
    """
    sae, target = sources.saes[number], sources.targets[number]
    key, total = str(sae.pk), sum(sae.width for sae in sources.saes)
    before = sum(sae.width for sae in sources.saes[:number])

    @transaction.atomic
    def write(record: FeatureRange) -> int:
        dashboard_ingest.write_range(sae, sources.corpus, sae.context_size, record)
        job_execution.store_written(job.row, {**job.row.written, key: record.stop})
        return record.stop

    hook, first = written_hook(target.sae, target.hook), job.row.written.get(key, 0)
    ranges = feature_ranges(sources.language, target.sae, hook, scan.accumulators[number], first)
    with closing(background.in_background(write, ranges)) as stops:
        for _ in job.results(
            Progress(before + stop, total, "features", "Writing dashboards") for stop in stops
        ):
            pass


def _declare(
    job: RunningJob, sources: corpus_scan.ScanInputs, scan: ScanState, number: int
) -> None:
    """Declare the dashboards of SAE `number` complete; the last one finishes the job."""
    sae, target = sources.saes[number], sources.targets[number]
    readout = readout_record(sources.language, written_hook(target.sae, target.hook))
    with transaction.atomic():
        accumulator = scan.accumulators[number]
        shown = dashboard_ingest.finish(
            sae,
            sources.corpus,
            accumulator.tokens,
            job.row,
            VERSION,
            readout,
            target.rule,
            accumulator.left_out,
        )
        examples = Example.objects.filter(feature__sae=sae).count()
        job.log(
            f"{sae}: {shown.alive:,} of {sae.width:,} features fired; {examples:,} examples stored."
        )
        if sae == sources.saes[-1]:
            alive = sum(
                Dashboard.objects.filter(sae__in=sources.saes).values_list("alive", flat=True)
            )
            job_execution.finish(
                job.row, {"sae": job.params["sae"], "alive": alive, "tokens": scan.tokens}
            )
        else:
            # raises LostLease where another worker has the job
            job_execution.store_written(job.row, job.row.written)
