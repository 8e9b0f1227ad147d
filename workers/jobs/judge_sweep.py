"""Jobs that have a language model judge the texts of a sweep."""

import random
from collections.abc import Iterator

from django.db import transaction

from features.records import InvalidInput
from features.services import judgements as judgement_services
from features.steering.judgeable_sweep import JudgeableSweep, load_judgeable_sweep
from workers.jobs import llm
from workers.jobs.llm import Question
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import judge, number_answers
from workers.pipeline.autointerp.completions import Completion
from workers.pipeline.errors import Unavailable


def judge_sweep(job: RunningJob) -> None:
    """Have every text of the sweep judged, and write the scores. Raises `InvalidInput` where no
    answer could be read.
    """
    _judge(job, load_judgeable_sweep(job.params["run"]))


def _judge(job: RunningJob, sweep: JudgeableSweep) -> None:
    endpoint, client = llm.endpoint(job)
    questions = list(_questions(sweep))
    ratings: dict[tuple[str, str], int | None] = {}
    answers = llm.ask(
        job, client, questions, len(questions), "answers", counted=lambda question: question.about
    )

    def read(question: Question, answer: Completion) -> None:
        ratings[question.about] = None if answer.error else number_answers.parse_rating(answer.text)

    failure = llm.collect(job, answers, read)
    job.raise_if_stopped()
    unread = sum(score is None for score in ratings.values())
    if failure and (unread == len(ratings) or isinstance(failure, Unavailable)):
        raise failure  # with nothing to write, or to go on from the stored answers
    if unread == len(ratings):
        raise _no_ratings(len(ratings), len(questions))
    scores = {
        score: [ratings.get((score, text)) for text in sweep.texts] for score in judge.QUESTIONS
    }
    counts = {"unread": unread, "unasked": len(questions) - len(ratings), **llm.bill(client)}
    with transaction.atomic():
        row = judgement_services.write(sweep, job.row, endpoint.model, scores, **counts)
        judged = sum(score is not None for score in row.both)
        llm.end(job, {"run": sweep.run.pk, "judged": judged, **counts}, failure)
    if failure:
        raise failure


def _questions(sweep: JudgeableSweep) -> Iterator[Question]:
    """Both questions about each text, in random order; strengths that wrote the same text share
    its answers.
    """
    pairs = [
        (score, text)
        for text in dict.fromkeys(sweep.texts)
        if text.strip()
        for score in judge.QUESTIONS
    ]
    random.Random(sweep.run.pk).shuffle(pairs)
    for score, text in pairs:
        prompt = judge.messages(score, text, sweep.label)
        yield Question(
            sweep.feature.index, f"judge {score}", prompt, judge.MAX_TOKENS, (score, text)
        )


def _no_ratings(answers: int, questions: int) -> InvalidInput:
    if not questions:
        return InvalidInput(
            "run", "Every text of this sweep is empty, so there is nothing to judge."
        )
    if not answers:
        return InvalidInput(
            "most_tokens",
            "What may be spent is less than one answer costs. Allow more tokens or dollars.",
        )
    return InvalidInput(
        "endpoint", f"None of {answers} answers could be read as a score. Ask another model."
    )
