"""Responses of endpoints of today: what is answered, what it costs, and what is an error, whatever
the shape; and what a run learns from refusals.
"""

import json
import time
from email.utils import formatdate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.records import InvalidInput
from tests.workers.fake_endpoint import KEY, MODEL, StandIn, completion, stand_in
from workers.pipeline.autointerp import client
from workers.pipeline.autointerp.budget import Budget
from workers.pipeline.autointerp.client import Client
from workers.pipeline.autointerp.completions import Completion, CompletionRequest, Endpoint
from workers.pipeline.autointerp.responses import InvalidResponse, Usage, parse_body
from workers.pipeline.autointerp.retry_after import seconds_until_retry
from workers.pipeline.errors import Unavailable

FUTURE = 4_102_444_800  # 2100-01-01


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)


@pytest.fixture
def server():
    with stand_in(lambda messages: "LABEL: cats") as running:
        yield running


PROMPT = [{"role": "system", "content": "Label."}, {"role": "user", "content": "x" * 70}]


def run(
    server: StandIn, count: int = 1, budget: Budget | None = None, **changes: object
) -> tuple[list[Completion], list[str], Exception | None]:
    """The completions, the lines of the log, and the error that ended the run."""
    endpoint = Endpoint(server.url, MODEL, KEY, name="local")._replace(**changes)
    answers, lines = [], list[str]()
    with Client(endpoint, budget or Budget(), log=lines.append) as asking:
        try:
            requests = (CompletionRequest(n, PROMPT, 300) for n in range(count))
            answers = []
            for _, answer in asking.ask(requests):
                answers.append(answer)
        except InvalidInput as error:
            return answers, lines, error
    return answers, lines, None


def choice(message, finish="stop", **more):
    return {"choices": [{"message": message, "finish_reason": finish, **more}]}


TEXT = {"type": "text", "text": "cats"}


@pytest.mark.parametrize(
    ("body", "text", "error"),
    [
        (choice({"content": "cats"}), "cats", ""),
        (choice({"content": [TEXT]}), "cats", ""),
        (choice({"content": [{"type": "thinking", "thinking": [TEXT]}, TEXT]}), "cats", ""),
        (choice({"content": [{"type": "reasoning", "text": "hm"}, TEXT]}), "cats", ""),
        (choice({"content": "cats", "reasoning_content": "hm"}), "cats", ""),
        (choice({"content": "cats", "reasoning": "hm"}), "cats", ""),
        (choice({"content": "cats", "refusal": None, "tool_calls": []}), "cats", ""),
        (choice({"content": "cats"}, "eos"), "cats", ""),
        (choice({"content": "cats"}, "length"), "cats", "cut off"),
        (choice({"content": "cats"}, "stop", native_finish_reason="MAX_TOKENS"), "cats", "cut off"),
        (choice({"content": ""}, "length"), "", "all of it on thoughts"),
        (choice({"content": None, "reasoning_content": "hm"}), "", "thinks and gives no answer"),
        (choice({"content": None, "refusal": "I can't."}), "", "the model refuses: I can't."),
        (choice({"content": [{"type": "refusal", "refusal": "No."}]}), "", "refuses: No."),
        (choice({"content": "cats"}, "content_filter"), "cats", "filtered"),
        (choice({"content": None, "tool_calls": [{"id": "x"}]}, "tool_calls"), "", "calls a tool"),
        (choice({}), "", "empty"),
        (choice({"content": 7}), "", "empty"),
        ({"choices": [choice({"content": ""}, "length")["choices"][0],
                      choice({"content": "cats"})["choices"][0]]}, "cats", ""),
        ({"message": {"role": "assistant", "content": "cats"}, "done_reason": "stop"}, "cats", ""),
        ({"message": {"content": "cats"}, "done_reason": "length"}, "cats", "cut off"),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, TEXT],
          "stop_reason": "end_turn"}, "cats", ""),
        ({"role": "assistant", "content": [TEXT], "stop_reason": "max_tokens"}, "cats", "cut off"),
        (choice({"content": "a\ud83db\0"}), "a\ufffdb", ""),
    ],
)  # fmt: skip
def test_every_shape_of_a_message_is_read(body, text, error):
    message, failure, _ = parse_body(json.dumps(body))
    assert failure is None
    assert message.text == text
    assert error in message.error
    assert bool(message.error) == bool(error)


