"""A generated database of a million features and five million examples, for benchmarks of pages and
searches.

    python -m tests.benchmarks.million FOLDER        # keeps one there; BENCH_MILLION=FOLDER
    measures on it

Half of the features are of one SAE, “wide”, the others of SAEs of 24,576 (“narrow-0” …). Rows are
made by SQL from planted ones, so their width is that of real ones; numbers are drawn: densities
evenly on a log scale from 1e-6 to 0.1, maxima that fall as densities rise, a tenth of the features
dead, and 200 clusters of very different sizes. Five examples a feature, in contexts of 128 tokens.
Labels are left to whoever measures them.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDE, WIDTH = 524_288, 24_576
VOCABULARY, CONTEXTS, CLUSTERS, EXAMPLES = 50_000, 20_000, 200, 5
TOKENS = 10_000_000
DRAWN = f"300 + floor({VOCABULARY} * power(random(), 3))::int"
FEATURES = f"""
INSERT INTO features_feature (sae_id, "index", fires, density, max_activation, mean_activation,
    top_logit_ids, cluster, map_x,
    map_y, decoder_norm, encoder_decoder_cosine, {{names}})
SELECT %(sae)s, made.i, made.fires, made.fires / {TOKENS}.0, made.size,
    made.size * (0.2 + 0.3 * random()), made.promoted,
    CASE WHEN made.size > 0 AND random() < 0.7 THEN floor({CLUSTERS} * power(random(), 2))::int END,
    CASE WHEN made.size > 0 THEN random() END,
        CASE WHEN made.size > 0 THEN random() END, 0.5 + random(), random(), {{values}}
FROM features_feature template, LATERAL (
    SELECT i, alive * floor({TOKENS} * power(10, -6 + 5 * rank))::bigint AS fires,
        alive * 30 * (1.2 - rank) * random() AS size,
        (SELECT array_agg({DRAWN}) FROM generate_series(1, 10) WHERE i >= 0) AS promoted
    FROM (SELECT i, random() AS rank, (random() > 0.1)::int AS alive
        FROM generate_series(0, %(width)s - 1) i) drawn
) made WHERE template.id = %(template)s
"""
CONTENTS = [
    "INSERT INTO features_token (model_id, token_id, text) SELECT %(model)s, i, convert_to(' w' "
    "|| i, 'UTF8')"
    f" FROM generate_series(300, {VOCABULARY + 299}) i",
    "INSERT INTO features_sequence (corpus_id, model_id, context_size, bos, position, document, "
    "token_ids)"
    f" SELECT %(corpus)s, %(model)s, 128, true, i, 'd' || i, (SELECT array_agg({DRAWN}) FROM "
    "generate_series(1, 128) WHERE i > 0)"
    f" FROM generate_series(100, {CONTEXTS + 99}) i",
    # an example's context is any, its firings five to the left of its peak
    f"INSERT INTO features_example (feature_id, sequence_id, band, rank, peak, positions, values)"
    " SELECT f.id, (SELECT min(id) FROM features_sequence WHERE position >= 100) + (f.id * 7 + "
    f"n) %% {CONTEXTS}, 0, n, 64,"
    " ARRAY[60, 61, 62, 63, 64], ARRAY[0.2, 0.3, 0.5, 0.7, 0.9]::real[]"
    f" FROM features_feature f, generate_series(0, {EXAMPLES - 1}) n WHERE f.fires > 0 AND "
    "f.sae_id <> %(planted)s",
]


@contextmanager
def database(features: int = 1_000_000) -> Iterator[None]:
    """Have Django set up with such a database, gone afterwards; the one at BENCH_MILLION, where
    that is set, stays.
    """
    from tests.benchmarks import instance

    kept = os.environ.get("BENCH_MILLION")
    var = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="featurescope-bench-"))
    var.mkdir(exist_ok=True)
    var.chmod(0o711)  # where we are root, PostgreSQL runs as another user
    try:
        with instance.database(var):
            fill(features)
            yield
    finally:
        if not kept:
            shutil.rmtree(var, ignore_errors=True)


def fill(features: int) -> None:
    """Make the rows, unless they are there; about two minutes for a million on a free core."""
    from django.db import connection, transaction

    from features.models import Example, Feature, Sae

    if Sae.objects.filter(slug="wide").exists():
        return
    with transaction.atomic(), _without_indexes(Feature, Example), connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL session_replication_role = replica"
        )  # ten million checks of keys that are right by making
        _fill(cursor, features)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as the server does by itself after a while


def _fill(cursor: Any, features: int) -> None:
    from features.models import Feature
    from tests import builders

    planted = builders.planted(width=8)
    template = Feature.objects.get(sae=planted.sae, index=0)
    made = {
        "id",
        "sae_id",
        "index",
        "fires",
        "density",
        "max_activation",
        "mean_activation",
        "top_logit_ids",
        "cluster",
        "map_x",
    }
    made |= {"map_y", "decoder_norm", "encoder_decoder_cosine"}
    columns = [f'"{f.column}"' for f in Feature._meta.concrete_fields if f.column not in made]
    insert = FEATURES.format(
        names=", ".join(columns), values=", ".join(f"template.{column}" for column in columns)
    )
    wide = min(WIDE, features // 2)
    narrow = range(-(-(features - wide) // WIDTH))
    widths = {"wide": wide} | {
        f"narrow-{n}": min(WIDTH, features - wide - n * WIDTH) for n in narrow
    }
    for slug, width in widths.items():
        sae = builders.sae(planted.model, slug, width=width)
        cursor.execute(insert, {"sae": sae.pk, "width": width, "template": template.pk})
        planted.dashboard.pk, planted.dashboard.sae, planted.dashboard.tokens = None, sae, TOKENS
        planted.dashboard.save(force_insert=True)
    of = {"model": planted.model.pk, "corpus": planted.corpus.pk, "planted": planted.sae.pk}
    for statement in CONTENTS:
        cursor.execute(statement, of)


@contextmanager
def _without_indexes(*models: Any) -> Iterator[None]:
    """Take the indexes of tables away while they are filled: to make one at the end takes a
    fraction of the time.
    """
    from django.db import connection

    with connection.schema_editor() as editor:
        for model in models:
            for index in model._meta.indexes:
                editor.remove_index(model, index)
    yield
    with connection.schema_editor() as editor:
        for model in models:
            for index in model._meta.indexes:
                editor.add_index(model, index)


def main() -> int:
    """Make one that stays."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--features", type=int, default=1_000_000)
    options = parser.parse_args()
    os.environ["BENCH_MILLION"] = str(Path(options.folder).resolve())
    with database(options.features):
        print(f"made in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
