"""Contexts: one as it is stored, its neighbours, and the text of an example to try."""

from typing import NamedTuple

from features.models import Example, Sae, Sequence
from features.token_spans import text_of
from features.vocabulary import vocabulary_of

BROKEN = "\ufffd"


class ContextView(NamedTuple):
    """A context, and the ids of those stored before and after it in the corpus as cut; None where
    they are not.
    """

    sequence: Sequence
    previous: int | None
    next: int | None


def context(sae: Sae, pk: int) -> ContextView:
    """A context of the SAE's model, in two queries. Raises `Sequence.DoesNotExist`."""
    row = Sequence.objects.select_related("corpus").get(pk=pk, model=sae.model_id)
    same = Sequence.objects.filter(
        corpus=row.corpus_id, model=row.model_id, context_size=row.context_size, bos=row.bos
    )
    neighbours = dict(
        same.filter(position__in=(row.position - 1, row.position + 1)).values_list("position", "pk")
    )
    return ContextView(row, neighbours.get(row.position - 1), neighbours.get(row.position + 1))


def text_of_example(model: str, sae: str, index: int, band: int, rank: int) -> str:
    """The text around the peak of a feature's example, up to the next special token at each side.

    A character that the end of the context cuts is left out. Raises `Example.DoesNotExist`.
    """
    of = {"feature__sae__model__slug": model, "feature__sae__slug": sae, "feature__index": index}
    row = Example.objects.select_related("sequence").get(band=band, rank=rank, **of)
    ids = row.sequence.token_ids
    vocabulary = vocabulary_of(row.sequence.model_id, ids)
    special = [
        place for place, token_id in enumerate(ids) if vocabulary.get(token_id, (b"", False))[1]
    ]
    start = max((place + 1 for place in special if place < row.peak), default=0)
    stop = min((place for place in special if place > row.peak), default=len(ids))
    return text_of(ids[start:stop], vocabulary).strip(BROKEN)
