"""Reads of what features do."""

from typing import NamedTuple

from features.records import RoleRecord
from features.selectors.feature_view import FeatureView
from features.token_spans import in_sentence
from features.vocabulary import vocabulary_of


class Effect(NamedTuple):
    """Both roles of a feature, the tokens that it makes likelier as people read them, and the job
    that measured it.
    """

    reads: RoleRecord
    writes: RoleRecord
    promoted: list[str]
    job_id: int | None


def effect(view: FeatureView) -> Effect | None:
    """What changing a feature did; None until it was measured. One query where a token is new to
    this process.
    """
    row = view.effect
    if row is None:
        return None
    vocabulary = vocabulary_of(view.sae.model_id, row.promoted)
    promoted = in_sentence(row.promoted, vocabulary)
    return Effect(RoleRecord(**row.reads), RoleRecord(**row.writes), promoted, row.job_id)
