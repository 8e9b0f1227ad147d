"""Dashboards, from a job's row to the rows of features: read the corpus or merge what parts of it
gave, write, declare.

Every phase goes on where an attempt before it was cut off. The reading is put down as a checkpoint
now and then, and at its end; a part's last checkpoint is what the whole merges. The writing keeps,
in the transaction of each range of features, how far it is (`Job.written`); and an SAE whose
dashboards this job declared is left alone.
"""

import hashlib
import json
import shutil
from contextlib import closing
from typing import NamedTuple

from django.db import transaction

from features import artifact_store
from features.ingest import background
from features.ingest import dashboards as dashboard_ingest
from features.jobs import lifecycle
from features.models import Corpus, Dashboard, Example, Job, Sae
from features.records import FeatureRange, Progress
from features.version import VERSION
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle import cleanup
from workers.lifecycle.runner import Work
from workers.pipeline.dashboards import checkpoint as scan_checkpoint
from workers.pipeline.dashboards.corpus_pass import WHOLE, Scan, Shard, Target
from workers.pipeline.dashboards.logit_lens import readout_record
from workers.pipeline.dashboards.records import feature_ranges
from workers.pipeline.dashboards.run import DEFAULTS, about, check, read_corpus
from workers.pipeline.errors import BadInput
from workers.pipeline.model.language import Language
from workers.pipeline.sae.io import written_hook


class Given(NamedTuple):
    """What a job reads: `targets` are the weights of `saes`; `made_from` names all that its numbers
    depend on.
    """

    saes: list[Sae]
    corpus: Corpus
    language: Language
    targets: list[Target]
    made_from: str


def compute_dashboards(work: Work) -> None:
    """Fill the features of one or several SAEs, and declare each complete."""
    given = _given(work)
    parts = list(work.job.parts.order_by("id"))
    scan = _merged(work, given, parts) if parts else _scanned(work, given, WHOLE)
    for sae, target, tally in zip(given.saes, given.targets, scan.tallies, strict=True):
        name = f"{sae}: " if len(given.saes) > 1 else ""
        for line in about(target, tally, work.params["tokens"]):
            work.say(name + line.text)
    for place in range(len(given.saes)):
        if not Dashboard.objects.filter(sae=given.saes[place], job=work.job).exists():
            _write(work, given, scan, place)
        _declare(work, given, scan, place)
    cleanup.clear()


def scan_shard(work: Work) -> None:
    """Read one shard; its last checkpoint, which is all of it, stays for the job that it is a part
    of.
    """
    given = _given(work)
    scan = _scanned(work, given, Shard(work.params["shard"] - 1, work.params["shards"]))
    lifecycle.finish(work.job, {"tokens": scan.tokens})


def _given(work: Work) -> Given:
    """The rows and weights that the params name. `BadInput` where they do not go together."""
    saes = [inputs.sae(path) for path in work.params["sae"].split()]
    first = saes[0]
    for sae in saes:
        if (sae.context_size, sae.prepend_bos, sae.model) != (
            first.context_size,
            first.prepend_bos,
            first.model,
        ):
            raise BadInput(
                "sae",
                f"{first} and {sae} read contexts of different sizes or beginnings, or different "
                "models.",
            )
    corpus = inputs.corpus(work)
    language = model_cache.language(first.model)
    targets = [Target(model_cache.sae(sae), sae.hook) for sae in saes]
    for target in targets:
        check(language, target, work.params["tokens"])
    facts = [[sae.pk, sae.sha256, sae.hook, sae.context_size, sae.prepend_bos] for sae in saes]
    facts += [
        [VERSION, language.revision, corpus.pk, corpus.revision, work.params["tokens"], *DEFAULTS]
    ]
    return Given(
        saes, corpus, language, targets, hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    )


