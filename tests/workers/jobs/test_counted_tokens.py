"""Which tokens count reaches every job on an SAE, and its BOS follows from the tokenizer."""

import pytest
from django.test import Client

from features.models import Corpus, Dashboard, Example, LanguageModel, Sae
from features.records import CountingRule, InvalidParams
from features.services import catalog as catalog_services
from tests.workers.pipeline.test_corpus_rules import SHORT, done, finished, train
from workers import model_cache

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _places(settings, tmp_path):
    settings.VAR, settings.ARTIFACTS_URL = tmp_path / "var", str(tmp_path / "artifacts")
    model_cache.clear()


@pytest.fixture
def texts(tmp_path, model_folders) -> None:
    (tmp_path / "texts.txt").mkdir()
    for number, text in enumerate(SHORT):
        (tmp_path / "texts.txt" / f"{number}.txt").write_text(text)
    finished("add_model", slug="tiny", source=str(model_folders["llama"]))
    finished("add_corpus", slug="texts", source=str(tmp_path / "texts.txt"))


def test_the_rule_of_training_is_that_of_dashboards_evaluation_and_the_api(texts):
    assert train("texts", "s", norm_ratio=1.0, first_positions=2).state == "finished"
    sae = Sae.objects.get()
    rule = sae.rule
    assert (rule.norm_ratio, rule.first_positions) == (1.0, 2)
    assert rule.median_norm > 0
    assert sae.counted_tokens["left_out"]["outliers"] > 0
    finished("compute_dashboards", sae="tiny/s", corpus="texts", tokens=2000)
    finished("evaluate_sae", sae="tiny/s", corpus="texts", tokens=1000)
    sae.refresh_from_db()
    dashboard = Dashboard.objects.get()
    assert dashboard.rule == sae.rule_of_dashboards == rule
    counts = dashboard.counted_tokens["left_out"]
    contexts, rest = divmod(dashboard.tokens + sum(counts.values()), 32)  # every token is in one
    assert (counts["first"], rest) == (2 * contexts, 0)
    # over the median: half of the tokens
    assert 0.3 < counts["outliers"] / (counts["outliers"] + dashboard.tokens) < 0.7
    example = Example.objects.select_related("sequence").first()
    assert {1, 2} <= set(example.left_out)
    assert not set(example.left_out) & set(example.positions)
    assert sae.evaluation["counted_tokens"]["norm_ratio"] == 1.0
    found = Client().get("/api/v1/saes/tiny/s/").json()
    assert found["provenance"]["counted_tokens"] == dashboard.counted_tokens
    assert found["evaluation"]["counted_tokens"]["left_out"]["outliers"] > 0
    page = Client().get("/tiny/s/").content.decode()
    assert "tokens with a norm above 1 × the median" in page
    finished("compute_dashboards", sae="tiny/s", corpus="texts", tokens=2000, norm_ratio=0)
    assert Dashboard.objects.get().rule == CountingRule(0.0, rule.median_norm, 2)


def test_the_median_is_measured_once_and_the_first_one_stays(texts):
    train("texts", "s")
    sae = Sae.objects.get()
    measured = sae.rule.median_norm
    Sae.objects.update(counted_tokens={})
    finished("compute_dashboards", sae="tiny/s", corpus="texts", tokens=2000)
    assert Dashboard.objects.get().rule == Sae.objects.get().rule == CountingRule(10.0, measured)
    catalog_services.store_median_norm(sae, 1.0)
    assert Sae.objects.get().rule.median_norm == sae.rule.median_norm == measured


@pytest.mark.parametrize(
    ("adds", "asked", "begins"),
    [(True, None, True), (False, None, False), (False, "always", True), (True, "never", False)],
)
def test_contexts_begin_with_bos_where_the_tokenizer_adds_it_or_by_choice(
    texts, adds, asked, begins
):
    assert LanguageModel.objects.get().adds_bos
    LanguageModel.objects.update(adds_bos=adds)
    assert train("texts", "s", **({"bos": asked} if asked else {})).state == "finished"
    assert Sae.objects.get().prepend_bos == begins


def test_a_choice_of_bos_that_the_corpus_or_the_model_cannot_follow_is_refused(texts):
    Corpus.objects.update(bos="never")
    with pytest.raises(InvalidParams, match="a rule of its own, documents packed, no BOS"):
        train("texts", "s", bos="always")
    Corpus.objects.update(bos="asked")
    LanguageModel.objects.update(bos_token_id=None)
    with pytest.raises(InvalidParams, match="has no BOS"):
        train("texts", "s", bos="always")


def test_settings_that_cannot_be_are_refused_by_name():
    for name, value in (("norm_ratio", -1), ("first_positions", 65), ("bos", "sometimes")):
        with pytest.raises(InvalidParams, match=name):
            done("train_sae", **{name: value})
