"""Embeddings of labels: what is missing, that writing starts a job, another embedder, and what the
nearest are.
"""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from features.inference import requests as inference_requests
from features.jobs import execution as job_execution
from features.models import Job, Label, LabelEmbedding, Sae
from features.selectors import label_search
from features.services import embeddings
from features.services import labels as label_services
from tests import builders

WAYS = {
    "brackets": [1.0, 0, 0],
    "parentheses": [0.9, 0.435, 0],
    "weekday": [0, 0, 1.0],
    "day": [0.0, 0.5, 0.866],
}


@pytest.fixture
def planted(db: Any) -> builders.Planted:
    made = builders.planted()
    _, ben, _ = builders.cast()
    for index, text in enumerate(["brackets", "parentheses", "weekday"]):
        label_services.propose(made.feature(index), text, by=ben, weight=1)
    return made


def embed(embedder: str = "a") -> None:
    """As the job does."""
    embeddings.prepare(embedder, 3)
    while some := embeddings.pending_labels(after=0, limit=2):
        embeddings.store(embedder, some, [WAYS[label.text] for label in some])


@pytest.fixture
def worker(monkeypatch: Any) -> list[Any]:
    asked: list[Any] = []

    def ask(question: Any, patience: float = 0) -> Any:
        asked.append(question)
        return {"embedder": "a", "vector": WAYS[question["text"]]}

    monkeypatch.setattr(inference_requests, "request", ask)
    return asked


def near(said: str, saes: list[Sae] | None = None, **filters: Any) -> list[str]:
    hits = label_search.search_meaning(said, saes, filters)
    texts = dict(Label.objects.values_list("pk", "text"))
    return [texts[hit.label] for hit in hits]


def test_nearest_labels_come_first_and_those_of_another_meaning_not_at_all(
    planted: Any, worker: Any
) -> None:
    embed()
    assert near("brackets") == ["brackets", "parentheses"]
    assert near("weekday") == ["weekday"]
    assert worker[0] == {"kind": "embed", "embedder": settings.EMBEDDER, "text": "brackets"}
    (first, *_) = label_search.search_meaning("parentheses", None, {})
    assert first.cosine == pytest.approx(1, abs=2e-3), "halves have three digits"


@pytest.mark.parametrize("few", [-1, label_search.FEW])
def test_filters_reach_through_to_label_and_feature(
    planted: Any, worker: Any, monkeypatch: Any, few: int
) -> None:
    monkeypatch.setattr(label_search, "FEW", few)
    embed()
    Label.objects.filter(text="brackets").update(score=0.9)
    assert near("parentheses", score_min=0.8) == ["brackets"]
    assert near("parentheses", density_max=0.0) == []
    assert near("parentheses", alive=True) == ["parentheses", "brackets"]
    assert near("parentheses", author="ada") == []
    assert near("parentheses", saes=[planted.sae]) == ["parentheses", "brackets"]
    assert near("parentheses", saes=[]) == []
    assert near("parentheses", saes=[builders.sae(planted.model, "other")]) == []


def test_few_that_pass_are_read_whole_and_many_are_sought_in_the_index(
    planted: Any, worker: Any, monkeypatch: Any, django_assert_max_num_queries: Any
) -> None:
    Label.objects.filter(text="parentheses").update(method="rare")
    embed()
    author = Label.objects.get(text="brackets").author
    for n in range(150):
        Label.objects.create(
            feature=planted.feature(n % 8),
            sae=planted.sae,
            text=f"b{n}",
            method=Label.PERSON,
            author=author,
        )
    embeddings.store("a", embeddings.pending_labels(after=0, limit=150), [WAYS["brackets"]] * 150)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE features_label")
    monkeypatch.setattr(label_search, "FEW", 50)
    found = {}
    for method in ("rare", Label.PERSON):
        with django_assert_max_num_queries(9) as asked:
            found[method] = near("brackets", method=method)
        (walk,) = [query["sql"] for query in asked.captured_queries if "<=>" in query["sql"]]
        assert (") + 0.0)" in walk) == (method == "rare"), "a sum is not asked of the index"
    assert found["rare"] == ["parentheses"]
    assert len(found[Label.PERSON]) == label_search.MAX_NEAREST


