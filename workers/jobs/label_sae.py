"""Labels that no model writes, from their job's row to the rows of labels: one pass over the
corpus, then each method.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from django.db import transaction
from sae_lens import SAE

from features.jobs import execution as job_execution
from features.jobs.forms import LabelSae
from features.models import Feature, Sae, WordList
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


class Given(NamedTuple):
    """What a method of labelling needs: `alive` are the features that the dashboards
    found alive.
    """

    row: Sae
    sae: SAE[Any]
    language: Language
    vocabulary: list[bytes]
    alive: list[int]
    evidence: Evidence
    about: dict[str, object]


def label_sae(job: RunningJob) -> None:
    """Make the labels of an SAE by every chosen method, and put them in the place of what these
    methods said before.
    """
    row = inputs.sae(job.params["sae"])
    given = _given(job, row)
    chosen = [setting for setting in METHODS if job.params[setting]]
    found = {
        setting: list(job.results(METHODS[setting](given, job))) if given else []
        for setting in chosen
    }
    job.raise_if_stopped()
    with transaction.atomic():
        said = {
            NAMES[setting]: label_services.write_found(row, NAMES[setting], found[setting], job.row)
            for setting in chosen
        }
        job_execution.finish(job.row, {"sae": str(row), **said})


def _given(job: RunningJob, row: Sae) -> Given | None:
    """What the corpus shows; None where it is too little."""
    # Imported here because the dictionary takes seconds to load, and no other job needs it.
    from workers.pipeline.concepts import word_lists
    from workers.pipeline.concepts.all_concepts import concepts_with_lists
    from workers.pipeline.concepts.token_concepts import TokenConcepts

    corpus = inputs.corpus(job)
    inputs.dashboard(row, LabelSae.because)
    language, sae = model_cache.load_model(row.model), model_cache.load_sae(row)
    vocabulary = _vocabulary(language)
    concepts = TokenConcepts(
        concepts_with_lists(word_lists.word_list_concepts(_word_lists(job))),
        vocabulary,
        partial(_offsets, language),
    )
    contexts = inputs.sequences(
        language, corpus, row.context_size, False, bos=row.prepend_bos, seen=concepts.add_document
    )
    maxima = torch.zeros(row.width)
    rows = list(
        Feature.objects.filter(sae=row)
        .alive()
        .order_by("index")
        .values_list("index", "max_activation")
    )
    for index, maximum in rows:
        maxima[index] = maximum
    settings = EvidenceSettings(**{name: job.params[name] for name in SETTINGS})
    target = Target(sae, row.hook)
    found = list(
        job.results(
            collect_evidence(
                language, target, contexts, concepts, maxima, settings, job.should_stop
            )
        )
    )
    if not found:
        return None
    evidence: Evidence = found[0]
    about: dict[str, object] = {
        "corpus": corpus.slug,
        "corpus_revision": corpus.revision,
        "version": VERSION,
    }
    about |= {**settings._asdict(), "tokens": len(evidence.ids)}
    return Given(row, sae, language, vocabulary, [index for index, _ in rows], evidence, about)


def _word_lists(job: RunningJob) -> dict[str, list[str]]:
    """The lists that the job was given and those that it names, entries of one name together."""
    found = parse(job.params["lists"])
    slugs = job.params.get("kept_lists", [])
    kept = {row.slug: row.entries for row in WordList.objects.filter(slug__in=slugs)}
    if gone := [slug for slug in slugs if slug not in kept]:
        raise InvalidInput("kept_lists", f"There is no word list “{gone[0]}” any more.")
    return found | {slug: [*found.get(slug, []), *entries] for slug, entries in kept.items()}


def _concepts(given: Given, job: RunningJob) -> Iterator[Any]:
    options = {"minimum": job.params["minimum"], "seed": job.params["seed"]}
    return concept_labels.label_concepts(
        given.evidence,
        given.alive,
        given.vocabulary,
        **options,
        about=given.about,
        should_stop=job.should_stop,
    )


def _promotes(given: Given, job: RunningJob) -> Iterator[Any]:
    from workers.pipeline.concepts.all_concepts import CONCEPTS

    readout = find_readout(given.language.model, masked_tokens(given.language))
    rows = torch.tensor(given.alive, dtype=torch.int64, device=given.sae.W_dec.device)
    hook = written_hook(given.sae, given.row.hook)
    directions = to_residual(given.language.model, given.sae.W_dec[rows].detach(), hook).to(
        readout.gain.device
    )
    classes = promoted_token_labels.TokenClasses(CONCEPTS, given.vocabulary)
    return promoted_token_labels.label_promoted_tokens(
        given.evidence, given.alive, readout, directions, classes, given.vocabulary,
        seed=job.params["seed"], about=given.about, should_stop=job.should_stop,
    )  # fmt: skip


METHODS: dict[str, Callable[[Given, RunningJob], Iterator[LabelRecord]]] = {
    "concepts": _concepts,
    "logits": _promotes,
}
NAMES = {"concepts": "concept", "logits": "logits"}
"""Of the job's setting, the method that its labels name."""


def _vocabulary(language: Language) -> list[bytes]:
    """The bytes of each token by id; empty where an id is no token."""
    records = token_data.vocabulary(language.tokenizer)
    found = [b""] * max(
        language.model.get_output_embeddings().weight.shape[0], records[-1].token_id + 1
    )
    for record in records:
        found[record.token_id] = record.text
    return found


def _offsets(language: Language, text: str) -> list[tuple[int, int]]:
    """The characters of a text's tokens as the tokenizer tells them; none where it cannot."""
    if not language.tokenizer.is_fast:
        return []
    encoded = language.tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    return list(encoded["offset_mapping"])
