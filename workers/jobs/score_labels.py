"""Scores of labels by a language model, from their job's row to the rows of scores. What was asked
before is not asked again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import F

from features.jobs import execution as job_execution
from features.models import Label, Sae
from features.records import InvalidInput, Progress, ScoreRecord
from features.services import labels as label_services
from workers import model_cache
from workers.jobs import inputs, llm
from workers.jobs.explainer_examples import dealt, materials
from workers.jobs.llm import Question
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import answer_scores, scorers
from workers.pipeline.autointerp.examples import FeatureExamples

NEGATIVES_OF = {"fuzzing": "", "intruder": "random", "simulation": "random"}
"""Kinds that do not choose where silent texts come from."""


def score_labels(job: RunningJob) -> None:
    """Ask about every chosen label what each kind of score asks, and write the scores."""
    row, params = inputs.sae(job.params["sae"]), job.params
    kinds = [params["scores"]] if isinstance(params["scores"], str) else list(params["scores"])
    chosen = {label.feature.index: label for label in _labels(row, params)}
    _require_unseen(row, chosen.values(), params["seed"])
    scores: dict[int, list[ScoreRecord]] = defaultdict(list)
    if "embedding" in kinds:
        for index, score in job.results(_nearness(row, chosen, params)):
            scores[index].append(score)
    bill: dict[str, Any] = {}
    if asked := [kind for kind in kinds if kind != "embedding"]:
        bill = _score_by_asking(job, row, chosen, asked, scores)
    job.raise_if_stopped()
    with transaction.atomic():
        kept = label_services.write_scores(
            {chosen[index]: scores[index] for index in scores}, job.row
        )
        job_execution.finish(
            job.row, {"sae": str(row), "labels": len(chosen), "scores": kept, **bill}
        )


def _score_by_asking(
    job: RunningJob,
    row: Sae,
    chosen: Mapping[int, Label],
    kinds: list[str],
    scores: dict[int, list[ScoreRecord]],
) -> dict[str, Any]:
    params = job.params
    endpoint, client = llm.endpoint(job)
    answered: dict[tuple[int, str], list[tuple[scorers.ScorerPrompt, list[float | None]]]] = (
        defaultdict(list)
    )

    def questions() -> Iterator[Question]:
        for material in materials(row, list(chosen), params["texts"], params["seed"]):
            for kind in kinds:
                for quiz in _quizzes(kind, material, chosen[material.index].text, params):
                    yield Question(
                        material.index, kind, quiz.messages, scorers.MAX_TOKENS[kind], quiz
                    )

    for question, answer in job.results(llm.ask(job, client, questions(), len(chosen))):
        nothing: list[float | None] = [None] * len(question.about.labels)
        said = nothing if answer.error else scorers.parse_answer(question.about, answer.text)
        answered[question.feature, question.purpose].append((question.about, said))
    for (index, kind), quizzes in answered.items():
        if score := _score(kind, quizzes, params["seed"]):
            negatives = NEGATIVES_OF.get(kind, params["negatives"])
            scores[index].append(score._replace(scorer=endpoint.model, negatives=negatives))
    return llm.bill(client)


def _require_unseen(row: Sae, chosen: Iterable[Label], seed: int) -> None:
    """`InvalidInput` where contexts were dealt otherwise when one of the labels was written: it may
    have seen what would score it.
    """
    for label in chosen:
        written = label.provenance.get("dealt")
        if written and written["seed"] != seed:
            raise InvalidInput(
                "seed",
                f"“{label}” was written with the seed {written['seed']}: score it with the same "
                "one.",
            )
        if written and written != dealt(row, seed):
            raise InvalidInput(
                "method",
                f"“{label}” was written from other dashboards, so nothing is held out: write it "
                "again.",
            )


def _labels(row: Sae, params: dict[str, Any]) -> list[Label]:
    """The labels to score, one of a feature, those of features that fire most first."""
    rows = Label.objects.shown().filter(sae=row).select_related("feature")
    method = params.get("method")
    rows = rows.filter(method=method) if method else rows.filter(feature__label_id=F("pk"))
    found: dict[int, Label] = {}
    for label in rows.order_by("-feature__fires", "feature__index", "-support", "id")[
        : 4 * params["most"]
    ]:
        found.setdefault(label.feature_id, label)
    return list(found.values())[: params["most"]]


def _quizzes(
    kind: str, material: FeatureExamples, label: str, params: dict[str, Any]
) -> list[scorers.ScorerPrompt]:
    seed = params["seed"]
    makers: dict[str, Callable[[], list[scorers.ScorerPrompt]]] = {
        "detection": lambda: scorers.detection(material, label, params["negatives"], seed),
        "fuzzing": lambda: scorers.fuzzing(material, label, seed),
        "simulation": lambda: scorers.simulation(material, label, seed),
        "intruder": lambda: scorers.intruder(material, seed),
    }
    return makers[kind]() if kind in makers else []


def _score(
    kind: str, quizzes: list[tuple[scorers.ScorerPrompt, list[float | None]]], seed: int
) -> ScoreRecord | None:
    if kind == "simulation":
        return answer_scores.score_simulation(
            [quiz.labels for quiz, _ in quizzes], [said for _, said in quizzes], seed
        )
    truth = [one for quiz, _ in quizzes for one in quiz.labels]
    said = [one for _, answers in quizzes for one in answers]
    return (
        answer_scores.score_intruder(truth, said, seed)
        if kind == "intruder"
        else answer_scores.score_answers(kind, truth, said, seed)
    )


def _nearness(row: Sae, chosen: Mapping[int, Label], params: dict[str, Any]) -> Iterator[Any]:
    """Yield (feature, AUROC of its label's embedding against those of firing and silent texts), and
    progress.
    """
    embedder = model_cache.load_embedder()
    for done, material in enumerate(
        materials(row, list(chosen), params["texts"], params["seed"]), 1
    ):
        silent = material.hard if params["negatives"] == "hard" else material.random
        texts = [chosen[material.index].text, *(text.plain for text in [*material.firing, *silent])]
        vectors = embedder.embed(texts)
        near, firing = np.asarray(vectors[1:] @ vectors[0]), len(material.firing)
        if score := answer_scores.score_embedding(near[:firing], near[firing:], params["seed"]):
            yield (
                material.index,
                score._replace(scorer=embedder.name, negatives=params["negatives"]),
            )
        yield Progress(done, len(chosen), "labels", "comparing embeddings")
