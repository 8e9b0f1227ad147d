"""Asking a language model from a job: the endpoint with its budget, and answers that are stored
before they are used.

    endpoint, client = llm.endpoint(job)
    for question, answer in job.results(llm.ask(job, client, questions, total)):

A later attempt at the job takes the answers of earlier ones from its `Exchange` rows: no question
is sent, or paid for, twice.
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
    """A prompt about a feature, and what it is for; `about` is what the caller needs to interpret
    the answer.
    """

    feature: int
    purpose: str
    messages: list[Message]
    max_tokens: int
    about: Any = None

    def sha256(self, model: str) -> str:
        """The key of the question in its job."""
        return hashlib.sha256(json.dumps([model, self.messages]).encode()).hexdigest()


def endpoint(job: RunningJob) -> tuple[Endpoint, Client]:
    """The endpoint of the job, and a client with the budget that earlier attempts left.

    `InvalidInput("endpoint")` where it is gone, belongs to another user, or its key cannot be read.
    """
    row = _endpoint_row(job)
    try:
        key = encryption.decrypt(row.key)
    except encryption.Unreadable as error:
        raise InvalidInput("endpoint", str(error)) from None
    prices = (float(row.price_in), float(row.price_out))
    url = completions.Endpoint(
        row.base_url, row.model, key, row.concurrency, row.per_minute, float(row.timeout), *prices,
        private_allowed=settings.PRIVATE_ENDPOINTS, name=row.slug,
    )  # fmt: skip
    return row, Client(url, _budget(job, prices), job.should_stop)


def _endpoint_row(job: RunningJob) -> Endpoint:
    row = Endpoint.objects.filter(slug=job.params["endpoint"]).first()
    if row is None:
        raise InvalidInput("endpoint", f"There is no endpoint “{job.params['endpoint']}” any more.")
    if row.owner_id is not None and row.owner_id != job.row.created_by_id:
        raise InvalidInput(
            "endpoint", f"The endpoint “{row}” belongs to another user, whose key pays for it."
        )
    return row


def _budget(job: RunningJob, prices: tuple[float, float]) -> Budget:
    max_cost = job.params["most_cost"] if any(prices) else 0.0
    budget = Budget(job.params["most_tokens"], max_cost, *prices)
    spending = Exchange.objects.filter(job=job.row)
    for tokens in spending.values_list("prompt_tokens", "completion_tokens"):
        budget.add_earlier_spending(*tokens)
    return budget


def ask(
    job: RunningJob,
    client: Client,
    questions: Iterable[Question],
    total: int,
    unit: str = "features",
    counted: Callable[[Question], Hashable] = attrgetter("feature"),
) -> Iterator[Any]:
    """Yield (question, answer), and progress out of `total`; `counted` says which unit a question
    belongs to.

    Ends early where the budget is spent, and writes so to the job's log.
    """
    answers = _Answers(job, client, counted)
    requests = answers.requests(questions)
    with client:
        for request, answer in client.ask(requests):
            while answers.replayed:
                yield answers.replayed.pop()
            question = request.name
            answers.log_first_error(answer)
            if answer.error != "stopped":
                store(job.row, question, client.endpoint.model, answer)
                yield question, answer
            answers.count(question)
            yield answers.progress(total, unit)
    answers.replay_rest(requests)
    yield from answers.replayed
    if client.budget.exhausted:
        job.log(
            f"The budget is spent after {len(answers.counts):,} of {total:,} {unit}; the answers "
            "so far are stored."
        )


class _Answers:
    """The answers to the questions of a job. `replayed` are those of earlier attempts that come
    next; `counts` are the units with an answer.
    """

    def __init__(
        self, job: RunningJob, client: Client, counted: Callable[[Question], Hashable]
    ) -> None:
        self.job, self.client, self.counted = job, client, counted
        rows = Exchange.objects.filter(job=job.row).defer("messages")
        self.stored = {row.sha256: row for row in rows}
        self.pending = set(self.stored)
        self.replayed: list[tuple[Question, Completion]] = []
        self.counts: set[Hashable] = set()
        self.error_logged = False

    def requests(self, questions: Iterable[Question]) -> Iterator[CompletionRequest]:
        """Yield what an earlier attempt did not ask; its answers go to `replayed`."""
        for question in questions:
            key = question.sha256(self.client.endpoint.model)
            self.pending.discard(key)
            if row := self.stored.get(key):
                self.count(question)
                tokens = (row.prompt_tokens, row.completion_tokens)
                completion = Completion(row.answer, *tokens, row.seconds, row.error)
                self.replayed.append((question, completion))
            else:
                yield CompletionRequest(question, question.messages, question.max_tokens)

    def replay_rest(self, requests: Iterator[CompletionRequest]) -> None:
        """Where the budget ended the requests early, go on to the stored answers after them."""
        while self.client.budget.exhausted and self.pending and next(requests, None):
            pass

    def count(self, question: Question) -> None:
        self.counts.add(self.counted(question))

    def progress(self, total: int, unit: str) -> Progress:
        spent = self.client.budget.spent
        tokens = spent.prompt_tokens + spent.completion_tokens
        cost = f", ${spent.cost:.2f}" if spent.cost else ""
        note = f"asking {self.client.endpoint.model}; {tokens:,} tokens{cost} so far"
        return Progress(len(self.counts), total, unit, note)

    def log_first_error(self, answer: Completion) -> None:
        if answer.error and not self.error_logged:
            self.error_logged = True
            self.job.log(
                f"{self.client.endpoint.description} gave no answer: {answer.error}. Further "
                "failures are only counted, as unread answers."
            )


def store(job: Job, question: Question, model: str, answer: Completion) -> None:
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


def bill(client: Client) -> dict[str, Any]:
    """What all attempts at a job spent, as its result has it."""
    spent = client.budget.spent
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "cost": round(spent.cost, 4),
    }