def test_an_edit_a_hiding_and_another_embedder_make_an_embedding_worthless(
    planted: Any, worker: Any
) -> None:
    embed()
    assert embeddings.count_missing() == 0
    label = Label.objects.get(text="weekday")
    label_services.edit(label, "day", seen=1, by=label.author)
    assert near("weekday") == []
    assert [due.text for due in embeddings.pending_labels(after=0, limit=9)] == ["day"]
    embed()
    assert near("weekday") == ["day"]
    Label.objects.filter(pk=label.pk).update(state=Label.State.HIDDEN)
    assert near("weekday") == []
    LabelEmbedding.objects.update(embedder="another")
    assert near("brackets") == []


def test_another_embedder_begins_anew_with_an_index_of_its_own_length(planted: Any) -> None:
    embed()
    assert not embeddings.prepare("a", 3)
    # a test is one transaction, and what was written in it waits to be checked
    connection.check_constraints()
    assert embeddings.prepare("b", 5)
    assert embeddings.count_missing() == 3
    assert _index().count("halfvec(5)") == 1
    embeddings.store("b", embeddings.pending_labels(after=0, limit=1), [[1, 0, 0, 0, 0]])
    with connection.cursor() as cursor:
        cursor.execute("SELECT vector_dims(vector) FROM features_labelembedding")
        assert cursor.fetchall() == [(5,)]


def test_the_index_is_what_finds_them(
    planted: Any, worker: Any, django_assert_num_queries: Any
) -> None:
    embed()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(
            "EXPLAIN SELECT label_id FROM features_labelembedding ORDER BY vector::halfvec(3) "
            "<=> '[1,0,0]' LIMIT 5"
        )
        assert "label_by_meaning" in str(cursor.fetchall())
    with django_assert_num_queries(
        6
    ):  # itself, two settings, the savepoint of this test, and reading the texts
        near("brackets")


def test_a_label_that_went_or_changed_meanwhile_is_left_out(planted: Any) -> None:
    embeddings.prepare("a", 3)
    due = embeddings.pending_labels(after=0, limit=9)
    Label.objects.filter(text="weekday").delete()
    brackets = Label.objects.get(text="brackets")
    label_services.edit(brackets, "day", seen=1, by=brackets.author)
    embeddings.store("a", due, [WAYS[label.text] for label in due])
    assert [row.label.text for row in LabelEmbedding.objects.all()] == ["parentheses"]
    assert [row.sae for row in LabelEmbedding.objects.all()] == [planted.sae]


def test_whoever_writes_labels_starts_one_job_once_it_commits(
    planted: Any, django_capture_on_commit_callbacks: Any, settings: Any
) -> None:
    def write(text: str) -> None:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            label_services.propose(
                planted.feature(4), text, by=planted.feature(0).labels.get().author, weight=1
            )

    settings.EMBEDDER = "off"
    write("one")
    assert not Job.objects.filter(kind="embed_labels").exists()
    settings.EMBEDDER = "all-MiniLM-L6-v2"
    write("two")
    write("three")
    assert Job.objects.filter(kind="embed_labels").count() == 1, "one that waits is enough"
    assert job_execution.claim(Job.objects.get(kind="embed_labels").pk, "here")
    write("four")
    assert Job.objects.filter(kind="embed_labels").count() == 2, "one that runs may have passed it"


def test_a_vote_starts_nothing_where_all_is_embedded(
    planted: Any, django_capture_on_commit_callbacks: Any
) -> None:
    embed()
    label = planted.feature(0).labels.get()
    with django_capture_on_commit_callbacks(execute=True):
        label_services.vote(
            label, 1, by=builders.get_user_model().objects.get(username="ada"), weight=3
        )
    assert not Job.objects.filter(kind="embed_labels").exists()


def test_labels_from_before_are_found_by_the_upkeep(planted: Any) -> None:
    embeddings.start_when_due()
    embeddings.start_when_due()
    assert Job.objects.filter(kind="embed_labels").count() == 1
    Job.objects.all().delete()
    embed()
    embeddings.start_when_due()
    assert not Job.objects.exists()


def _index() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'label_by_meaning'")
        return str(cursor.fetchone()[0])
