"""Write measured causal effects, one batch per transaction, replacing earlier ones."""

from collections.abc import Sequence

from django.db import transaction

from features.models import Feature, FeatureEffect, Job, Sae
from features.records import EffectRecord


@transaction.atomic
def write(sae: Sae, records: Sequence[EffectRecord], job: Job | None) -> None:
    """Write the effects of some features of an SAE."""
    rows = {
        row.index: row
        for row in Feature.objects.filter(sae=sae, index__in=[r.index for r in records])
    }
    known = [record for record in records if record.index in rows]
    FeatureEffect.objects.bulk_create(
        [
            FeatureEffect(
                feature=rows[record.index],
                job=job,
                reads=record.reads._asdict(),
                writes=record.writes._asdict(),
                promoted=record.promoted,
                sae_sha256=sae.sha256,
            )
            for record in known
        ],
        update_conflicts=True,
        unique_fields=["feature"],
        update_fields=["job", "reads", "writes", "promoted", "sae_sha256", "made"],
    )
    for record in known:
        rows[record.index].causal_effect = record.writes.effect
    Feature.objects.bulk_update([rows[record.index] for record in known], ["causal_effect"])


def measured(sae: Sae, job: Job) -> set[int]:
    """Indices of the features that this job has measured for the current weights of the SAE."""
    rows = FeatureEffect.objects.filter(feature__sae=sae, job=job, sae_sha256=sae.sha256)
    return set(rows.values_list("feature__index", flat=True))


def forget(sae: Sae, indices: Sequence[int]) -> None:
    """Delete the effects of some features before they are measured again."""
    with transaction.atomic():
        FeatureEffect.objects.filter(feature__sae=sae, feature__index__in=indices).delete()
        Feature.objects.filter(sae=sae, index__in=indices).exclude(causal_effect=0).update(
            causal_effect=0
        )
