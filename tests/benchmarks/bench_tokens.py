"""How fast a search by token answers on a generated database, everything that the page reads
counted.

    python -m tests.benchmarks.bench_tokens --features 1000000

Features lie in SAEs of 24,576, all of one model, and all are searched. Each peaks on up to five
tokens and promotes ten, drawn so that few tokens are very frequent, as in text: the first token of
the vocabulary is a peak of more than a tenth of all features, is promoted by one in a hundred, and
is timed by itself. Rows are made by SQL from one planted feature, so their width is that of real
ones.
"""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

WIDTH, VOCABULARY, SEQUENCES, TIMES = 24_576, 50_000, 1_000, 100
SKEW, SKEW_PROMOTED = 3, 1.5
DRAWN = f"floor({VOCABULARY} * power(random(), {SKEW}))::int"
PROMOTED = f"floor({VOCABULARY} * power(random(), {SKEW_PROMOTED}))::int"
FILL = [
    "INSERT INTO features_token (model_id, token_id, text) SELECT %(model)s, i, convert_to(' w' "
    "|| i, 'UTF8')"
    f" FROM generate_series(300, {VOCABULARY + 299}) i",
    "INSERT INTO features_sequence (corpus_id, model_id, context_size, bos, position, document, "
    "token_ids)"
    f" SELECT %(corpus)s, %(model)s, 128, true, i, 'd',"
    f" (SELECT array_agg(300 + {DRAWN}) FROM generate_series(1, 128) WHERE i > 0)"
    f" FROM generate_series(100, {SEQUENCES + 99}) i",
    f"INSERT INTO features_peak (feature_id, sae_id, token_id, examples, maximum)"
    f" SELECT f.id, f.sae_id, 300 + {DRAWN}, 1 + floor(random() * 20), 10 * random()"
    f" FROM features_feature f, generate_series(1, 5) ON CONFLICT DO NOTHING",
    f"INSERT INTO features_example (feature_id, sequence_id, band, rank, peak, positions, values)"
    " SELECT f.id, (SELECT min(id) FROM features_sequence WHERE position >= 100) + f.id %% "
    f"{SEQUENCES},"
    " 0, 0, 64, '{64}', '{2.0}'"
    f" FROM features_feature f ON CONFLICT DO NOTHING",
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=1_000_000)
    for line in measure(parser.parse_args().features):
        print(line)


def measure(features: int) -> list[str]:
    """Lines of a report, from a PostgreSQL of its own that is gone afterwards."""
    from tests.benchmarks.instance import database

    var = Path(tempfile.mkdtemp(prefix="featurescope-bench-"))
    var.chmod(0o711)  # where we are root, PostgreSQL runs as another user
    try:
        with database(var):
            return _measure(features)
    finally:
        shutil.rmtree(var, ignore_errors=True)


def _measure(features: int) -> list[str]:
    from features.selectors import catalog as catalog_selectors

    _generate(features)
    saes = list(catalog_selectors.searchable())
    dice = random.Random(0)
    drawn = [300 + int(VOCABULARY * dice.random() ** SKEW) for _ in range(TIMES)]
    return [
        f"search by token, {features:,} features in {len(saes)} SAEs: {_told(saes, drawn)}",
        f"the most frequent token alone: {_told(saes, [300] * 20)}",
        _room(features),
    ]


def _generate(features: int) -> None:
    from django.db import connection, transaction

    from features.models import Feature
    from tests import builders

    planted = builders.planted(width=8)
    template = Feature.objects.get(sae=planted.sae, index=0)
    copied = [
        f.column
        for f in Feature._meta.concrete_fields
        if f.column not in ("id", "sae_id", "index", "top_logit_ids")
    ]
    names = ", ".join(f'"{name}"' for name in copied)
    promoted = f"(SELECT array_agg(300 + {PROMOTED}) FROM generate_series(1, 10) WHERE i >= 0)"
    with transaction.atomic(), connection.cursor() as cursor:
        for place in range(-(-features // WIDTH)):
            sae = builders.sae(planted.model, f"{place}-wide", width=WIDTH)
            cursor.execute(
                f'INSERT INTO features_feature (sae_id, "index", top_logit_ids, {names})'
                f" SELECT %s, i, {promoted}, {names} FROM features_feature, generate_series(0, "
                "%s) i WHERE id = %s",
                [sae.pk, min(WIDTH, features - place * WIDTH) - 1, template.pk],
            )
            planted.dashboard.pk, planted.dashboard.sae = None, sae
            planted.dashboard.save(force_insert=True)
        for statement in FILL:
            cursor.execute(
                statement,
                {"model": planted.model.pk, "corpus": planted.corpus.pk}
                if "%" in statement
                else None,
            )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as the server does by itself after a while


def _told(saes, ids: list[int]) -> str:  # type: ignore[no-untyped-def]
    """Milliseconds of the queries, and of the whole search with its snippets."""
    from django.db import connection

    from features.selectors import tokens as token_selectors

    queries, whole = [], []
    for token_id in ids:
        start, clock = time.perf_counter(), Clock()
        with connection.execute_wrapper(clock):
            found = token_selectors.search(saes, f" w{token_id}")
        whole.append(time.perf_counter() - start)
        queries.append(clock.spent)
        assert [token.token_id for token in found.tokens] == [token_id]
    return f"queries {_percentiles(queries)}, whole {_percentiles(whole)}"


class Clock:
    """Adds up what queries take."""

    spent = 0.0

    def __call__(self, execute, *arguments):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            self.spent += time.perf_counter() - start


def _percentiles(seconds: list[float]) -> str:
    ranked = sorted(seconds)
    return (
        f"{1000 * ranked[len(ranked) // 2]:.1f} ms p50 "
        f"{1000 * ranked[len(ranked) * 95 // 100]:.1f} p95"
    )


def _room(features: int) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_total_relation_size('features_peak'), "
            "pg_relation_size('feature_by_promoted')"
        )
        peaks, promoted = cursor.fetchone()
    return (
        f"its room: {peaks / features:.0f} B a feature for peaks, {promoted / features:.0f} B "
        "for the index of promoted tokens"
    )


if __name__ == "__main__":
    main()
