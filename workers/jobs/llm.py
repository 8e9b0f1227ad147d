"""What jobs share that ask a language model: the endpoint with its budget, and each answer kept
before it is used.

    endpoint, client = asking.endpoint(job)
    for question, answer in job.results(asking.ask(job, client, questions, total)):

A job that goes on reads what it asked before from its `Exchange` rows: nothing is asked, or paid
for, twice.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings

from features import encryption
from features.models import Endpoint, Exchange, Job
from features.records import InvalidInput, Progress
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import completions
from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.client import Client
from workers.pipeline.autointerp.completions import Completion, CompletionRequest, Message


class Question(NamedTuple):
    """A prompt about a feature, and what it is for; `about` is whatever the caller needs to make
    sense of the answer.
    """

    feature: int
    purpose: str
    messages: list[Message]
    most: int
    about: Any = None

    def sha256(self, model: str) -> str:
        """What it is known by in its job."""
        return hashlib.sha256(json.dumps([model, self.messages]).encode()).hexdigest()


def endpoint(job: RunningJob) -> tuple[Endpoint, Client]:
    """The endpoint of the job, and a client whose budget is what its earlier attempts left.

    `InvalidInput("endpoint")` where it is gone, is somebody else's, or its key cannot be read.
    """
    row = Endpoint.objects.filter(slug=job.params["endpoint"]).first()
    if row is None:
        raise InvalidInput("endpoint", f"There is no endpoint “{job.params['endpoint']}” any more.")
    if row.owner_id is not None and row.owner_id != job.row.created_by_id:
        raise InvalidInput(
            "endpoint", f"The endpoint “{row}” belongs to somebody else, whose key pays for it."
        )
    try:
        key = encryption.decrypt(row.key)
    except encryption.Unreadable as error:
        raise InvalidInput("endpoint", str(error)) from None
    prices = (float(row.price_in), float(row.price_out))
    budget = Budget(
        job.params["most_tokens"], job.params["most_cost"] if any(prices) else 0.0, *prices
    )
    for tokens in Exchange.objects.filter(job=job.row).values_list(
        "prompt_tokens", "completion_tokens"
    ):
        budget.add_earlier_spending(*tokens)
    to = completions.Endpoint(
        row.base_url, row.model, key, row.concurrency, row.per_minute, float(row.timeout), *prices,
        private_allowed=settings.PRIVATE_ENDPOINTS, name=row.slug,
    )  # fmt: skip
    return row, Client(to, budget, job.should_stop)


def ask(
    job: RunningJob,
    asking: Client,
    questions: Iterable[Question],
    total: int,
    unit: str = "features",
    counted: Callable[[Question], Hashable] = attrgetter("feature"),
) -> Iterator[Any]:
    """Yield (question, answer), and progress in the units of which `counted` says which one a
    question belongs to.

    Ends early where the budget is spent, and says so in the job's log.
    """
    model = asking.endpoint.model
    known = {row.sha256: row for row in Exchange.objects.filter(job=job.row).defer("messages")}
    unanswered, left = 0, set(known)
    told_of: set[Hashable] = set()
    again: list[tuple[Question, Completion]] = []

    def new() -> Iterator[CompletionRequest]:
        for question in questions:
            left.discard(question.sha256(model))
            if kept := known.get(question.sha256(model)):
                told_of.add(counted(question))
                counts = (kept.prompt_tokens, kept.completion_tokens)
                again.append((question, Completion(kept.answer, *counts, kept.seconds, kept.error)))
            else:
                yield CompletionRequest(question, question.messages, question.most)

    def told(question: Question) -> Progress:
        told_of.add(counted(question))
        spent = asking.budget.spent
        cost = f", ${spent.cost:.2f}" if spent.cost else ""
        note = (
            f"asking {model}; {spent.prompt_tokens + spent.completion_tokens:,} tokens{cost} so far"
        )
        return Progress(len(told_of), total, unit, note)

    requests = new()
    with asking:
        for request, answer in asking.ask(requests):
            while again:
                yield again.pop()
            question = request.name
            if answer.error and not unanswered:
                job.log(
                    f"{asking.endpoint.description} gave no answer: {answer.error}. Others like it "
                    "are counted as unread."
                )
            unanswered += bool(answer.error)
            if answer.error != "stopped":
                keep(job.row, question, model, answer)
                yield question, answer
            yield told(question)
    while asking.budget.exhausted and left and next(requests, None):
        pass  # where it was spent too early, answers of earlier attempts are still to come
    yield from again
    if asking.budget.exhausted:
        job.log(
            f"The budget is spent after {len(told_of):,} of {total:,} {unit}; what was answered "
            "is kept."
        )


def keep(job: Job, question: Question, model: str, answer: Completion) -> None:
    """Write a prompt with its answer, before the answer is used."""
    Exchange.objects.get_or_create(
        job=job,
        sha256=question.sha256(model),
        defaults={
            "feature": question.feature,
            "purpose": question.purpose,
            "messages": question.messages,
            "answer": answer.text.replace("\0", ""),
            "error": answer.error[:500],
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "seconds": answer.seconds,
        },
    )


def bill(asking: Client) -> dict[str, Any]:
    """What a job spent, all its attempts together, as its result tells it."""
    spent = asking.budget.spent
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost": round(spent.cost, 4),
    }
