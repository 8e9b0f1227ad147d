"""How fast examples become rows of the embedded PostgreSQL, and how much room they take.

    python -m tests.benchmarks.bench_ingest --features 1024

Examples are shaped as a pass over contexts of 128 tokens leaves them: 45 for a feature, most with
one to eight firings and a few with dozens; the top examples of a feature peak on seven different
tokens, as those of the demo's features do. They go through `ingest.write_range`, as a job's do,
ranges of 256 features in a transaction each; the clock counts everything up to the commit, foreign
keys and constraints checked. The size is what PostgreSQL says of each table with its indexes,
scaled up from the features written to 24,576; those share ten million tokens of contexts, and so
ours share as many contexts for each example.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from features.records import ExampleRecord, FeatureRange, SequenceRecord

CONTEXT, BANDS, PER_BAND, TOP = 128, 5, 5, 20
PEAKS = 7
WIDTH, CORPUS_TOKENS, RANGE = 24_576, 10_000_000, 256
TARGET_ROWS, TARGET_GIB = 50_000, 0.4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for line in measure(options.features, options.rounds):
        print(line)


def measure(features: int, rounds: int) -> list[str]:
    """Lines of a report, from a PostgreSQL of its own that is gone afterwards."""
    from tests.benchmarks.instance import database

    var = Path(tempfile.mkdtemp(prefix="featurescope-bench-"))
    var.chmod(0o711)  # where we are root, PostgreSQL runs as another user
    try:
        with database(var):
            return _measure(features, rounds)
    finally:
        shutil.rmtree(var, ignore_errors=True)


def _measure(features: int, rounds: int) -> list[str]:
    from features.ingest import dashboards as dashboard_ingest
    from tests import builders

    model, corpus = builders.model(), builders.corpus()
    sae = builders.sae(model, width=features)
    parts = list(ranges(features))
    seconds = []
    for _ in range(
        rounds
    ):  # the first round writes, the next replace, as a second run of a job does
        start = time.perf_counter()
        rows = sum(dashboard_ingest.write_range(sae, corpus, CONTEXT, part) for part in parts)
        seconds.append(time.perf_counter() - start)
    return [_speed(rows, seconds), _room(features, parts)]


def _speed(rows: int, seconds: list[float]) -> str:
    first, again = rows / seconds[0], rows / min(seconds[1:])
    return (
        f"ingest: {first:,.0f} example rows/s new, {again:,.0f} replacing ({rows:,} rows; "
        f"asked {TARGET_ROWS:,})"
    )


def _room(features: int, parts: list[FeatureRange]) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        size = {}
        for table in ("feature", "example", "peak", "sequence"):
            cursor.execute(
                f"VACUUM FULL features_{table}"
            )  # what the replaced rows left is reused, not part of the data
            cursor.execute(f"SELECT pg_total_relation_size('features_{table}')")
            size[f"{table}s"] = cursor.fetchone()[0]
    whole = {name: stored * WIDTH / features for name, stored in size.items()}
    firings = np.mean(
        [len(e.positions) for part in parts for f in part.features for e in f.examples]
    )
    told = ", ".join(f"{name} {bytes_ / 2**30:.3f}" for name, bytes_ in whole.items())
    return (
        f"size: {sum(whole.values()) / 2**30:.2f} GiB for {WIDTH:,} features x 45 examples of "
        f"{CONTEXT} tokens"
        f" ({told}; {firings:.1f} firings an example; asked {TARGET_GIB})"
    )


def ranges(features: int) -> Iterator[FeatureRange]:
    """Ranges of 256 features as a pass yields them, from a seeded generator."""
    generator = np.random.default_rng(0)
    shared = CORPUS_TOKENS // CONTEXT * features // WIDTH
    contexts = generator.integers(1, 4096, (shared, CONTEXT), dtype=np.int32)
    indices = iter(range(features))
    while group := list(islice(indices, RANGE)):
        records = [_feature(generator, index, contexts) for index in group]
        needed = sorted({example.sequence for record in records for example in record.examples})
        sequences = [
            SequenceRecord(place, f"document-{place}", contexts[place].tolist()) for place in needed
        ]
        yield FeatureRange(group[0], group[-1] + 1, CORPUS_TOKENS, records, sequences)


def _feature(generator: np.random.Generator, index: int, contexts: np.ndarray):  # type: ignore[no-untyped-def]
    from tests import builders

    values = generator.exponential(2.0, 64).astype(np.float32).tolist()
    record = builders.feature(index, values=values, tokens=CORPUS_TOKENS, examples=[])
    places = [(0, rank) for rank in range(TOP)] + [
        (band + 1, rank) for band in range(BANDS) for rank in range(PER_BAND)
    ]
    chosen = generator.choice(len(contexts), len(places), replace=False).tolist()
    firings = np.minimum(
        1
        + generator.geometric(0.25, len(places))
        * generator.choice([1, 8], len(places), p=[0.95, 0.05]),
        100,
    )
    examples = [
        _example(generator, band, rank, sequence, int(count))
        for (band, rank), sequence, count in zip(places, chosen, firings, strict=True)
    ]
    favourites = generator.integers(1, 4096, PEAKS)
    for example in examples[:TOP]:
        contexts[example.sequence, example.peak] = favourites[example.rank % PEAKS]
    return record._replace(examples=examples)


def _example(
    generator: np.random.Generator, band: int, rank: int, sequence: int, firings: int
) -> ExampleRecord:
    positions = np.sort(generator.choice(CONTEXT - 1, firings, replace=False) + 1).tolist()
    values = generator.exponential(2.0, firings).astype(np.float32).tolist()
    return ExampleRecord(band, rank, sequence, positions[int(np.argmax(values))], positions, values)


if __name__ == "__main__":
    main()
