"""Jobs that label features by a language model: each feature is explained from its examples."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction

from features.jobs.forms import ExplainSae
from features.models import Endpoint, Feature, Sae
from features.records import LabelRecord
from features.services import labels as label_services
from features.version import VERSION
from workers.jobs import inputs, llm
from workers.jobs.explainer_examples import load_examples, split_settings
from workers.jobs.llm import Question
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import explainers, label_answers
from workers.pipeline.autointerp.completions import Completion


def explain_sae(job: RunningJob) -> None:
    """Have every chosen feature explained, and write the answers as labels of this explainer."""
    row, params = inputs.sae(job.params["sae"]), job.params
    endpoint, client = llm.endpoint(job)
    indices = _select_features(row, params)
    labels: dict[int, LabelRecord] = {}
    unread = 0

    def read(question: Question, answer: Completion) -> None:
        nonlocal unread
        text = None if answer.error else label_answers.parse_label(answer.text)
        if text is None:
            unread += 1
        else:
            provenance = _provenance(row, params, endpoint, question)
            labels[question.feature] = LabelRecord(question.feature, text, provenance, [])

    questions = _questions(row, indices, params)
    failure = llm.collect(job, llm.ask(job, client, questions, len(indices)), read)
    job.raise_if_stopped()
    with transaction.atomic():
        written = label_services.write_found(
            row,
            f"explainer:{params['explainer']}",
            (labels[index] for index in sorted(labels)),
            job.row,
            only=list(labels),
        )
        result = {"sae": str(row), "labels": written, "unread": unread, **llm.bill(client)}
        llm.end(job, result, failure)
    if failure:
        raise failure


def _questions(row: Sae, indices: list[int], params: dict[str, Any]) -> Iterator[Question]:
    for examples in load_examples(row, indices, params["texts"], params["seed"]):
        if examples.learn:
            prompt = explainers.messages(params["explainer"], examples)
            yield Question(examples.index, "explain", prompt, explainers.MAX_TOKENS)


def _provenance(
    row: Sae, params: dict[str, Any], endpoint: Endpoint, question: Question
) -> dict[str, object]:
    return {
        "explainer": params["explainer"],
        "model": endpoint.model,
        "endpoint": endpoint.slug,
        "texts": params["texts"],
        "dealt": split_settings(row, params["seed"]),
        "version": VERSION,
        "prompt": question.sha256(endpoint.model),
    }


def _select_features(row: Sae, params: dict[str, Any]) -> list[int]:
    """Indices of the features to explain, those that fire most first."""
    inputs.dashboard(row, ExplainSae.because)
    rows = Feature.objects.filter(sae=row, fires__gte=params["least_fires"]).order_by(
        "-fires", "index"
    )
    if params["only_unlabelled"]:
        rows = rows.filter(label=None)
    return list(rows.values_list("index", flat=True)[: params["most"]])
