"""Records into rows: what is written, what a second run changes, and that half a range is never
there.
"""

import threading

import pytest
from django.db import DatabaseError, connection, transaction
from psycopg.errors import CheckViolation

from features.ingest import dashboards as dashboard_ingest
from features.models import Corpus, Dashboard, Example, Feature, Peak, Sae, Sequence
from features.records import ExampleRecord, FeatureRange
from tests import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def planted():
    return builders.planted()


def write(planted, records, contexts=(), stop=None):
    batch = FeatureRange(
        records[0].index, stop or records[-1].index + 1, 100, list(records), list(contexts)
    )
    return dashboard_ingest.write_range(
        planted.sae, planted.corpus, planted.sae.context_size, batch
    )


def test_what_was_planted_is_what_is_stored(planted):
    contexts = builders.sequences()
    wanted = builders.firing(0, " day", contexts)
    row = planted.feature(0)
    for name in dashboard_ingest.COLUMNS:
        assert getattr(row, name) == pytest.approx(getattr(wanted, name)), name
    stored = [
        (e.band, e.rank, e.sequence.position, e.peak, e.positions)
        for e in row.examples.select_related("sequence")
    ]
    assert stored == sorted(
        (e.band, e.rank, e.sequence, e.peak, e.positions) for e in wanted.examples
    )
    first = row.examples.get(band=0, rank=0)
    assert first.sequence.token_ids == contexts[first.sequence.position].token_ids


def test_a_second_run_keeps_rows_of_features_and_replaces_their_examples(planted):
    before = planted.feature(0)
    counted = Feature.objects.count(), Sequence.objects.count(), Example.objects.count()
    contexts = builders.sequences()
    write(planted, [builders.firing(0, " day", contexts, 5.0)], contexts)
    after = planted.feature(0)
    assert after.pk == before.pk
    assert (before.max_activation, after.max_activation) == (2.0, 5.0)
    assert after.updated >= before.updated
    assert (Feature.objects.count(), Sequence.objects.count(), Example.objects.count()) == counted


def test_a_feature_that_stopped_firing_loses_its_examples(planted):
    write(planted, [builders.dead(0)])
    assert planted.feature(0).examples.count() == 0
    assert planted.feature(1).examples.count() > 0


def test_other_features_are_left_alone(planted):
    before = list(Example.objects.filter(feature=planted.feature(1)).values_list("pk", flat=True))
    contexts = builders.sequences()
    write(planted, [builders.firing(0, " fox", contexts)], contexts)
    assert (
        list(Example.objects.filter(feature=planted.feature(1)).values_list("pk", flat=True))
        == before
    )


@pytest.mark.django_db(transaction=True)
def test_a_range_that_fails_leaves_everything_as_it_was(planted):
    before = planted.feature(0).max_activation, Sequence.objects.count(), Example.objects.count()
    good = builders.firing(0, " day", builders.sequences(), 9.0)
    bad = builders.dead(1)._replace(density=2.0)
    with pytest.raises(DatabaseError, match="density_is_a_share"):
        write(planted, [good, bad], builders.sequences([*builders.TEXTS, " one more"]))
    assert (
        planted.feature(0).max_activation,
        Sequence.objects.count(),
        Example.objects.count(),
    ) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", [Sae, Corpus])
def test_who_deletes_waits_for_the_range_being_written_and_takes_it_along(planted, what):
    """PostgreSQL checks neither side of an example, so nothing but this keeps rows from outliving
    what they are of.
    """
    owner = {Sae: planted.sae, Corpus: planted.corpus}[what]
    contexts = builders.sequences()
    deleting = threading.Thread(target=_delete, args=[what, owner.pk])
    with transaction.atomic():
        write(
            planted,
            [builders.firing(0, " day", contexts), builders.firing(3, " fox", contexts)],
            contexts,
        )
        deleting.start()
        while not _somebody_waits():
            deleting.join(0.02)
            assert deleting.is_alive(), "it did not wait"
    deleting.join(30)
    assert not what.objects.filter(pk=owner.pk).exists()
    assert Example.objects.count() == 0
    assert not Peak.objects.exclude(feature__in=Feature.objects.all()).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", [Sae, Corpus])
def test_a_range_of_what_was_deleted_is_refused_and_leaves_nothing(planted, what):
    what.objects.all().delete()
    with pytest.raises(what.DoesNotExist, match="was deleted meanwhile"):
        write(planted, [builders.firing(0, " day", builders.sequences())], builders.sequences())
    assert Example.objects.count() == 0


def _delete(what, pk):
    try:
        what.objects.get(pk=pk).delete()
    finally:
        connection.close()


def _somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def test_values_and_positions_must_match(planted):
    contexts = builders.sequences()
    record = builders.dead(0)._replace(fires=1, examples=[ExampleRecord(0, 0, 0, 1, [1, 2], [1.0])])
    with pytest.raises(CheckViolation, match="a_value_for_every_position"):
        write(planted, [record], contexts)


def test_a_sequence_is_stored_once_for_all_saes_of_a_model(planted):
    stored = Sequence.objects.count()
    other = builders.sae(planted.model, "1-res")
    contexts = builders.sequences()
    builders.dashboards(other, planted.corpus, [builders.firing(0, " day", contexts)], contexts)
    assert Sequence.objects.count() == stored


def test_of_known_and_new_sequences_only_the_new_ones_are_added(planted):
    before = dict(Sequence.objects.values_list("position", "pk"))
    contexts = builders.sequences([*builders.TEXTS, " one more day"])
    write(planted, [builders.firing(0, " day", contexts)], contexts)
    after = dict(Sequence.objects.values_list("position", "pk"))
    assert {position: after[position] for position in before} == before
    assert set(after) - set(before) == {len(builders.TEXTS)}
    assert Sequence.objects.get(position=len(builders.TEXTS)).token_ids == contexts[-1].token_ids


def test_the_dashboard_says_what_it_was_made_of(planted):
    made = Dashboard.objects.get(sae=planted.sae)
    assert made.alive == 7
    assert sum(made.density_histogram) == 7
    assert (made.sae_sha256, made.model_revision, made.corpus_revision) == (
        planted.sae.sha256,
        planted.model.revision,
        planted.corpus.revision,
    )


def test_densities_fall_into_half_decades_from_1e_minus_7_to_1(planted):
    densities = [1e-9, 1e-7, 2e-6, 0.2, 0.5, 1.0]
    Feature.objects.filter(sae=planted.sae).delete()
    write(planted, [builders.dead(i)._replace(density=d, fires=1) for i, d in enumerate(densities)])
    made = dashboard_ingest.finish(planted.sae, planted.corpus, 100, None, "0.1")
    assert {bin: n for bin, n in enumerate(made.density_histogram) if n} == {
        0: 2,
        2: 1,
        12: 1,
        13: 2,
    }


def test_finishing_again_replaces_the_dashboard(planted):
    dashboard_ingest.finish(planted.sae, planted.corpus, 5, None, "0.2")
    assert [d.tokens for d in Dashboard.objects.filter(sae=planted.sae)] == [5]


def test_a_run_that_began_anew_and_did_not_end_leaves_no_earlier_runs_provenance(planted):
    contexts = builders.sequences()
    batch = FeatureRange(0, 1, 5, [builders.firing(0, " fox", contexts)], contexts)
    dashboard_ingest.write_range(planted.sae, planted.corpus, planted.sae.context_size, batch)
    assert not Dashboard.objects.filter(sae=planted.sae).exists()