def test_a_stream_that_nobody_asked_for_is_joined():
    deltas = [
        {"role": "assistant"},
        {"reasoning_content": "hm"},
        {"content": "ca"},
        {"content": "ts"},
    ]
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    message, _, usage = parse_body(text)
    assert (message.text, message.error, usage) == ("cats", "", Usage(5, 7))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 50, "completion_tokens": 300}, Usage(50, 300)),
        ({"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 350}, Usage(50, 300)),
        ({"prompt_tokens": 50, "completion_tokens": 300,
          "completion_tokens_details": {"reasoning_tokens": 280}}, Usage(50, 300)),
        ({"prompt_tokens": 50, "completion_tokens": 0,
          "completion_tokens_details": {"reasoning_tokens": 300}}, Usage(50, 300)),
        ({"input_tokens": 50, "output_tokens": 300}, Usage(50, 300)),
        ({"prompt_tokens": 50, "completion_tokens": 3, "cost": 0.002}, Usage(50, 3, 0.002)),
        ({"prompt_tokens": 50, "completion_tokens": 3, "cost": 0.0001, "is_byok": True,
          "cost_details": {"upstream_inference_cost": 0.002}}, Usage(50, 3, 0.0021)),
        ({"prompt_tokens": "50", "completion_tokens": -3, "cost": "much"}, Usage()),
        ({"prompt_tokens": 1e300, "completion_tokens": True}, Usage(10**8, 0)),
        (None, Usage()),
    ],
)  # fmt: skip
def test_usage_is_what_the_server_says(usage, expected):
    body = {**choice({"content": ""}, "length"), "usage": usage}
    assert parse_body(json.dumps(body))[2] == pytest.approx(expected)


def test_a_thinking_model_spends_the_budget_and_the_run_stops(server):
    """50 and 300 tokens at $1 and $10 for a million are $0.00305; the limit is $0.008."""
    body = {**choice({"content": ""}, "length")}
    body["usage"] = {"prompt_tokens": 50, "completion_tokens": 300}
    server.responds = lambda _: (200, body, {})
    budget = Budget(most_cost=0.008, price_in=1.0, price_out=10.0)
    answers, _, failure = run(server, 30, budget)
    assert failure is None
    assert len(server.requests) == len(answers) == 2
    assert budget.spent.cost == pytest.approx(2 * 0.00305)
    assert budget.exhausted
    assert [(a.prompt_tokens, a.completion_tokens) for a in answers] == [(50, 300)] * 2
    assert "cut off at its token limit, all of it on thoughts" in answers[0].error


def test_the_cost_that_an_endpoint_states_is_limited_without_prices(server):
    server.responds = lambda _: (200, completion("LABEL: x", cost=0.003), {})
    budget = Budget(most_cost=0.01)
    answers, _, _ = run(server, 30, budget, concurrency=1)
    assert len(answers) == 3
    assert budget.spent.cost == pytest.approx(0.009)
    assert [answer.cost for answer in answers] == [0.003] * 3


def test_usage_that_is_missing_is_estimated_and_said(server):
    server.responds = lambda _: (200, choice({"content": "LABEL: cats"}), {})
    budget = Budget()
    (answer,), _, _ = run(server, 1, budget)
    assert answer.estimated
    assert answer.prompt_tokens > 20
    assert answer.completion_tokens > 3
    assert budget.spent.estimated == 1


def test_an_answer_that_is_lost_may_be_billed(server):
    server.mishaps = ["late"]
    (answer,), _, _ = run(server, timeout=0.3)
    assert answer.text == "LABEL: cats"
    assert answer.estimated
    assert answer.completion_tokens == 300 + 10


