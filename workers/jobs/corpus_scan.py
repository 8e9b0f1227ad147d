"""Scanning a corpus, or one shard of it, for the statistics of dashboards.

The scan is stored as a checkpoint at intervals and at its end; the next attempt resumes from the
last one.
"""

import hashlib
import json
import shutil
from typing import Any, NamedTuple

from features import artifact_store
from features.jobs import execution as job_execution
from features.models import Corpus, Sae
from features.records import InvalidInput
from features.version import VERSION
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob
from workers.pipeline.dashboards import checkpoint as scan_checkpoint
from workers.pipeline.dashboards.compute import DEFAULTS, scan_with_progress, validate_settings
from workers.pipeline.dashboards.corpus_pass import ScanState, Shard, Target
from workers.pipeline.model.language import Language


class ScanInputs(NamedTuple):
    """What a job reads: `targets` are the weights of `saes`; `made_from` is a digest of everything
    that its numbers depend on.
    """

    saes: list[Sae]
    corpus: Corpus
    language: Language
    targets: list[Target]
    made_from: str


def scan_inputs(job: RunningJob) -> ScanInputs:
    """The rows and weights that the params name. `InvalidInput` where they do not go together."""
    saes = [inputs.sae(path) for path in job.params["sae"].split()]
    first = saes[0]
    for sae in saes:
        if (sae.context_size, sae.prepend_bos, sae.model) != (
            first.context_size,
            first.prepend_bos,
            first.model,
        ):
            raise InvalidInput(
                "sae",
                f"{first} and {sae} read contexts of different sizes or beginnings, or different "
                "models.",
            )
    corpus = inputs.corpus(job)
    language = model_cache.load_model(first.model)
    rules = [inputs.rule(job, sae, language, corpus) for sae in saes]
    if len({rule.first_positions for rule in rules}) > 1:
        raise InvalidInput(
            "first_positions",
            "These SAEs leave out different numbers of first tokens: choose one for all.",
        )
    targets = [
        Target(model_cache.load_sae(sae), sae.hook, rule)
        for sae, rule in zip(saes, rules, strict=True)
    ]
    for target in targets:
        validate_settings(language, target, job.params["tokens"])
    facts: list[list[Any]] = [
        [sae.pk, sae.sha256, sae.hook, sae.context_size, sae.prepend_bos, *rule]
        for sae, rule in zip(saes, rules, strict=True)
    ]
    facts += [
        [VERSION, language.revision, corpus.pk, corpus.revision, job.params["tokens"], *DEFAULTS]
    ]
    return ScanInputs(
        saes, corpus, language, targets, hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    )


def scan_corpus(job: RunningJob, sources: ScanInputs, shard: Shard) -> ScanState:
    """Read the corpus or a shard of it, from the last checkpoint on."""
    begun = _resume(job, sources)
    if begun and begun.complete:
        return begun
    sae, folder = sources.saes[0], job.folder / "scan"
    sequences = inputs.sequences(
        sources.language, sources.corpus, sae.context_size, False, bos=sae.prepend_bos
    )
    records = scan_with_progress(
        sources.language, sources.targets, sequences, job.params["tokens"],
        shard=shard, begun=begun, checkpoints=(folder, sources.made_from),
        should_stop=job.should_stop,
    )  # fmt: skip
    *_, scan = job.results(records)
    assert isinstance(scan, ScanState)
    return scan


def _resume(job: RunningJob, sources: ScanInputs) -> ScanState | None:
    """The scan of an earlier attempt; None where there is none that this one can resume."""
    if job.row.checkpoint:
        try:
            scan = load_scan(job, sources, job.row.checkpoint)
        except (InvalidInput, artifact_store.Missing) as error:
            job.log(f"Starting from the beginning. {error}")
        else:
            job.log(f"Continuing after {scan.tokens:,} tokens that were read already.")
            return scan
    if job.row.written:
        job_execution.store_written(job.row, {})  # belongs to another scan
    return None


def load_scan(job: RunningJob, sources: ScanInputs, name: str) -> ScanState:
    """The scan that a checkpoint holds. `InvalidInput` where it was made from other inputs."""
    folder = artifact_store.get(name, job.folder / "loaded")
    try:
        return scan_checkpoint.load_checkpoint(
            folder, DEFAULTS, sources.targets[0].sae.W_dec.device, sources.made_from
        )
    finally:
        shutil.rmtree(folder)
