"""How a corpus is cut reaches every job on it, and contexts cut by different rules are different
rows.
"""

import copy
import json

import pytest

from features.models import Corpus, Example, Job, LanguageModel, Sae, Sequence
from features.records import InvalidParams
from features.selectors.features import feature
from features.services import jobs as job_services
from tests.workers.conftest import make_model
from tests.workers.pipeline.test_chat import TEMPLATE
from workers import model_cache
from workers.jobs import runner

pytestmark = pytest.mark.django_db(transaction=True)
HOOK = "blocks.1.hook_resid_post"
SHORT = [f"Le café {n} 日本 🧠 там {n % 7}." for n in range(1500)]


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()


@pytest.fixture
def chat_model(tmp_path, tokenizer) -> str:
    """The tiny Llama with ChatML's marks and template."""
    more = copy.deepcopy(tokenizer)
    more.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    more.chat_template = TEMPLATE
    model = make_model("llama")
    model.resize_token_embeddings(len(more))
    for part in (model, more):
        part.save_pretrained(tmp_path / "chat-model")
    return str(tmp_path / "chat-model")


def done(kind: str, **params) -> Job:
    job = job_services.start(kind, params)
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def finished(kind: str, **params) -> Job:
    job = done(kind, **params)
    assert job.state == "finished", job.error
    return job


def train(corpus: str, slug: str, **changes) -> Job:
    settings = {
        "model": "tiny",
        "slug": slug,
        "corpus": corpus,
        "hook": HOOK,
        "width": 32,
        "k": 4,
        "tokens": 10_000,
    }
    return done("train_sae", **{**settings, "context_size": 32, "then": False, **changes})


@pytest.fixture
def lines(tmp_path) -> str:
    file = tmp_path / "short.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in SHORT))
    return str(file)


@pytest.fixture
def tiny(model_folders):
    finished("add_model", slug="tiny", source=str(model_folders["llama"]))


def test_separate_documents_are_never_in_one_context(tiny, lines):
    finished("add_corpus", slug="apart", source=lines, packing="separate")
    assert train("apart", "s").state == "finished"
    finished("compute_dashboards", sae="tiny/s", corpus="apart", tokens=3000)
    finished("evaluate_sae", sae="tiny/s", corpus="apart", tokens=1000)
    assert Corpus.objects.get().packing == "separate"
    kept = list(Sequence.objects.all())
    assert kept
    assert all(context.token_ids[0] == 0 and 0 not in context.token_ids[1:] for context in kept)
    assert len({len(context.token_ids) for context in kept}) > 1
    best = (
        Example.objects.order_by("-feature__fires").values_list("feature__index", flat=True).first()
    )
    for band in feature("tiny", "s", best).bands:
        for example in band.examples:
            assert "".join(span.text for span in example.tokens if not span.special) in set(SHORT)


def test_contexts_with_and_without_bos_are_different_rows_of_one_corpus(tiny, lines):
    """Two SAEs ask for different rules: what the second keeps must not be what the first wrote at
    the same place.
    """
    finished("add_corpus", slug="texts", source=lines)
    for slug in ("with", "without"):
        assert train("texts", slug).state == "finished"
    sae = Sae.objects.get(slug="without")
    sae.config["prepend_bos"] = False  # as an imported SAE may ask
    sae.save()
    for slug in ("with", "without"):
        finished("compute_dashboards", sae=f"tiny/{slug}", corpus="texts", tokens=3000)
    starts = {(row.bos, row.token_ids[0] == 0) for row in Sequence.objects.all()}
    assert starts == {(True, True), (False, False)}
    assert all(e.sequence.bos == (e.feature.sae.slug == "with") for e in Example.objects.all())


def test_a_corpus_without_bos_trains_an_sae_that_asks_for_none(tiny, lines):
    finished("add_corpus", slug="bare", source=lines, bos="never")
    assert train("bare", "s").state == "finished"
    sae = Sae.objects.get()
    assert not sae.prepend_bos
    assert not Corpus(bos="asked").begins_with_bos(sae.prepend_bos)
    finished("compute_dashboards", sae="tiny/s", corpus="bare", tokens=2000)
    assert not any(row.token_ids[0] == 0 for row in Sequence.objects.all())


def test_conversations_are_read_by_the_chat_model_and_refused_for_another(
    tiny, chat_model, tmp_path
):
    rows = [
        {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": text[::-1]}]}
        for text in SHORT
    ]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = done("add_corpus", slug="chats", source=str(tmp_path / "chats.jsonl"))
    assert (job.state, job.error_field) == ("failed", "text_column")
    assert "it has conversations" in job.error
    finished(
        "add_corpus",
        slug="chats",
        source=str(tmp_path / "chats.jsonl"),
        text_column="conversations",
        packing="separate",
    )
    assert Corpus.objects.get().chat
    refused = train("chats", "s")
    assert (refused.state, refused.error_field) == ("failed", "corpus")
    assert "“chats” holds conversations" in refused.error
    assert "llama has no chat template" in refused.error
    finished("add_model", slug="chatty", source=chat_model)
    assert train("chats", "s", model="chatty", context_size=64).state == "finished"
    finished("compute_dashboards", sae="chatty/s", corpus="chats", tokens=3000)
    marks = set(
        LanguageModel.objects.get(slug="chatty")
        .tokens.filter(special=True)
        .values_list("token_id", flat=True)
    )
    for example in Example.objects.select_related("sequence")[:200]:
        assert not {example.sequence.token_ids[place] for place in example.positions} & marks
    assert any(len(marks & set(row.token_ids)) == 3 for row in Sequence.objects.all())


@pytest.mark.parametrize(("field", "value"), [("packing", "loose"), ("bos", "maybe")])
def test_rules_that_there_are_none_of_are_refused_by_name(field, value):
    with pytest.raises(InvalidParams) as caught:
        job_services.start("add_corpus", {"slug": "c", "source": "python-stdlib", field: value})
    assert list(caught.value.errors) == [field]


def test_a_bos_that_the_tokenizer_has_not_is_refused(tmp_path, tokenizer, lines):
    bare = copy.deepcopy(tokenizer)
    bare.bos_token = None
    make_model("gpt2").save_pretrained(tmp_path / "bare")
    bare.save_pretrained(tmp_path / "bare")
    finished("add_model", slug="tiny", source=str(tmp_path / "bare"))
    finished("add_corpus", slug="begun", source=lines, bos="always")
    job = train("begun", "s")
    assert (job.state, job.error_field) == ("failed", "corpus")
    assert "tokenizer has none" in job.error
