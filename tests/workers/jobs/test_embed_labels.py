"""What labels mean: the model that comes with the wheel, and the job that reads every label with
it.
"""

from typing import Any

import numpy as np
import pytest

from features.inference import requests as inference_requests
from features.models import Job, Label, LabelEmbedding
from features.records import InvalidInput, InvalidParams
from features.selectors import label_search
from features.services import embeddings
from features.services import jobs as job_services
from features.services import labels as label_services
from tests import builders
from workers import model_cache
from workers.inference import requests as inference_worker
from workers.jobs import runner
from workers.pipeline.embedder import Embedder

TEXTS = [
    "closing brackets",
    "exceptions that are raised",
    "days of the week",
    "digits inside strings",
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def planted(
    transactional_db: Any, settings: Any, tmp_path: Any, embedder: Embedder, monkeypatch: Any
) -> Any:
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    monkeypatch.setattr(model_cache, "load_embedder", lambda: embedder)
    made = builders.planted()
    _, ben, _ = builders.cast()
    for index, text in enumerate(TEXTS[:3]):
        label_services.propose(made.feature(index), text, by=ben, weight=1)
    Job.objects.all().delete()
    return made


def run() -> Job:
    job = job_services.start("embed_labels", {})
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def test_vectors_have_length_one_and_like_meanings_are_near(embedder: Embedder) -> None:
    known, asked = (
        embedder.embed(TEXTS),
        embedder.embed(["right parenthesis", "error handling", "weekday", "numbers"]),
    )
    assert known.shape == (4, embedder.dimensions) == (4, 384)
    assert np.linalg.norm(known, axis=1) == pytest.approx(1, abs=1e-5)
    assert (asked @ known.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_it_is_the_mean_of_the_last_layer_as_the_plain_model_gives_it(embedder: Embedder) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from workers.pipeline.embedder import _bundled_folder

    tokenizer, model = (
        AutoTokenizer.from_pretrained(_bundled_folder()),
        AutoModel.from_pretrained(_bundled_folder()),
    )
    read = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**read).last_hidden_state
    mask = read["attention_mask"][..., None]
    mean = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(mean, dim=1).numpy()
    assert embedder.embed(TEXTS) == pytest.approx(expected, abs=1e-5)


def test_what_cannot_be_loaded_is_told(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        Embedder(str(tmp_path))
    assert refused.value.field == "embedder"


def test_the_job_reads_what_is_new_and_edited_and_nothing_twice(
    planted: Any, monkeypatch: Any, embedder: Embedder
) -> None:
    job = run()
    assert (job.state, job.result["embedded"], job.unit) == ("finished", 3, "labels"), job.error
    assert set(LabelEmbedding.objects.values_list("embedder", flat=True)) == {embedder.name}
    assert run().result["embedded"] == 0
    label = Label.objects.get(text="days of the week")
    label_services.edit(label, "digits inside strings", seen=1, by=label.author)
    Job.objects.filter(state="queued").delete()
    assert run().result["embedded"] == 1
    monkeypatch.setattr(
        inference_requests,
        "request",
        lambda question, patience=0: inference_worker.KINDS[question["kind"]](question),
    )
    (hit,) = label_search.search_meaning("numbers", None, {})
    assert hit.label == label.pk
    assert hit.cosine == pytest.approx(
        float(np.dot(*embedder.embed(["numbers", "digits inside strings"]))), abs=2e-3
    )


def test_another_embedder_reads_everything_again(planted: Any) -> None:
    run()
    LabelEmbedding.objects.update(embedder="an older one")
    job = run()
    assert job.result["embedded"] == 3
    assert "is a new embedder" in " ".join(
        job.events.filter(kind="log").values_list("data__text", flat=True)
    )
    assert embeddings.count_missing() == 0


def test_one_that_waits_is_enough(planted: Any) -> None:
    job_services.start("embed_labels", {})
    with pytest.raises(InvalidParams):
        job_services.start("embed_labels", {})
