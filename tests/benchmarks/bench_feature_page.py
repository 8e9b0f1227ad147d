"""What the written statements of a feature's page save, against plain querysets.

    python -m tests.benchmarks.bench_feature_page     # BENCH_MILLION=FOLDER measures on one that
    tests.benchmarks.million keeps

The five reads of `features.selectors.feature_page_sql` are timed for drawn features of a generated
database: prepared, sent whole each time (`FEATURESCOPE_PREPARE=0`), and as the querysets that the
tests compare them with. The three take turns, so that other load falls on all alike.
"""

import random
import time
from collections.abc import Callable
from typing import Any

FEATURES, SAES, WIDTH = 300, 19, 20_000


def main() -> None:
    """Measure and print."""
    from tests.benchmarks import million

    with million.database():
        _compare()


def _compare() -> None:
    from django.conf import settings

    ways: dict[str, tuple[bool, Callable[[str, int], None]]] = {
        "prepared": (True, _written),
        "not prepared": (False, _written),
        "querysets": (True, _querysets),
    }
    seed = random.Random(0)
    paths = [(f"narrow-{seed.randrange(SAES)}", seed.randrange(WIDTH)) for _ in range(FEATURES)]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for path in [*paths[:20], *paths]:
        for name, (prepare, load) in ways.items():
            settings.PREPARE = prepare
            start = time.perf_counter()
            load(*path)
            seconds[name].append(time.perf_counter() - start)
    for name, taken in seconds.items():
        ranked = sorted(taken[20:])
        p50, p95 = ranked[len(ranked) // 2], ranked[len(ranked) * 95 // 100]
        print(f"reads of a feature's page, {name}: {1000 * p50:.1f} ms p50 {1000 * p95:.1f} p95")


def _written(sae: str, index: int) -> None:
    from features.selectors import feature_page_sql

    row = feature_page_sql.feature("tiny", sae, index).feature
    feature_page_sql.examples(row.pk)
    feature_page_sql.labels(row.pk, None, hidden=False)
    feature_page_sql.scores(row.pk)
    feature_page_sql.comments(row.pk)


def _querysets(sae: str, index: int) -> None:
    from django.db.models import F

    from features.models import Comment, Example, Feature, Label, LabelScore, Match
    from features.selectors import labels as label_selectors

    related = ("sae__model", "sae__dashboard__corpus", "effect")
    row = Feature.objects.of("tiny", sae).select_related(*related).get(index=index)
    alive = Feature.objects.filter(sae=row.sae_id).alive().values_list("index", flat=True)
    scores = LabelScore.objects.filter(label__feature=row, version=F("label__version"))
    querysets: list[Any] = [
        alive.filter(index__lt=index).order_by("-index")[:1],
        alive.filter(index__gt=index).order_by("index")[:1],
        Match.objects.filter(sae=row.sae_id, index=index).select_related("other"),
        Example.objects.filter(feature=row).select_related("sequence").order_by("band", "rank"),
        label_selectors.with_votes(Label.objects.filter(feature=row).shown(), None),
        scores,
        Comment.objects.filter(feature=row).select_related("author", "label").order_by("id"),
    ]
    for queryset in querysets:
        list(queryset)


if __name__ == "__main__":
    main()
