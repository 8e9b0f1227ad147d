"""Write matches between two SAEs, both directions in one transaction, replacing earlier ones."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable

from django.db import transaction

from features.ingest.dashboards import copy_rows
from features.models import Job, Match, Matching, Sae
from features.models.match import BINS
from features.records import FeatureMatches, SaeMatches

EDGES = [place / BINS for place in range(BINS)]


@transaction.atomic
def write(sae: Sae, other: Sae, record: SaeMatches, job: Job | None) -> tuple[Matching, Matching]:
    """Write the matches of `sae` in `other` and of `other` in `sae`, with a summary of each."""
    return _write(sae, other, record.there, job), _write(other, sae, record.back, job)


def _write(sae: Sae, other: Sae, found: FeatureMatches, job: Job | None) -> Matching:
    Matching.objects.filter(sae=sae, other=other).delete()
    Match.objects.filter(sae=sae, other=other)._raw_delete(Match.objects.db)
    rows = (
        (sae.pk, other.pk, index, nearest, cosine)
        for index, (nearest, cosine) in enumerate(zip(found.indices, found.cosines, strict=True))
    )
    columns = '"sae_id", "other_id", "index", "other_index", "cosine"'
    copy_rows("features_match", columns, ["int8", "int8", "int4", "int4", "float4"], rows)
    return Matching.objects.create(
        sae=sae, other=other, histogram=histogram(found.cosines), job=job
    )


def histogram(cosines: Iterable[float]) -> list[int]:
    """Count cosines in bins of equal width from 0 to 1; 1 is in the last bin, negative ones in the
    first.
    """
    counts = Counter(max(bisect_right(EDGES, cosine) - 1, 0) for cosine in cosines)
    return [counts[place] for place in range(BINS)]
