"""Reads of models, corpora and SAEs."""

from django.db.models import Case, Count, F, FloatField, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Cast, Coalesce, NullIf

from features.jobs.forms import AddModel
from features.models import Corpus, Feature, Job, LanguageModel, Sae


def models() -> QuerySet[LanguageModel]:
    """Every model with `sae_count` and `shown_count` (SAEs whose dashboards are complete)."""
    return LanguageModel.objects.annotate(
        sae_count=Count("saes", distinct=True),
        shown_count=Count("saes", filter=Q(saes__dashboard__isnull=False), distinct=True),
    ).order_by("slug")


def model(slug: str) -> LanguageModel:
    """One model with the same counts. Raises `LanguageModel.DoesNotExist`."""
    return models().get(slug=slug)


def corpora() -> QuerySet[Corpus]:
    """Every corpus."""
    return Corpus.objects.order_by("slug")


def saes(model: str = "") -> QuerySet[Sae]:
    """SAEs, of one model or of all, with all that a list or a page shows in one query."""
    rows = Sae.objects.select_related(
        "model", "corpus", "made_by", "evaluated_by", "dashboard__corpus", "dashboard__job"
    )
    if model:
        rows = rows.filter(model__slug=model)
    return rows.order_by("model__slug", "slug")


def saes_with_labels(model: str = "") -> QuerySet[Sae]:
    """The same with `labelled_share`, of its live features those with a label; None where none is
    known to live.
    """
    # of those without one there is an index, and the dashboards counted the live: no feature's wide
    # row is read
    without = (
        Feature.objects.filter(sae=OuterRef("pk"), label=None, fires__gt=0).order_by().values("sae")
    )
    count = Coalesce(Subquery(without.annotate(n=Count("pk")).values("n")), 0)
    alive = NullIf(F("dashboard__alive"), 0)
    return saes(model).annotate(
        labelled_share=1.0 - Cast(count, FloatField()) / Cast(alive, FloatField())
    )


def sae(model: str, slug: str) -> Sae:
    """One SAE. Raises `Sae.DoesNotExist`."""
    return saes(model).get(slug=slug)


def happening(model: str = "", sae: str = "") -> QuerySet[Job]:
    """Jobs that are not over, those that run now first; with slugs, only those that make or use
    that model or SAE.
    """
    rows = Job.objects.filter(state__in=[Job.State.RUNNING, Job.State.QUEUED, Job.State.WAITING])
    if sae:
        rows = rows.filter(
            Q(params__sae=f"{model}/{sae}") | Q(params__model=model, params__slug=sae)
        )
    elif model:
        uses = (
            Q(params__model=model)
            | Q(kind=AddModel.kind, params__slug=model)
            | Q(params__sae__startswith=f"{model}/")
        )
        rows = rows.filter(uses)
    return rows.order_by(Case(When(state=Job.State.RUNNING, then=0), default=1), "id")


def searchable() -> QuerySet[Sae]:
    """SAEs of all models whose dashboards are complete, by model and slug, with what a search
    needs.
    """
    needed = (
        "slug",
        "hook",
        "width",
        "sha256",
        "config",
        "model__slug",
        "model__revision",
        "model__bos_token_id",
    )
    return (
        Sae.objects.filter(dashboard__isnull=False)
        .select_related("model")
        .only(*needed)
        .order_by("model__slug", "slug")
    )
