"""Reads of some features at once, to be shown beside each other."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

from django.db.models import Q

from features.models import Example, Feature
from features.selectors.dashboard import ShownExample, TokenLogit
from features.selectors.features import logits_of, shown_example
from features.selectors.vocabulary import vocabulary_of

EXAMPLES = 4


class Path(NamedTuple):
    """Which feature: slugs and index."""

    model: str
    sae: str
    index: int  # type: ignore[assignment]  # tuple has a method of that name, which nobody calls here

    def __str__(self) -> str:
        return f"{self.model}/{self.sae}/{self.index}"


class Beside(NamedTuple):
    """A feature with its top examples, and what it promotes and suppresses most."""

    feature: Feature
    examples: list[ShownExample]
    top_logits: list[TokenLogit]
    bottom_logits: list[TokenLogit]


def beside(paths: Sequence[Path]) -> dict[Path, Beside]:
    """Those of the features that there are, in two queries and one for each of their models."""
    wanted = (
        Q(sae__model__slug=path.model, sae__slug=path.sae, index=path.index) for path in paths
    )
    rows = (
        list(Feature.objects.filter(reduce(or_, wanted)).select_related("sae__model"))
        if paths
        else []
    )
    top = Example.objects.filter(feature__in=rows, band=0, rank__lt=EXAMPLES).select_related(
        "sequence"
    )
    examples, ids = defaultdict(list), defaultdict(set)
    for e in top.order_by("feature", "rank") if rows else ():
        examples[e.feature_id].append(e)
        ids[e.sequence.model_id].update(e.sequence.token_ids)
    for row in rows:
        ids[row.sae.model_id].update(row.top_logit_ids, row.bottom_logit_ids)
    vocabularies = {model: vocabulary_of(model, wanted_ids) for model, wanted_ids in ids.items()}
    found = {}
    for row in rows:
        vocabulary = vocabularies[row.sae.model_id]
        found[Path(row.sae.model.slug, row.sae.slug, row.index)] = Beside(
            row,
            [shown_example(e, vocabulary, row.max_activation) for e in examples[row.pk]],
            logits_of(row.top_logit_ids, row.top_logits, vocabulary),
            logits_of(row.bottom_logit_ids, row.bottom_logits, vocabulary),
        )
    return {path: found[path] for path in paths if path in found}
