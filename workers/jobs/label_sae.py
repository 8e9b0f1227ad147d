"""Jobs that label features without a language model: one pass over the corpus collects evidence,
then each method labels from it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from django.db import transaction
from sae_lens import SAE

from features.jobs import execution as job_execution
from features.jobs.forms import LabelSae
from features.models import Corpus, Feature, Sae, WordList
from features.records import InvalidInput, LabelRecord
from features.services import labels as label_services
from features.version import VERSION
from features.word_list_format import parse
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob
from workers.pipeline.dashboards.corpus_pass import Target
from workers.pipeline.dashboards.logit_lens import find_readout, masked_tokens, to_residual
from workers.pipeline.data import tokens as token_data
from workers.pipeline.labelling import concept_labels, promoted_token_labels
from workers.pipeline.labelling.collect_evidence import EvidenceSettings, collect_evidence
from workers.pipeline.labelling.evidence import Evidence
from workers.pipeline.model.language import Language
from workers.pipeline.sae.reconstruct import written_hook

SETTINGS = ("tokens", "every", "strong", "seed")


class LabellingInputs(NamedTuple):
    """What a labelling method needs; `alive` are the features that fire in the dashboards, and
    `provenance` goes into every label.
    """

    row: Sae
    sae: SAE[Any]
    language: Language
    vocabulary: list[bytes]
    alive: list[int]
    evidence: Evidence
    provenance: dict[str, object]


def label_sae(job: RunningJob) -> None:
    """Label an SAE by every chosen method; each replaces the labels that it wrote before."""
    row = inputs.sae(job.params["sae"])
    labelling = _labelling_inputs(job, row)
    chosen = [setting for setting in METHODS if job.params[setting]]
    labels = {
        setting: list(job.results(METHODS[setting](labelling, job))) if labelling else []
        for setting in chosen
    }
    job.raise_if_stopped()
    with transaction.atomic():
        written = {
            NAMES[setting]: label_services.write_found(
                row, NAMES[setting], labels[setting], job.row
            )
            for setting in chosen
        }
        job_execution.finish(job.row, {"sae": str(row), **written})


def _labelling_inputs(job: RunningJob, row: Sae) -> LabellingInputs | None:
    """The inputs of the methods; None where the corpus is too short for evidence."""
    corpus = inputs.corpus(job)
    dashboard = inputs.dashboard(row, LabelSae.because)
    language, sae = model_cache.load_model(row.model), model_cache.load_sae(row)
    vocabulary = _vocabulary(language)
    settings = EvidenceSettings(**{name: job.params[name] for name in SETTINGS})
    maxima = _maxima(row)
    target = Target(sae, row.hook, dashboard.rule)
    evidence = _evidence(job, row, corpus, target, vocabulary, maxima, settings)
    if evidence is None:
        return None
    provenance: dict[str, object] = {
        "corpus": corpus.slug,
        "corpus_revision": corpus.revision,
        "version": VERSION,
        **settings._asdict(),
        "tokens": len(evidence.ids),
        "counted_tokens": dashboard.rule._asdict(),
    }
    return LabellingInputs(row, sae, language, vocabulary, list(maxima), evidence, provenance)


def _maxima(row: Sae) -> dict[int, float]:
    """The maximum activation of each feature that fires in the dashboards, by rising index."""
    rows = Feature.objects.filter(sae=row).alive().order_by("index")
    return dict(rows.values_list("index", "max_activation"))


def _evidence(
    job: RunningJob,
    row: Sae,
    corpus: Corpus,
    target: Target,
    vocabulary: list[bytes],
    maxima: dict[int, float],
    settings: EvidenceSettings,
) -> Evidence | None:
    # Imported here because the dictionary takes seconds to load, and no other job needs it.
    from workers.pipeline.concepts import word_lists
    from workers.pipeline.concepts.all_concepts import concepts_with_lists
    from workers.pipeline.concepts.token_concepts import TokenConcepts

    language = model_cache.load_model(row.model)
    concepts = TokenConcepts(
        concepts_with_lists(word_lists.word_list_concepts(_word_lists(job))),
        vocabulary,
        partial(_offsets, language),
    )
    contexts = inputs.sequences(
        language, corpus, row.context_size, False, bos=row.prepend_bos, seen=concepts.add_document
    )
    column = torch.zeros(row.width)
    for index, maximum in maxima.items():
        column[index] = maximum
    records = collect_evidence(
        language, target, contexts, concepts, column, settings, job.should_stop
    )
    return next(iter(list(job.results(records))), None)


def _word_lists(job: RunningJob) -> dict[str, list[str]]:
    """The word lists in the params and the stored ones that they name, joined by name."""
    lists = parse(job.params["lists"])
    slugs = job.params.get("kept_lists", [])
    stored = {row.slug: row.entries for row in WordList.objects.filter(slug__in=slugs)}
    if missing := [slug for slug in slugs if slug not in stored]:
        raise InvalidInput("kept_lists", f"There is no word list “{missing[0]}” any more.")
    return lists | {slug: [*lists.get(slug, []), *entries] for slug, entries in stored.items()}


def _label_concepts(labelling: LabellingInputs, job: RunningJob) -> Iterator[Any]:
    options = {"minimum": job.params["minimum"], "seed": job.params["seed"]}
    return concept_labels.label_concepts(
        labelling.evidence,
        labelling.alive,
        labelling.vocabulary,
        **options,
        about=labelling.provenance,
        should_stop=job.should_stop,
    )


def _label_promoted_tokens(labelling: LabellingInputs, job: RunningJob) -> Iterator[Any]:
    from workers.pipeline.concepts.all_concepts import CONCEPTS

    readout = find_readout(labelling.language.model, masked_tokens(labelling.language))
    rows = torch.tensor(labelling.alive, dtype=torch.int64, device=labelling.sae.W_dec.device)
    hook = written_hook(labelling.sae, labelling.row.hook)
    directions = to_residual(labelling.language.model, labelling.sae.W_dec[rows].detach(), hook).to(
        readout.gain.device
    )
    classes = promoted_token_labels.TokenClasses(CONCEPTS, labelling.vocabulary)
    return promoted_token_labels.label_promoted_tokens(
        labelling.evidence, labelling.alive, readout, directions, classes, labelling.vocabulary,
        seed=job.params["seed"], about=labelling.provenance, should_stop=job.should_stop,
    )  # fmt: skip


METHODS: dict[str, Callable[[LabellingInputs, RunningJob], Iterator[LabelRecord]]] = {
    "concepts": _label_concepts,
    "logits": _label_promoted_tokens,
}
NAMES = {"concepts": "concept", "logits": "logits"}
"""The `method` of labels, by the setting of the job that chooses it."""


def _vocabulary(language: Language) -> list[bytes]:
    """The bytes of each token by id; empty for an id without a token."""
    records = token_data.vocabulary(language.tokenizer)
    texts = [b""] * max(
        language.model.get_output_embeddings().weight.shape[0], records[-1].token_id + 1
    )
    for record in records:
        texts[record.token_id] = record.text
    return texts


def _offsets(language: Language, text: str) -> list[tuple[int, int]]:
    """The character offsets of a text's tokens; none from a tokenizer that has no offsets."""
    if not language.tokenizer.is_fast:
        return []
    encoded = language.tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    return list(encoded["offset_mapping"])
