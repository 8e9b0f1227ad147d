"""Reads of steering runs: one as its page shows it, what came since, and what somebody asked for
before.
"""

from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from features.models import Feature, LanguageModel, SteeringDelta, SteeringRequest, SteeringRun
from features.records import Intervention
from features.steering import transcript
from features.steering.transcript import Change, Result, SteeredSpan, Sweep
from features.token_spans import Span, Vocabulary, spans, strongest
from features.vocabulary import vocabulary_of

HISTORY = 20


class RunView(NamedTuple):
    """A run with its texts as boxes, lit by the feature that is `shown`; of a sweep the `sweep`
    alone says something.
    """

    run: SteeringRun
    result: Result
    vocabulary: Vocabulary
    features: dict[tuple[str, int], Feature]
    shown: int
    prompt: list[Span]
    default: list[SteeredSpan]
    steered: list[SteeredSpan]
    changes: list[Change]
    sweep: Sweep

    @property
    def intervention(self) -> Intervention:
        """What is done to the feature that is shown."""
        return self.run.interventions[self.shown]

    @property
    def feature(self) -> Feature | None:
        """Its row; None where it is gone."""
        return self.features.get((self.intervention.sae, self.intervention.index))

    @property
    def activations(self) -> list[dict[str, Any]]:
        """For each feature its mean and its largest activation in both texts."""
        default, changed = self.result.texts
        return [
            {
                "intervention": intervention,
                "default": _ends(default.activations[i]),
                "steered": _ends(changed.activations[i]),
            }
            for i, intervention in enumerate(self.run.interventions)
        ]

    @property
    def same(self) -> bool:
        """Whether both texts are the same so far."""
        return all(change.same for change in self.changes)


class News(NamedTuple):
    """A run's state, and the pieces that came after the last one that the reader has: (number,
    pieces).
    """

    state: str
    over: bool
    error: dict[str, Any] | None
    deltas: list[tuple[int, list[dict[str, Any]]]]


def run(pk: int) -> SteeringRun:
    """One run with its model. Raises `SteeringRun.DoesNotExist`."""
    return SteeringRun.objects.select_related("model").get(pk=pk)


def view(pk: int, shown: int = 0) -> RunView:
    """One run with all that came; four queries. Raises `SteeringRun.DoesNotExist`."""
    found = run(pk)
    interventions = found.interventions
    deltas = list(SteeringDelta.objects.filter(run=pk).values_list("data", flat=True))
    pieces = [piece for data in deltas for piece in data]
    result = transcript.fold_pieces(pieces, len(interventions))
    sweep = transcript.fold_sweep(pieces)
    shown = shown if 0 <= shown < len(interventions) else 0
    written = [
        *(text.token_ids for text in result.texts),
        *(sweep.dose["texts"] if sweep.dose else ()),
    ]
    ids = {*result.prompt, *(token for text in written for token in text)}
    vocabulary = vocabulary_of(found.model_id, ids)
    maximum, (default, changed) = interventions[shown].maximum, result.texts
    return RunView(
        found,
        result,
        vocabulary,
        features(found.model_id, [(one.sae, one.index) for one in interventions]),
        shown,
        _prompt(result, vocabulary, shown, maximum),
        transcript.steered_spans(default, vocabulary, shown, maximum),
        transcript.steered_spans(changed, vocabulary, shown, maximum, default),
        transcript.diff_texts(default.token_ids, changed.token_ids, vocabulary),
        sweep,
    )


def news(pk: int, after: int) -> News | None:
    """What came after piece `after`; None where there is no such run. Two queries."""
    found = SteeringRun.objects.filter(pk=pk).values_list("state", "error").first()
    if found is None:
        return None
    state, error = found
    deltas = list(
        SteeringDelta.objects.filter(run=pk, number__gt=after).values_list("number", "data")
    )
    return News(state, state in SteeringRun.FINAL, error, deltas)


def features(model_id: int, names: list[tuple[str, int]]) -> dict[tuple[str, int], Feature]:
    """Rows of features of a model by the slug of their SAE and their index, with their labels; one
    query.
    """
    wanted = Q(pk=None)
    for slug, index in names:
        wanted |= Q(sae__slug=slug, index=index)
    rows = Feature.objects.filter(wanted, sae__model=model_id).select_related("sae__model", "label")
    return {(row.sae.slug, row.index): row for row in rows}


def history(who: str) -> QuerySet[SteeringRequest]:
    """Runs that a person requested, newest first; named ones are presets."""
    return (
        SteeringRequest.objects.filter(who=who)
        .select_related("run__model")
        .order_by("-at")[:HISTORY]
    )


def presets(who: str) -> QuerySet[SteeringRequest]:
    """The presets of a person."""
    return (
        SteeringRequest.objects.filter(who=who)
        .exclude(name="")
        .select_related("run__model")
        .order_by("name")
    )


def _ends(values: list[float]) -> tuple[float | None, float | None]:
    return (sum(values) / len(values), strongest(values)) if values else (None, None)


def _prompt(result: Result, vocabulary: Vocabulary, shown: int, maximum: float) -> list[Span]:
    values = result.prompt_activations[shown] if result.prompt_activations else []
    fired = [(place, value) for place, value in enumerate(values) if value != 0]
    full = maximum or abs(strongest(values) or 0.0)
    return spans(
        result.prompt, vocabulary, [p for p, _ in fired], [v for _, v in fired], None, full
    )


def find(model: LanguageModel, sought: str, most: int) -> list[Feature]:
    """Live features of a model by SAE/INDEX, by index, or by words of their labels, most supported
    first; one query.
    """
    sae, _, index = sought.rpartition("/")
    rows = Feature.objects.filter(sae__model=model, fires__gt=0).select_related(
        "sae__model", "label"
    )
    if index.isascii() and index.isdigit() and len(index) < 10:
        rows = (
            rows.filter(index=int(index), sae__slug=sae) if sae else rows.filter(index=int(index))
        )
        return list(rows.order_by("sae__slug")[:most])
    return list(
        rows.filter(label__text__icontains=sought).order_by(
            "-label__support", "sae__slug", "index"
        )[:most]
    )