UNSUPPORTED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."  # noqa: E501


def openai_error(message, status=400, **more):
    error = {"message": message, "type": "invalid_request_error", **more}
    return status, {"error": error}, {}


def thinking_model(body):
    """As OpenAI's reasoning models refuse, one parameter at a time."""
    if "max_tokens" in body:
        return openai_error(UNSUPPORTED, param="max_tokens", code="unsupported_parameter")
    if "temperature" in body:
        said = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."  # noqa: E501
        return openai_error(said, param="temperature", code="unsupported_value")
    assert body["max_completion_tokens"] == 300
    return 200, completion("LABEL: cats"), {}


def test_parameters_that_a_model_does_not_take_are_replaced_once_for_the_run(server):
    server.responds = thinking_model
    answers, lines, failure = run(server, 5)
    assert failure is None
    assert [answer.text for answer in answers] == ["LABEL: cats"] * 5
    assert len(server.requests) == 7
    assert "requests have max_completion_tokens instead" in lines[0]
    assert "does not take temperature" in lines[1]


@pytest.mark.parametrize(
    "detail",
    [
        {"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}]},
        {"error": {"message": "temperature is deprecated for this model.", "code": 400}},
        [{"error": {"code": 400, "message": "Unknown name \"temperature\": Cannot find field.",
                    "status": "INVALID_ARGUMENT"}}],
        {"object": "error", "code": 40001,
         "message": "[{'loc': ('body', 'temperature'), 'msg': 'extra_forbidden'}]"},
    ],
)  # fmt: skip
def test_a_parameter_is_left_out_however_the_refusal_is_worded(server, detail):
    def responds(body):
        return (422, detail, {}) if "temperature" in body else (200, completion("ok"), {})

    server.responds = responds
    assert run(server)[0][0].text == "ok"


@pytest.mark.parametrize(
    "said", ["System role not supported", "Conversation roles must alternate user/assistant/...",
             "Unsupported value: 'messages[0].role' does not support 'system' with this model."],
)  # fmt: skip
def test_a_model_without_a_system_turn_gets_one_turn(server, said):
    def responds(body):
        if body["messages"][0]["role"] == "system":
            return openai_error(said)
        return 200, completion("ok"), {}

    server.responds = responds
    assert run(server)[0][0].text == "ok"
    assert server.requests[-1]["messages"] == [{"role": "user", "content": f"Label.\n\n{'x' * 70}"}]


def test_refusals_that_do_not_change_end_the_run_with_the_endpoints_words(server):
    server.responds = lambda _: openai_error("This model is not a chat model.")
    answers, _, failure = run(server, 30)
    assert len(server.requests) == 3
    assert len(answers) == 3
    assert "“local” answered none of 3 requests: status 400: This model is not a chat" in str(
        failure
    )


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (openai_error("You need credits.", 402), "wants to be paid first (402: You need credits)"),
        (openai_error("You exceeded your current quota.", 429, code="insufficient_quota"),
         "wants to be paid first (429: You exceeded your current quota)"),
        (openai_error("Your credit balance is too low."), "paid first (400: Your credit balance"),
        (openai_error("Country not supported.", 403), "refuses the key (403: Country not"),
        (openai_error("No such model.", 404), "(404: No such model)"),
        ((307, {}, {"Location": "/login"}), "is no chat endpoint (307)"),
        ((200, {"error": {"code": 401, "message": "No auth."}}, {}), "the key (401: No auth)"),
        ((200, {"error": {"code": "model_not_found", "message": "Gone."}}, {}), "knows no model"),
    ],
)  # fmt: skip
def test_what_a_retry_cannot_mend_ends_the_run_after_what_is_on_its_way(server, response, words):
    def responds(body):
        return response if len(server.requests) >= 5 else (200, completion("ok"), {})

    server.responds, server.slow = responds, 0.01
    answers, _, failure = run(server, 40, concurrency=4)
    assert words in str(failure)
    assert [answer.text for answer in answers] == ["ok"] * 5
    assert len(server.requests) <= 9


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "message": "Slow down.", "metadata": {"raw": "busy"}}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        [{"error": {"code": 503, "status": "UNAVAILABLE", "message": "Busy."}}],
        {"choices": [{"error": {"code": 502, "message": "Bad gateway"}, "finish_reason": "error"}]},
        {"detail": "Something broke."},
        {"error": "engine is loading"},
        {"error": [{"message": "Busy"}, None]},
        {"error": [None, {"message": "Busy"}]},
    ],
)
def test_an_error_inside_a_200_is_asked_again(server, body):
    def responds(_):
        return (200, body, {}) if len(server.requests) < 2 else (200, completion("ok"), {})

    server.responds = responds
    assert run(server)[0][0].text == "ok"


