"""Asking a language model from a job: the endpoint with its budget, and answers that are stored
before they are used.

    endpoint, client = llm.endpoint(job)
    for question, answer in job.results(llm.ask(job, client, questions, total)):

A later attempt at the job takes the answers of earlier ones from its `Exchange` rows, and so does a
job like one that failed or was cancelled: no question is sent, or paid for, twice.
"""

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q

from features import encryption
from features.jobs import execution as job_execution
from features.models import Endpoint, Exchange, Job
from features.records import InvalidInput, Progress
from workers.lifecycle.work import RunningJob
from workers.pipeline.autointerp import completions
from workers.pipeline.autointerp.answers import encodable
from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.client import STOPPED, Client
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
    return row, Client(url, _budget(job, prices), job.should_stop, job.log)


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
    """The limits, with what earlier attempts spent. The limit in dollars holds without prices too:
    some endpoints state the cost of each answer.
    """
    budget = Budget(job.params["most_tokens"], job.params["most_cost"], *prices)
    columns = ("prompt_tokens", "completion_tokens", "cost", "estimated")
    for usage in Exchange.objects.filter(job=job.row).values_list(*columns):
        budget.add_earlier_spending(*usage)
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

    Ends early where the budget is spent, and writes so to the job's log. Raises `InvalidInput`
    where the endpoint answers no more, after the answers that came.
    """
    answers = _Answers(job, client, counted)
    requests = answers.requests(questions)
    failure: InvalidInput | None = None
    with client:
        try:
            for request, answer in client.ask(requests):
                while answers.replayed:
                    yield answers.replayed.pop()
                question = request.name
                answers.log_first_error(answer)
                if answer.error != STOPPED:
                    store(job.row, question, client.endpoint.model, answer)
                    yield question, answer
                answers.count(question)
                yield answers.progress(total, unit)
        except InvalidInput as error:
            failure = error
    answers.replay_rest(requests, failure is not None)
    yield from answers.replayed
    if failure is not None:
        raise failure
    if client.budget.exhausted:
        job.log(
            f"The budget is spent after {len(answers.counts):,} of {total:,} {unit}; the answers "
            "so far are stored."
        )
    if estimated := client.budget.spent.estimated:
        job.log(
            f"{client.endpoint.description} gave no count of tokens for {estimated:,} answers: "
            "what they cost is an estimate."
        )


def collect(
    job: RunningJob, answers: Iterable[Any], read: Callable[[Question, Completion], None]
) -> InvalidInput | None:
    """Have `read` take every answer. Returns the error that ended them early, if one did, so that
    the caller can write what came before raising it.
    """
    try:
        for question, answer in job.results(answers):
            read(question, answer)
    except InvalidInput as error:
        job.log("What was answered so far is stored.")
        return error
    return None


def end(job: RunningJob, result: dict[str, Any], failure: InvalidInput | None) -> None:
    """Finish the job in the transaction that wrote its results; where it failed on the way, only
    store what it wrote and spent.
    """
    if failure is None:
        job_execution.finish(job.row, result)
    else:
        job_execution.store_result(job.row, result)


class _Answers:
    """The answers to the questions of a job. `replayed` are those of earlier attempts that come
    next; `counts` are the units with an answer.
    """

    def __init__(
        self, job: RunningJob, client: Client, counted: Callable[[Question], Hashable]
    ) -> None:
        self.job, self.client, self.counted = job, client, counted
        self.stored = {row.sha256: row for row in _earlier_exchanges(job)}
        self.pending = {key for key, row in self.stored.items() if row.job_id == job.row.pk}
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
                if row.job_id != self.job.row.pk:
                    completion = completion._replace(prompt_tokens=0, completion_tokens=0)
                    store(self.job.row, question, self.client.endpoint.model, completion)
                self.replayed.append((question, completion))
            else:
                yield CompletionRequest(question, _sent(question), question.max_tokens)

    def replay_rest(self, requests: Iterator[CompletionRequest], failed: bool) -> None:
        """Where the budget or a failure ended the requests early, go on to the stored answers after
        them.
        """
        early = failed or self.client.budget.exhausted
        while early and self.pending and next(requests, None):
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


def _earlier_exchanges(job: RunningJob) -> list[Exchange]:
    """Answers of earlier attempts, and of jobs with the same endpoint about the same SAE or sweep
    that ended early; those of this job last. An error that cost nothing is asked again.
    """
    row, names = job.row, ("sae", "run", "endpoint")
    same = {f"job__params__{name}": row.params[name] for name in names if name in row.params}
    ended = Exchange.objects.filter(
        job__kind=row.kind,
        job__created_by=row.created_by_id,
        job__state__in=(Job.State.FAILED, Job.State.CANCELLED),
        error="",
        **same,
    )
    mine = Exchange.objects.filter(job=row).exclude(Q(completion_tokens=0) & ~Q(error=""))
    return [*ended.defer("messages"), *mine.defer("messages")]


def _sent(question: Question) -> list[dict[str, str]]:
    """The messages of a prompt as they are sent, and stored."""
    return [
        {name: encodable(text) for name, text in message.items()} for message in question.messages
    ]


def store(job: Job, question: Question, model: str, answer: Completion) -> None:
    """Write a prompt with its answer, before the answer is used."""
    Exchange.objects.update_or_create(
        job=job,
        sha256=question.sha256(model),
        defaults={
            "feature": question.feature,
            "purpose": question.purpose,
            "messages": _sent(question),
            "answer": encodable(answer.text),
            "error": encodable(answer.error)[:500],
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "cost": answer.cost,
            "estimated": answer.estimated,
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
