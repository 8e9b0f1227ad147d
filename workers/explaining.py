"""Labels and scores by a language model, from their job's row to the rows of labels. What was asked before is not asked again."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import F

from features import jobs, secrets
from features.kinds import ExplainSae
from features.models import Endpoint, Exchange, Feature, Label, Sae
from features.records import LabelRecord, Progress, ScoreRecord
from features.services import labels as writing
from features.version import VERSION
from workers import inputs, resident
from workers.material import materials
from workers.pipeline.autointerp import client, explainers, results, scorers
from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.client import Answer, Client, Request
from workers.pipeline.autointerp.material import Material
from workers.pipeline.errors import BadInput
from workers.running import Work

NEGATIVES_OF = {"fuzzing": "", "intruder": "random", "simulation": "random"}
"""Kinds that do not choose where silent texts come from."""


class Question(NamedTuple):
    """A prompt about a feature, and what it is for; `quiz` where its answer is right or wrong."""

    feature: int
    purpose: str
    messages: list[client.Message]
    most: int
    quiz: scorers.Quiz | None = None

    def sha256(self, model: str) -> str:
        """What it is known by in its job."""
        return hashlib.sha256(json.dumps([model, self.messages]).encode()).hexdigest()


def explain_sae(work: Work) -> None:
    """Have every chosen feature explained, and write what came as labels of this explainer."""
    row, params = inputs.sae(work.params["sae"]), work.params
    endpoint, asking = _endpoint(work)
    method = f"explainer:{params['explainer']}"
    indices = _chosen(row, params)
    found: dict[int, LabelRecord] = {}

    def questions() -> Iterator[Question]:
        for material in materials(row, indices, params["texts"], params["seed"]):
            if material.learn:
                prompt = explainers.messages(params["explainer"], material)
                yield Question(material.index, "explain", prompt, explainers.MOST_TOKENS)

    total, unread = len(indices), 0
    for question, answer in work.results(_ask(work, asking, questions(), total)):
        text = None if answer.error else explainers.read(answer.text)
        if text is None:
            unread += 1
            continue
        provenance = {
            "explainer": params["explainer"], "model": endpoint.model, "endpoint": endpoint.slug, "texts": params["texts"],
            "dealt": _dealt(row, params["seed"]), "version": VERSION, "prompt": question.sha256(endpoint.model),
        }  # fmt: skip
        found[question.feature] = LabelRecord(question.feature, text, provenance, [])
    work.go_on()
    with transaction.atomic():
        said = writing.write_found(row, method, (found[index] for index in sorted(found)), work.job, only=list(found))
        jobs.finish(work.job, {"sae": str(row), "labels": said, "unread": unread, **_bill(asking)})


def score_labels(work: Work) -> None:
    """Ask about every chosen label what each kind of score asks, and write the scores."""
    row, params = inputs.sae(work.params["sae"]), work.params
    kinds = [params["scores"]] if isinstance(params["scores"], str) else list(params["scores"])
    chosen = {label.feature.index: label for label in _labels(row, params)}
    _require_unseen(row, chosen.values(), params["seed"])
    scores: dict[int, list[ScoreRecord]] = defaultdict(list)
    if "embedding" in kinds:
        for index, score in work.results(_nearness(row, chosen, params)):
            scores[index].append(score)
    bill: dict[str, Any] = {}
    if asked := [kind for kind in kinds if kind != "embedding"]:
        bill = _score_by_asking(work, row, chosen, asked, scores)
    work.go_on()
    with transaction.atomic():
        kept = writing.write_scores({chosen[index]: scores[index] for index in scores}, work.job)
        jobs.finish(work.job, {"sae": str(row), "labels": len(chosen), "scores": kept, **bill})


def _score_by_asking(
    work: Work, row: Sae, chosen: Mapping[int, Label], kinds: list[str], scores: dict[int, list[ScoreRecord]]
) -> dict[str, Any]:
    params = work.params
    endpoint, asking = _endpoint(work)
    answered: dict[tuple[int, str], list[tuple[scorers.Quiz, list[float | None]]]] = defaultdict(list)

    def questions() -> Iterator[Question]:
        for material in materials(row, list(chosen), params["texts"], params["seed"]):
            for kind in kinds:
                for quiz in _quizzes(kind, material, chosen[material.index].text, params):
                    yield Question(material.index, kind, quiz.messages, scorers.MOST_TOKENS[kind], quiz)

    for question, answer in work.results(_ask(work, asking, questions(), len(chosen))):
        assert question.quiz is not None
        nothing: list[float | None] = [None] * len(question.quiz.truth)
        said = nothing if answer.error else scorers.read(question.quiz, answer.text)
        answered[question.feature, question.purpose].append((question.quiz, said))
    for (index, kind), quizzes in answered.items():
        if score := _score(kind, quizzes, params["seed"]):
            negatives = NEGATIVES_OF.get(kind, params["negatives"])
            scores[index].append(score._replace(scorer=endpoint.model, negatives=negatives))
    return _bill(asking)


def _dealt(row: Sae, seed: int) -> dict[str, Any]:
    """What decides on which side each context is."""
    dashboard = row.dashboard
    return {"seed": seed, "corpus": dashboard.corpus_revision, "context_size": dashboard.context_size}


def _require_unseen(row: Sae, chosen: Iterable[Label], seed: int) -> None:
    """`BadInput` where contexts were dealt otherwise when one of the labels was written: it may have seen what would score it."""
    for label in chosen:
        dealt = label.provenance.get("dealt")
        if dealt and dealt["seed"] != seed:
            raise BadInput("seed", f"“{label}” was written with the seed {dealt['seed']}: score it with the same one.")
        if dealt and dealt != _dealt(row, seed):
            raise BadInput(
                "method", f"“{label}” was written from other dashboards, so nothing is held out: write it again."
            )


def _chosen(row: Sae, params: dict[str, Any]) -> list[int]:
    """Indices of the features to explain, those that fire most first."""
    inputs.dashboard(row, ExplainSae.because)
    rows = Feature.objects.filter(sae=row, fires__gte=params["least_fires"]).order_by("-fires", "index")
    if params["only_unlabelled"]:
        rows = rows.filter(label=None)
    return list(rows.values_list("index", flat=True)[: params["most"]])


def _labels(row: Sae, params: dict[str, Any]) -> list[Label]:
    """The labels to score, one of a feature, those of features that fire most first."""
    rows = Label.objects.shown().filter(sae=row).select_related("feature")
    method = params.get("method")
    rows = rows.filter(method=method) if method else rows.filter(feature__label_id=F("pk"))
    found: dict[int, Label] = {}
    for label in rows.order_by("-feature__fires", "feature__index", "-support", "id")[: 4 * params["most"]]:
        found.setdefault(label.feature_id, label)
    return list(found.values())[: params["most"]]


def _endpoint(work: Work) -> tuple[Endpoint, Client]:
    """The endpoint of the job with a budget of what its earlier attempts left."""
    row = Endpoint.objects.filter(slug=work.params["endpoint"]).first()
    if row is None:
        raise BadInput("endpoint", f"There is no endpoint “{work.params['endpoint']}” any more.")
    if row.owner_id is not None and row.owner_id != work.job.created_by_id:
        raise BadInput("endpoint", f"The endpoint “{row}” belongs to somebody else, whose key pays for it.")
    try:
        key = secrets.decrypt(row.key)
    except secrets.Unreadable as error:
        raise BadInput("endpoint", str(error)) from None
    prices = (float(row.price_in), float(row.price_out))
    budget = Budget(work.params["most_tokens"], work.params["most_cost"] if any(prices) else 0.0, *prices)
    for tokens in Exchange.objects.filter(job=work.job).values_list("prompt_tokens", "completion_tokens"):
        budget.take(*tokens)
    to = client.Endpoint(
        row.base_url, row.model, key, row.concurrency, row.per_minute, float(row.timeout), *prices,
        private_allowed=settings.PRIVATE_ENDPOINTS, name=row.slug,
    )  # fmt: skip
    return row, Client(to, budget, work.should_stop)


def _ask(work: Work, asking: Client, questions: Iterable[Question], total: int) -> Iterator[Any]:
    """Yield (question, answer) and progress in features; each answer is kept before it is used, and read from there next time."""
    model, job = asking.endpoint.model, work.job
    known = {row.sha256: row for row in Exchange.objects.filter(job=job).defer("messages")}
    unanswered = 0
    features: set[int] = set()
    again: list[tuple[Question, Answer]] = []

    def new() -> Iterator[Request]:
        for question in questions:
            if kept := known.get(question.sha256(model)):
                counts = (kept.prompt_tokens, kept.completion_tokens)
                again.append((question, Answer(kept.answer, *counts, kept.seconds, kept.error)))
            else:
                yield Request(question, question.messages, question.most)

    def told(question: Question) -> Progress:
        features.add(question.feature)
        spent = asking.budget.spent
        cost = f", ${spent.cost:.2f}" if spent.cost else ""
        note = f"asking {model}; {spent.prompt_tokens + spent.completion_tokens:,} tokens{cost} so far"
        return Progress(len(features), total, "features", note)

    with asking:
        for request, answer in asking.ask(new()):
            while again:
                yield again.pop()
            question = request.name
            if answer.error and not unanswered:
                work.say(
                    f"{asking.endpoint.called} gave no answer: {answer.error}. Others like it are counted as unread."
                )
            unanswered += bool(answer.error)
            if answer.error != "stopped":
                _keep(job, question, model, answer)
                yield question, answer
            yield told(question)
    yield from again
    if asking.budget.exhausted:
        work.say(f"The budget is spent after {len(features):,} of {total:,} features; what was answered is kept.")


def _keep(job: Any, question: Question, model: str, answer: Answer) -> None:
    Exchange.objects.get_or_create(
        job=job,
        sha256=question.sha256(model),
        defaults={
            "feature": question.feature, "purpose": question.purpose, "messages": question.messages,
            "answer": answer.text.replace("\0", ""), "error": answer.error[:500], "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens, "seconds": answer.seconds,
        },
    )  # fmt: skip


def _quizzes(kind: str, material: Material, label: str, params: dict[str, Any]) -> list[scorers.Quiz]:
    seed = params["seed"]
    makers: dict[str, Callable[[], list[scorers.Quiz]]] = {
        "detection": lambda: scorers.detection(material, label, params["negatives"], seed),
        "fuzzing": lambda: scorers.fuzzing(material, label, seed),
        "simulation": lambda: scorers.simulation(material, label, seed),
        "intruder": lambda: scorers.intruder(material, seed),
    }
    return makers[kind]() if kind in makers else []


def _score(kind: str, quizzes: list[tuple[scorers.Quiz, list[float | None]]], seed: int) -> ScoreRecord | None:
    if kind == "simulation":
        return results.of_simulation([quiz.truth for quiz, _ in quizzes], [said for _, said in quizzes], seed)
    truth = [one for quiz, _ in quizzes for one in quiz.truth]
    said = [one for _, answers in quizzes for one in answers]
    return results.of_intruder(truth, said, seed) if kind == "intruder" else results.of_answers(kind, truth, said, seed)


def _nearness(row: Sae, chosen: Mapping[int, Label], params: dict[str, Any]) -> Iterator[Any]:
    """Yield (feature, AUROC of its label's embedding against those of firing and silent texts), and progress."""
    embedder = resident.embedder()
    for done, material in enumerate(materials(row, list(chosen), params["texts"], params["seed"]), 1):
        silent = material.hard if params["negatives"] == "hard" else material.random
        texts = [chosen[material.index].text, *(text.plain for text in [*material.firing, *silent])]
        vectors = embedder.embed(texts)
        near, firing = np.asarray(vectors[1:] @ vectors[0]), len(material.firing)
        if score := results.of_embedding(near[:firing], near[firing:], params["seed"]):
            yield material.index, score._replace(scorer=embedder.name, negatives=params["negatives"])
        yield Progress(done, len(chosen), "labels", "comparing embeddings")


def _bill(asking: Client) -> dict[str, Any]:
    spent = asking.budget.spent
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost": round(spent.cost, 4),
    }