def test_a_run_without_any_answer_ends_and_says_what_helps(server):
    server.responds = lambda _: (200, completion("<think>", 300, "length"), {})
    answers, _, failure = run(server, 100, concurrency=2)
    assert 10 <= len(answers) <= 12
    assert "cut off at its token limit" in str(failure)
    assert "Choose a model that thinks less" in str(failure)


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "3"}, "", 3),
        ({"retry-after": formatdate(FUTURE, usegmt=True)}, "", FUTURE),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, "", 360),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms"}, "", 0.12),
        ({"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "5s"}, "", None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(FUTURE * 1000))},
         "", FUTURE),
        ({}, "Rate limit reached for tokens per min. Please try again in 1.242s. Visit …", 1.242),
        ({}, "Please try again in 1h2m3s.", 3723),
        ({}, "retry after 5 seconds", 5),
        ({}, "Quota exceeded. Please retry in 31.5s.", 31.5),
        ({"retry-after": "soon"}, "Slow down", None),
        ({"retry-after": "nan"}, "", None),
    ],
)  # fmt: skip
def test_when_to_ask_again_is_read_from_headers_and_words(headers, message, seconds):
    seconds = FUTURE - time.time() if seconds == FUTURE else seconds
    expected = None if seconds is None else pytest.approx(seconds, abs=2 if seconds > 9999 else 0)
    assert seconds_until_retry(headers, message) == expected


def test_a_limit_that_lasts_for_hours_puts_the_job_off(server):
    server.responds = lambda _: openai_error("Daily limit. Please try again in 3h.", 429)
    answers, _, failure = run(server)
    assert answers == []
    assert isinstance(failure, Unavailable)
    assert "It asks to wait 180 min." in str(failure)


def test_a_key_that_http_cannot_send_is_said_at_once(server):
    _, _, failure = run(server, key="sk-ключ")
    assert "its URL or its key is not one of HTTP" in str(failure)
    assert "ключ" not in str(failure)


NAMES = [
    *("choices", "message", "content", "text", "type", "error", "code", "usage", "refusal"),
    *("finish_reason", "detail", "loc", "delta", "prompt_tokens", "completion_tokens", "cost"),
    *("total_tokens", "role", "reasoning", "metadata", "stop_reason", "tool_calls", "parts"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def check_any_body(text):
    """Whatever a server sends is a message, an error or no completion."""
    try:
        message, error, usage = parse_body(text)
    except InvalidResponse as invalid:
        str(invalid).encode()
        return
    assert (message is None) != (error is None)
    assert usage.prompt_tokens >= 0 <= usage.completion_tokens
    (message.text + message.error if message else error.message).encode()


@given(JSON.map(json.dumps) | st.text(max_size=40))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_body_is_a_message_an_error_or_no_completion(text):
    check_any_body(text)


@pytest.mark.full
@given(JSON.map(json.dumps) | st.text(max_size=40))
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_bodies_are_messages_errors_or_no_completions(text):
    check_any_body(text)
