"""How fast labels are found on a generated database: a million features with a label each, and
embeddings of some of them.

    python -m tests.benchmarks.bench_label_search --features 1000000 --embeddings 1000000

Labels have two to seven words out of 30,000, drawn so that few are very frequent: the commonest is
in one label of eight. Queries are one to three words of a label that is there, a third of them cut
short, a third with a typo in one word, and the commonest word alone is timed by itself. Vectors are
sums of a centre and two small ones, 384 numbers each; a query is a vector that is there, a little
moved. Labels lie in the order of their features, as jobs write them. Times are of what the database
does, and of the whole search with its rows and snippets; before each row as many other queries of
its kind are asked untimed, so that PostgreSQL has read what it keeps. What meaning finds is
compared with all vectors read in turn.
"""

import argparse
import random
import re
import time
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.bench_tokens import Clock, _percentiles

SYLLABLES = re.findall("..", "bacodefigahujikalemonupaqorosatevuwaxeyozabricladrofleglaisnestplor")
VOCABULARY, TIMES, EXACT, SKEW = 27_000, 200, 10, 3
NUMBERS, CENTRES, MOVES = 384, 400, 3000
FILL = [
    f"""
INSERT INTO features_label (feature_id, sae_id, density, text, method, provenance, score,
    score_kind, support)
SELECT f.id, f.sae_id, f.density, string_agg(w.word, ' '), 'concept', '{{}}', min(d.score),
    'concept', min(2 * d.score - 1)
FROM features_feature f
JOIN LATERAL (
    SELECT floor({VOCABULARY} * power(random(), {SKEW}))::int AS n, 0.5 + f.id % 50 / 100.0 AS score
    FROM generate_series(1, 2 + (f.id % 6)::int)
) d ON true
JOIN drawn_words w ON w.n = d.n
GROUP BY f.id ORDER BY f.id
""",
    "UPDATE features_feature f SET label_id = l.id FROM features_label l WHERE l.feature_id = "
    "f.id AND f.id % 10 = 0",
    """
INSERT INTO features_labelword (word, stem)
SELECT DISTINCT lexeme, lexeme <> word FROM drawn_words, unnest(features_lexemes(word)) lexeme
""",
]
VECTORS = [
    "CREATE TEMPORARY TABLE centres AS SELECT n, (SELECT array_agg(random() - 0.5) FROM "
    f"generate_series(1, {NUMBERS})"
    f" WHERE n >= 0)::vector AS v FROM generate_series(0, {CENTRES - 1}) n",
    "CREATE TEMPORARY TABLE moves AS SELECT n, (SELECT array_agg(0.4 * (random() - 0.5)) FROM "
    f"generate_series(1, {NUMBERS})"
    f" WHERE n >= 0)::vector AS v FROM generate_series(0, {MOVES - 1}) n",
    f"""
INSERT INTO features_labelembedding (label_id, sae_id, embedder, vector)
SELECT l.id, l.sae_id, 'bench', l2_normalize(c.v + a.v + b.v)::halfvec
FROM (SELECT id, sae_id, floor({CENTRES} * random())::int c, floor({MOVES} * random())::int a,
    floor({MOVES} * random())::int b
    FROM features_label ORDER BY id LIMIT %(embeddings)s) l
JOIN centres c ON c.n = l.c JOIN moves a ON a.n = l.a JOIN moves b ON b.n = l.b
ORDER BY l.id
""",
]
NARROWED: dict[str, dict[str, Any]] = {
    "no filter": {},
    "density under 0.1%": {"density_max": 0.001},
    "live, score from 0.9": {"alive": True, "score_min": 0.9},
    "one SAE": {"sae": "narrow-0"},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--embeddings", type=int, default=1_000_000)
    options = parser.parse_args()
    from tests.benchmarks import million

    with million.database(options.features):
        for line in _measure(options.embeddings):
            print(line, flush=True)


def _measure(embeddings: int) -> Iterator[str]:
    from features.models import Label, LabelEmbedding, Sae

    dice = random.Random(0)
    took = _label()
    yield f"{Label.objects.count():,} labels{took}"
    for name, filters in NARROWED.items():
        saes, rest = _scope(Sae.objects, filters)
        _words(_queries(dice), saes, rest)
        yield f"words, {name}: {_words(_queries(dice), saes, rest)}"
    yield f"words, the commonest alone: {_words([_word(0)] * 20, None, {})}"
    took = _embed(embeddings)
    yield f"{LabelEmbedding.objects.count():,} embeddings{took}, {_room()}"
    for name, filters in NARROWED.items():
        saes, rest = _scope(Sae.objects, filters)
        _meaning(dice, saes, rest)
        yield f"meaning, {name}: {_meaning(dice, saes, rest)}; {_recall(dice, saes, rest)}"


def _label() -> str:
    """A label for every feature, unless they are there."""
    from django.db import connection, transaction

    from features.models import Label

    if Label.objects.exists():
        return ""
    start = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DROP INDEX label_by_words")
        cursor.execute("CREATE TEMPORARY TABLE drawn_words (n int PRIMARY KEY, word text)")
        cursor.execute(
            "INSERT INTO drawn_words SELECT * FROM unnest(%s::int[], %s::text[])",
            [list(range(VOCABULARY)), [_word(n) for n in range(VOCABULARY)]],
        )
        cursor.execute("ANALYZE drawn_words")
        for statement in FILL:
            cursor.execute(statement)
        cursor.execute(
            "CREATE INDEX label_by_words ON features_label USING gin (words) WHERE state = 'shown'"
        )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE features_label")
        cursor.execute("VACUUM ANALYZE features_labelword")
        cursor.execute("VACUUM ANALYZE features_feature")
    return f", written and indexed in {time.perf_counter() - start:.0f} s"


def _embed(embeddings: int) -> str:
    from django.db import connection, transaction

    from features.models import LabelEmbedding
    from features.services.embeddings import prepare

    if LabelEmbedding.objects.exists():
        return ""
    start = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL maintenance_work_mem = '3GB'")
        cursor.execute("DROP INDEX label_by_meaning")
        for statement in VECTORS:
            cursor.execute(statement, {"embeddings": embeddings} if "%(" in statement else None)
        connection.check_constraints()
        prepare("bench", NUMBERS)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE features_labelembedding")
    return f", written and indexed in {time.perf_counter() - start:.0f} s"


def _words(queries: list[str], saes: Any, filters: dict[str, Any]) -> str:
    from django.db import connection

    from features.selectors import label_ranking, label_search

    database, whole, empty = [], [], 0
    for said in queries:
        start, clock = time.perf_counter(), Clock()
        with connection.execute_wrapper(clock):
            words = label_search.search_words(said, saes, filters)
        label_ranking.merge(words.query, words.hits, [], limit=50)
        whole.append(time.perf_counter() - start)
        database.append(clock.spent)
        empty += not words.hits
    return (
        f"database {_percentiles(database)}, whole {_percentiles(whole)}, {empty} of "
        f"{len(queries)} found nothing"
    )


def _meaning(dice: random.Random, saes: Any, filters: dict[str, Any]) -> str:
    from django.db import connection

    database, few = [], 0
    for _ in range(TIMES):
        vector, clock = _vector(dice), Clock()
        with connection.execute_wrapper(clock):
            few += len(_near(vector, saes, filters)) < 10
        database.append(clock.spent)
    return f"database {_percentiles(database)}, {few} of {TIMES} found less than ten"


def _recall(dice: random.Random, saes: Any, filters: dict[str, Any]) -> str:
    """How many of the nearest labels the search finds, of all that it might show and of the first
    ten.
    """
    shown, first = [], []
    for _ in range(EXACT):
        vector = _vector(dice)
        found, exact = set(_near(vector, saes, filters)), _exact(vector, saes, filters)
        shown += [label in found for label in exact]
        first += [label in found for label in exact[:10]]
    share, of_ten = sum(shown) / len(shown), sum(first) / len(first)
    return f"finds {share:.1%} of the nearest, {of_ten:.1%} of the nearest ten ({EXACT} queries)"


def _near(vector: list[float], saes: Any, filters: dict[str, Any]) -> list[int]:
    """The labels that the search finds; what an inference worker would answer is given."""
    from features.inference import requests as inference_requests
    from features.selectors import label_search

    inference_requests.request = lambda question, patience=0: {
        "embedder": "bench",
        "vector": vector,
    }  # type: ignore[assignment]
    return [hit.label for hit in label_search.search_meaning("anything", saes, filters)]


def _exact(vector: list[float], saes: Any, filters: dict[str, Any]) -> list[int]:
    """The same from every vector that passes the filters, with no index."""
    from django.db.models import Value
    from pgvector.django import CosineDistance

    from features.models import LabelEmbedding
    from features.selectors import label_search

    rows = LabelEmbedding.objects.filter(label_search.narrowed(filters, "label__"))
    rows = rows if saes is None else rows.filter(sae__in=saes)
    far = CosineDistance("vector", vector) + Value(
        0.0
    )  # what is no plain distance cannot be asked of the index
    near = (
        rows.annotate(far=far).order_by("far").values_list("pk", "far")[: label_search.MAX_NEAREST]
    )
    return [label for label, distance in near if 1 - distance >= label_search.LEAST_COSINE]


def _vector(dice: random.Random) -> list[float]:
    """One that is there, a little moved."""
    from django.db import connection

    from features.models import LabelEmbedding

    first, last = (
        edge("label_id").pk
        for edge in (LabelEmbedding.objects.earliest, LabelEmbedding.objects.latest)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT vector::real[] FROM features_labelembedding WHERE label_id >= %s ORDER BY "
            "label_id LIMIT 1",
            [dice.randint(first, last)],
        )
        return [value + dice.gauss(0, 0.01) for value in cursor.fetchone()[0]]


def _scope(saes: Any, filters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The SAEs of a filter that names one, and the other filters."""
    rest = {name: value for name, value in filters.items() if name != "sae"}
    return (list(saes.filter(slug=filters["sae"])) if "sae" in filters else None), rest


def _queries(dice: random.Random) -> list[str]:
    from features.models import Label

    first, last = Label.objects.earliest("id").pk, Label.objects.latest("id").pk
    found = []
    while len(found) < TIMES:
        label = Label.objects.filter(pk=dice.randint(first, last)).first()
        if label is None:
            continue
        words = dice.sample(label.text.split(), min(dice.randint(1, 3), len(label.text.split())))
        kind = dice.randrange(3)
        if kind == 0:
            words[-1] = words[-1][: max(3, len(words[-1]) - 2)]
        elif kind == 1:
            place = dice.randrange(1, len(words[0]))
            words[0] = words[0][:place] + dice.choice("aeioubcdfgklm") + words[0][place + 1 :]
        found.append(" ".join(words))
    return found


def _word(n: int) -> str:
    """The n-th word, of three syllables."""
    size = len(SYLLABLES)
    return SYLLABLES[n % size] + SYLLABLES[n // size % size] + SYLLABLES[n // size**2]


def _room() -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_relation_size('features_labelembedding'), "
            "pg_relation_size('label_by_meaning')"
        )
        table, index = cursor.fetchone()
    return f"table {table / 1e6:,.0f} MB, index {index / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
