"""Jobs that score labels: by questions to a language model, and by embeddings."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import F

from features.models import Label, Sae
from features.records import InvalidInput, Progress, ScoreRecord
from features.services import labels as label_services
from workers import model_cache
from workers.jobs import inputs, llm
from workers.jobs.explainer_examples import load_examples, split_settings
from workers.jobs.llm import Question
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import answer_scores, scorers
from workers.pipeline.autointerp.completions import Completion
from workers.pipeline.autointerp.examples import FeatureExamples

Answered = tuple[scorers.ScorerPrompt, list[float | None]]
"""A prompt, and the value that the answer gives for each of its texts."""
NEGATIVES_OF = {"fuzzing": "", "intruder": "random", "simulation": "random"}
"""Where the silent texts of a kind come from, if the kind leaves no choice."""


def score_labels(job: RunningJob) -> None:
    """Score every chosen label by each kind, and write the scores."""
    row, params = inputs.sae(job.params["sae"]), job.params
    kinds = [params["scores"]] if isinstance(params["scores"], str) else list(params["scores"])
    chosen = {label.feature.index: label for label in _labels(row, params)}
    _require_unseen(row, chosen.values(), params["seed"])
    scores: dict[int, list[ScoreRecord]] = defaultdict(list)
    if "embedding" in kinds:
        for index, score in job.results(_embedding_scores(row, chosen, params)):
            scores[index].append(score)
    bill: dict[str, Any] = {}
    failure: InvalidInput | None = None
    if asked := [kind for kind in kinds if kind != "embedding"]:
        bill, failure = _score_by_asking(job, row, chosen, asked, scores)
    job.raise_if_stopped()
    with transaction.atomic():
        written = label_services.write_scores(
            {chosen[index]: scores[index] for index in scores}, job.row
        )
        result = {"sae": str(row), "labels": len(chosen), "scores": written, **bill}
        llm.end(job, result, failure)
    if failure:
        raise failure


def _score_by_asking(
    job: RunningJob,
    row: Sae,
    chosen: Mapping[int, Label],
    kinds: list[str],
    scores: dict[int, list[ScoreRecord]],
) -> tuple[dict[str, Any], InvalidInput | None]:
    """Add the scores of these kinds to `scores`. Returns what the answers cost, and the error that
    ended them early.
    """
    params = job.params
    endpoint, client = llm.endpoint(job)
    answered: dict[tuple[int, str], list[Answered]] = defaultdict(list)

    def read(question: Question, answer: Completion) -> None:
        prompt: scorers.ScorerPrompt = question.about
        unread: list[float | None] = [None] * len(prompt.labels)
        values = unread if answer.error else scorers.parse_answer(prompt, answer.text)
        answered[question.feature, question.purpose].append((prompt, values))

    questions = _questions(row, chosen, kinds, params)
    failure = llm.collect(job, llm.ask(job, client, questions, len(chosen)), read)
    for (index, kind), answers in answered.items():
        if score := _score(kind, answers, params["seed"]):
            negatives = NEGATIVES_OF.get(kind, params["negatives"])
            scores[index].append(score._replace(scorer=endpoint.model, negatives=negatives))
    return llm.bill(client), failure


def _questions(
    row: Sae, chosen: Mapping[int, Label], kinds: list[str], params: dict[str, Any]
) -> Iterator[Question]:
    for examples in load_examples(row, list(chosen), params["texts"], params["seed"]):
        for kind in kinds:
            for prompt in _prompts(kind, examples, chosen[examples.index].text, params):
                max_tokens = scorers.MAX_TOKENS[kind]
                yield Question(examples.index, kind, prompt.messages, max_tokens, prompt)


def _require_unseen(row: Sae, chosen: Iterable[Label], seed: int) -> None:
    """`InvalidInput` where a label was written from another split of the contexts: it may have seen
    the texts that would score it.
    """
    for label in chosen:
        split = label.provenance.get("dealt")
        if split and split["seed"] != seed:
            raise InvalidInput(
                "seed",
                f"“{label}” was written with the seed {split['seed']}: score it with the same one.",
            )
        if split and split != split_settings(row, seed):
            raise InvalidInput(
                "method",
                f"“{label}” was written from other dashboards, so nothing is held out: write it "
                "again.",
            )


def _labels(row: Sae, params: dict[str, Any]) -> list[Label]:
    """The labels to score, one for each feature, those of features that fire most first."""
    rows = Label.objects.shown().filter(sae=row).select_related("feature")
    method = params.get("method")
    rows = rows.filter(method=method) if method else rows.filter(feature__label_id=F("pk"))
    labels: dict[int, Label] = {}
    for label in rows.order_by("-feature__fires", "feature__index", "-support", "id")[
        : 4 * params["most"]
    ]:
        labels.setdefault(label.feature_id, label)
    return list(labels.values())[: params["most"]]


def _prompts(
    kind: str, examples: FeatureExamples, label: str, params: dict[str, Any]
) -> list[scorers.ScorerPrompt]:
    seed = params["seed"]
    makers: dict[str, Callable[[], list[scorers.ScorerPrompt]]] = {
        "detection": lambda: scorers.detection(examples, label, params["negatives"], seed),
        "fuzzing": lambda: scorers.fuzzing(examples, label, seed),
        "simulation": lambda: scorers.simulation(examples, label, seed),
        "intruder": lambda: scorers.intruder(examples, seed),
    }
    return makers[kind]() if kind in makers else []


def _score(kind: str, answers: list[Answered], seed: int) -> ScoreRecord | None:
    if kind == "simulation":
        return answer_scores.score_simulation(
            [prompt.labels for prompt, _ in answers], [values for _, values in answers], seed
        )
    labels = [label for prompt, _ in answers for label in prompt.labels]
    predictions = [value for _, values in answers for value in values]
    return (
        answer_scores.score_intruder(labels, predictions, seed)
        if kind == "intruder"
        else answer_scores.score_answers(kind, labels, predictions, seed)
    )


def _embedding_scores(
    row: Sae, chosen: Mapping[int, Label], params: dict[str, Any]
) -> Iterator[Any]:
    """Yield (feature, AUROC of its label's embedding against those of firing and silent texts), and
    progress.
    """
    embedder = model_cache.load_embedder()
    for done, examples in enumerate(
        load_examples(row, list(chosen), params["texts"], params["seed"]), 1
    ):
        silent = examples.hard if params["negatives"] == "hard" else examples.random
        texts = [chosen[examples.index].text, *(text.plain for text in [*examples.firing, *silent])]
        vectors = embedder.embed(texts)
        near, firing = np.asarray(vectors[1:] @ vectors[0]), len(examples.firing)
        if score := answer_scores.score_embedding(near[:firing], near[firing:], params["seed"]):
            yield (
                examples.index,
                score._replace(scorer=embedder.name, negatives=params["negatives"]),
            )
        yield Progress(done, len(chosen), "labels", "comparing embeddings")
