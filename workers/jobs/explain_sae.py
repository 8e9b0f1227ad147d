"""Labels by a language model, from their job's row to the rows of labels. What was asked before is
not asked again.
"""

from collections.abc import Iterator
from typing import Any

from django.db import transaction

from features.jobs import execution as job_execution
from features.jobs.forms import ExplainSae
from features.models import Feature, Sae
from features.records import LabelRecord
from features.services import labels as label_services
from features.version import VERSION
from workers.jobs import inputs, llm
from workers.jobs.explainer_examples import dealt, materials
from workers.jobs.llm import Question
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import explainers


def explain_sae(job: RunningJob) -> None:
    """Have every chosen feature explained, and write what came as labels of this explainer."""
    row, params = inputs.sae(job.params["sae"]), job.params
    endpoint, client = llm.endpoint(job)
    method = f"explainer:{params['explainer']}"
    indices = _chosen(row, params)
    found: dict[int, LabelRecord] = {}

    def questions() -> Iterator[Question]:
        for material in materials(row, indices, params["texts"], params["seed"]):
            if material.learn:
                prompt = explainers.messages(params["explainer"], material)
                yield Question(material.index, "explain", prompt, explainers.MAX_TOKENS)

    total, unread = len(indices), 0
    for question, answer in job.results(llm.ask(job, client, questions(), total)):
        text = None if answer.error else explainers.parse_label(answer.text)
        if text is None:
            unread += 1
            continue
        provenance = {
            "explainer": params["explainer"],
            "model": endpoint.model,
            "endpoint": endpoint.slug,
            "texts": params["texts"],
            "dealt": dealt(row, params["seed"]),
            "version": VERSION,
            "prompt": question.sha256(endpoint.model),
        }
        found[question.feature] = LabelRecord(question.feature, text, provenance, [])
    job.raise_if_stopped()
    with transaction.atomic():
        said = label_services.write_found(
            row, method, (found[index] for index in sorted(found)), job.row, only=list(found)
        )
        job_execution.finish(
            job.row, {"sae": str(row), "labels": said, "unread": unread, **llm.bill(client)}
        )


def _chosen(row: Sae, params: dict[str, Any]) -> list[int]:
    """Indices of the features to explain, those that fire most first."""
    inputs.dashboard(row, ExplainSae.because)
    rows = Feature.objects.filter(sae=row, fires__gte=params["least_fires"]).order_by(
        "-fires", "index"
    )
    if params["only_unlabelled"]:
        rows = rows.filter(label=None)
    return list(rows.values_list("index", flat=True)[: params["most"]])
