"""Writing what workers read: models, corpora, SAEs."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from features.models import Corpus, Job, LanguageModel, Sae, Token
from features.records import CountingRule, Evaluation, LeftOut, ModelRecord, TrainedSae


@transaction.atomic
def add_model(slug: str, source: str, record: ModelRecord) -> LanguageModel:
    """Write a model with its whole vocabulary, or nothing."""
    shape = {name: value for name, value in record._asdict().items() if name != "tokens"}
    model = LanguageModel.objects.create(slug=slug, source=source, **shape)
    tokens = (
        Token(model=model, token_id=t.token_id, text=t.text, special=t.special)
        for t in record.tokens
    )
    Token.objects.bulk_create(tokens, batch_size=5000)
    return model


def add_corpus(
    slug: str,
    source: str,
    text_column: str,
    licence: str,
    revision: str,
    note: str,
    *,
    chat: bool = False,
    packing: str = Corpus.Packing.PACKED,
    bos: str = Corpus.Bos.ASKED,
) -> Corpus:
    """Write a corpus that was found readable."""
    return Corpus.objects.create(
        slug=slug,
        source=source,
        text_column=text_column,
        licence=licence,
        revision=revision,
        note=note,
        chat=chat,
        packing=packing,
        bos=bos,
    )


def counted_tokens(rule: CountingRule, left_out: LeftOut | None) -> dict[str, Any]:
    """Which tokens count, and how many did not, as pages and the API show it."""
    return {**rule._asdict(), "left_out": left_out._asdict() if left_out else None}


def add_sae(
    model: LanguageModel,
    slug: str,
    record: TrainedSae,
    artifact: str,
    corpus: Corpus | None,
    job: Job | None,
    origin: Mapping[str, Any] | None = None,
) -> Sae:
    """Write a finished SAE whose weights lie at `artifact` below the artifacts' address; `origin`
    says where it is from.
    """
    return Sae.objects.create(
        model=model,
        slug=slug,
        hook=record.hook,
        architecture=record.architecture,
        d_in=record.d_in,
        width=record.width,
        context_size=record.context_size,
        artifact=artifact,
        sha256=record.sha256,
        config=record.config,
        training_metrics=record.metrics,
        counted_tokens=counted_tokens(record.rule, record.left_out),
        corpus=corpus,
        made_by=job,
        origin=dict(origin) if origin else None,
    )


def store_median_norm(sae: Sae, median_norm: float) -> None:
    """Store the reference of an SAE that has none yet; the first one that is stored stays."""
    without = Sae.objects.select_for_update().filter(pk=sae.pk)
    with transaction.atomic():
        stored = without.get()
        if not stored.rule.median_norm:
            rule = stored.rule._replace(median_norm=median_norm)
            stored.counted_tokens = {"left_out": None, **stored.counted_tokens, **rule._asdict()}
            stored.save(update_fields=["counted_tokens"])
    sae.counted_tokens = stored.counted_tokens


def keep_evaluation(sae: Sae, record: Evaluation, corpus: Corpus, job: Job | None) -> None:
    """Replace what is known of an SAE's quality."""
    sae.evaluation = {
        "tokens": record.tokens,
        "counted_tokens": counted_tokens(record.rule, record.left_out),
        "corpus": corpus.slug,
        "values": record.values,
        "density_histogram": record.density_histogram,
    }
    sae.evaluated_by = job
    sae.save(update_fields=["evaluation", "evaluated_by"])