def _scanned(work: Work, given: Given, shard: Shard) -> Scan:
    """Read the corpus or a shard of it, from the last checkpoint on."""
    begun = _begun(work, given)
    if begun and begun.complete:
        return begun
    sae, places = given.saes[0], work.folder / "scan"
    sequences = inputs.sequences(
        given.language, given.corpus, sae.context_size, False, bos=sae.prepend_bos
    )
    records = read_corpus(
        given.language, given.targets, sequences, work.params["tokens"], shard=shard, begun=begun,
        keep=(places, given.made_from), should_stop=work.should_stop,
    )  # fmt: skip
    *_, found = work.results(records)
    assert isinstance(found, Scan)
    return found


def _begun(work: Work, given: Given) -> Scan | None:
    """What an attempt before this one read; None where there is nothing, or nothing that can be
    gone on from.
    """
    if work.job.checkpoint:
        try:
            found = _loaded(work, given, work.job.checkpoint)
        except (BadInput, artifact_store.Missing) as error:
            work.say(f"Beginning again. {error}")
        else:
            work.say(f"Going on after the {found.tokens:,} tokens that were read.")
            return found
    if work.job.written:
        lifecycle.wrote(work.job, {})  # of another reading
    return None


def _loaded(work: Work, given: Given, name: str) -> Scan:
    place = artifact_store.get(name, work.folder / "loaded")
    try:
        return scan_checkpoint.load(
            place, DEFAULTS, given.targets[0].sae.W_dec.device, given.made_from
        )
    finally:
        shutil.rmtree(place)


def _merged(work: Work, given: Given, parts: list[Job]) -> Scan:
    """What the parts read, as one: the tallies of two of them are in memory at a time."""
    merged: Scan | None = None
    for number, part in enumerate(parts):
        list(work.results([Progress(number, len(parts), "parts", "Merging what the parts read")]))
        merged = _joined(merged, _loaded(work, given, part.checkpoint))
    assert merged is not None
    return merged


def _joined(merged: Scan | None, scan: Scan) -> Scan:
    if merged is None:
        return scan
    for tally, other in zip(merged.tallies, scan.tallies, strict=True):
        tally.merge(other)
    return merged


def _write(work: Work, given: Given, scan: Scan, place: int) -> None:
    """Write the features of the SAE at that place while the next ones are computed, from the first
    that is not there on.
    """
    sae, target = given.saes[place], given.targets[place]
    key, total = str(sae.pk), sum(sae.width for sae in given.saes)
    before = sum(sae.width for sae in given.saes[:place])

    @transaction.atomic
    def write(record: FeatureRange) -> int:
        dashboard_ingest.write_range(sae, given.corpus, sae.context_size, record)
        lifecycle.wrote(work.job, {**work.job.written, key: record.stop})
        return record.stop

    hook, first = written_hook(target.sae, target.hook), work.job.written.get(key, 0)
    ranges = feature_ranges(given.language, target.sae, hook, scan.tallies[place], first)
    with closing(background.in_background(write, ranges)) as stops:
        for _ in work.results(
            Progress(before + stop, total, "features", "Writing dashboards") for stop in stops
        ):
            pass


def _declare(work: Work, given: Given, scan: Scan, place: int) -> None:
    """Declare the dashboards of the SAE at that place complete; with the last, the job
    is finished.
    """
    sae, target = given.saes[place], given.targets[place]
    readout = readout_record(given.language, written_hook(target.sae, target.hook))
    with transaction.atomic():
        shown = dashboard_ingest.finish(sae, given.corpus, scan.tokens, work.job, VERSION, readout)
        examples = Example.objects.filter(feature__sae=sae).count()
        work.say(
            f"{sae}: {shown.alive:,} of {sae.width:,} features fired; {examples:,} examples kept."
        )
        if sae == given.saes[-1]:
            alive = sum(
                Dashboard.objects.filter(sae__in=given.saes).values_list("alive", flat=True)
            )
            lifecycle.finish(
                work.job, {"sae": work.params["sae"], "alive": alive, "tokens": scan.tokens}
            )
        else:
            lifecycle.wrote(work.job, work.job.written)  # fails where the job is no longer ours
