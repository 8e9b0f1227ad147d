"""An endpoint that misbehaves in every way that endpoints do: answers come all the same, or a clear
error.
"""

import time
from collections.abc import Iterator

import pytest

from features.records import InvalidInput
from tests.workers.fake_endpoint import KEY, MODEL, StandIn, stand_in
from workers.pipeline.autointerp import client
from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.client import Client
from workers.pipeline.autointerp.completions import Completion, CompletionRequest, Endpoint
from workers.pipeline.autointerp.endpoint_urls import checked_address
from workers.pipeline.errors import Unavailable


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in(lambda messages: messages[-1]["content"].upper()) as running:
        yield running


def request(name: int = 0, text: str = "hello") -> CompletionRequest:
    return CompletionRequest(
        name, [{"role": "system", "content": "Repeat."}, {"role": "user", "content": text}], 20
    )


def ask(
    server: StandIn, count: int = 1, budget: Budget | None = None, **changes: object
) -> dict[int, Completion]:
    endpoint = Endpoint(server.url, MODEL, KEY)._replace(**changes)  # type: ignore[arg-type]
    with Client(endpoint, budget or Budget()) as asking:
        return {
            asked.name: answer
            for asked, answer in asking.ask(request(n, f"text {n}") for n in range(count))
        }


def test_every_request_gets_its_own_answer_however_many_run_at_once(server: StandIn) -> None:
    server.slow = 0.05
    answers = ask(server, 20, concurrency=4)
    assert {name: answer.text for name, answer in answers.items()} == {
        n: f"TEXT {n}" for n in range(20)
    }
    assert 1 < server.most_at_once <= 4


@pytest.mark.parametrize("mishap", ["429", "500", "html", "json", "empty", "big", "drop"])
def test_what_goes_wrong_twice_and_then_right_is_an_answer(server: StandIn, mishap: str) -> None:
    server.mishaps = [mishap, mishap]
    assert ask(server)[0].text == "TEXT 0"


def test_a_minute_of_429s_is_waited_for(server: StandIn) -> None:
    server.mishaps = ["429"] * 40
    answers = ask(server, 4)
    assert len(answers) == 4
    assert not any(answer.error for answer in answers.values())


def test_patience_ends_and_the_job_is_put_off(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.1)
    server.mishaps = ["500"] * 1000
    with pytest.raises(Unavailable, match="answers 500: The server had an error"):
        ask(server)


def test_an_answer_that_is_late_is_asked_for_again(server: StandIn) -> None:
    server.mishaps = ["late"]
    started = time.monotonic()
    assert ask(server, timeout=0.3)[0].text == "TEXT 0"
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize(
    ("mishap", "why"),
    [("html", "no chat completion"), ("big", "more than 1 MB"), ("empty", "empty")],
)
def test_what_is_no_answer_three_times_is_missing_and_the_others_go_on(
    server: StandIn, mishap: str, why: str
) -> None:
    server.mishaps = [mishap] * 3
    answers = ask(server, 3, concurrency=1)
    assert why in answers[0].error
    assert [answers[n].text for n in (1, 2)] == ["TEXT 1", "TEXT 2"]


def test_a_refused_key_and_an_unknown_model_end_the_job_at_once(server: StandIn) -> None:
    with pytest.raises(InvalidInput, match="refuses the key"):
        ask(server, key="wrong")
    with pytest.raises(InvalidInput, match="knows no model “other”"):
        ask(server, model="other")
    with pytest.raises(InvalidInput, match="refuses the key"):
        ask(server, key="")


def test_nobody_there_is_told_with_the_name_and_the_address_is_for_the_workers_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.1)
    with (
        Client(Endpoint("http://127.0.0.1:9/v1", MODEL, name="local"), Budget()) as asking,
        pytest.raises(Unavailable, match="The endpoint “local” cannot be reached") as error,
    ):
        list(asking.ask([request()]))
    assert "127.0.0.1" not in error.value.message
    assert "http://127.0.0.1:9/v1/chat/completions cannot be reached" in caplog.text


def test_a_rate_a_minute_is_kept(server: StandIn) -> None:
    started = time.monotonic()
    ask(server, 6, per_minute=600)
    assert time.monotonic() - started >= 0.5


def test_a_budget_of_tokens_ends_it_before_it_is_overdrawn(server: StandIn) -> None:
    budget = Budget(most_tokens=500)
    answers = ask(server, 50, budget, concurrency=1)
    assert 0 < len(answers) < 10
    assert budget.exhausted
    assert budget.spent.prompt_tokens + budget.spent.completion_tokens == 110 * len(answers) <= 500


def test_a_budget_of_dollars_too(server: StandIn) -> None:
    budget = Budget(most_cost=0.001, price_in=5.0, price_out=20.0)
    answers = ask(server, 50, budget, concurrency=2)
    assert budget.spent.cost == pytest.approx(len(answers) * (100 * 5 + 10 * 20) / 1e6)
    assert 0 < budget.spent.cost <= 0.001


def test_a_job_that_must_stop_asks_nothing_more(server: StandIn) -> None:
    server.slow = 0.05
    answered: list[int] = []
    with Client(
        Endpoint(server.url, MODEL, KEY, concurrency=2), Budget(), lambda: len(answered) >= 3
    ) as asking:
        for asked, _ in asking.ask(request(n) for n in range(100)):
            answered.append(asked.name)
    assert 3 <= len(answered) <= 5


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.0.0.7", "192.168.1.1", "169.254.169.254", "[::1]", "localhost", "0.0.0.0"],
)
def test_private_addresses_are_refused_where_the_instance_forbids_them(host: str) -> None:
    with pytest.raises(InvalidInput, match="private address"):
        checked_address(f"http://{host}:8080/v1", private_allowed=False)
    assert checked_address(f"http://{host}:8080/v1", private_allowed=True) is None


def test_a_public_name_that_leads_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(0, 0, 0, "", ("93.184.216.34", 0)), (0, 0, 0, "", ("10.0.0.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InvalidInput, match="private address") as error:
        checked_address("https://models.example/v1", private_allowed=False)
    assert "10.0.0.1" not in error.value.message, "everybody may read it"
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found[:1])
    assert checked_address("https://models.example/v1", private_allowed=False) == "93.184.216.34"
