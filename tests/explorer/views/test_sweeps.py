"""Sweeps and resumed runs as people see them: the start page, charts with a line per SAE, runs laid
over each other.
"""

import pytest

from explorer.models import ApiKey
from explorer.plots import jobs as job_plots
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.models import Job, Sae
from features.records import Metrics, Progress
from features.selectors.jobs import curves
from features.services.jobs import start
from tests import builders
from tests.explorer.views.test_job_start import RIGHT, TRAIN
from tests.page import Page

pytestmark = pytest.mark.django_db
SETTINGS = {
    "model": "tiny",
    "corpus": "tiny-stories",
    "slug": "new",
    "hook": "blocks.2.hook_resid_post",
    "width": 512,
}


@pytest.fixture
def ada(client):
    builders.planted()
    ada, *_ = builders.cast()
    client.force_login(ada)
    return ada


def told(job: Job, series: tuple[str, ...] = ("",), points: int = 5) -> Job:
    """Claim the job and tell of metrics of each series."""
    claimed = job_execution.claim(job.pk, "worker:1")
    for n in range(1, points + 1):
        for place, name in enumerate(series):
            job_events.metrics(
                claimed.pk,
                Metrics(n * 1000, {"l0": 8.0 + place, "explained_variance": n / 10}, name),
            )
    job_execution.write_progress(claimed, Progress(points * 1000, 1_000_000, "tokens", "…"))
    return claimed


def sweep(**changes) -> Job:
    return start("train_sae", SETTINGS | {"k": "8,16", "then": False} | changes)


def page(client, job, query=""):
    return client.get(f"/jobs/{job.pk}/{query}")


def test_several_hooks_chosen_and_numbers_with_commas_start_one_sweep(client, ada):
    data = RIGHT | {"hook": ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"], "k": "8, 16"}
    response = client.post(TRAIN, data)
    assert response.status_code == 302
    job = Job.objects.get(kind="train_sae")
    assert (job.params["hook"], job.params["k"]) == (data["hook"], [8, 16])
    html = Page(client.get(response.headers["Location"]))
    assert html.has("h1", "Train 4 SAEs on tiny, 2 hooks × 2 values of k")
    assert html.has("#main dd", "Residual stream after layer 1, Residual stream after layer 2")


def test_a_refused_sweep_keeps_what_was_chosen(client, ada):
    data = RIGHT | {"hook": ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"], "k": "8,600"}
    response = client.post(TRAIN, data)
    html = Page(response)
    assert response.status_code == 422
    assert html.has("#id_k_error li", "k is at most the width, 512.")
    for layer in (1, 2):
        assert f'<option value="blocks.{layer}.hook_resid_post" selected>' in html
    assert html.has('input[value="8,600"]')
    assert not Job.objects.exists()


def test_running_a_sweep_again_opens_the_page_with_all_its_values(client, ada):
    job = sweep(hook="blocks.1.hook_resid_post,blocks.2.hook_resid_post", seed="3,4")
    again = (
        Page(page(client, job))
        .split('class="button" href="')[1]
        .split('"')[0]
        .replace("&amp;", "&")
    )
    form = client.get(again).context["form"]
    assert (form["k"].value(), form["seed"].value()) == ("8,16", "3,4")
    html = Page(client.get(again))
    assert html.count('.hook_resid_post" selected>') == 2


def test_the_estimate_counts_the_saes_and_their_memory(client, ada):
    data = RIGHT | {"k": "8,16,32", "recheck": "estimate"}
    html = Page(client.post(TRAIN, data, headers={"HX-Request": "true"}))
    assert "<dt>SAEs</dt><dd>3</dd>" in html
    assert "<dt>Memory</dt><dd>" in html


def test_a_sweeps_charts_have_a_line_and_a_colour_per_sae(client, ada):
    job = told(sweep(), ("new-k8", "new-k16"))
    response = page(client, job)
    html = Page(response)
    assert [(key.look, key.text) for key in response.context["keys"]] == [
        ("s0", "new-k8"),
        ("s1", "new-k16"),
    ]
    first = next(
        card for card in response.context["cards"] if card.name == "Features firing per token"
    )
    assert [(line.look, line.points[-1]) for line in first.lines] == [
        ("s0", (5000, 8.0)),
        ("s1", (5000, 9.0)),
    ]
    assert first.value == "8.00 to 9.00"
    assert "dashed line" not in html
    assert 'aria-label="Explained variance against L0. new-k8: L0 8.00' in html
    assert 'class="s0" d="M' in html


def test_a_finished_sweeps_table_names_its_saes_and_their_evaluations(client, ada):
    claimed = told(sweep(), ("new-k8", "new-k16"))
    model = Sae.objects.get().model
    for name in ("new-k8", "new-k16"):
        row = builders.sae(model, name)
        row.made_by = claimed
        if name == "new-k8":
            row.evaluation = {
                "tokens": 1,
                "corpus": "c",
                "values": {"l0": 7.5, "explained_variance": 0.71, "ce_loss_score": 0.93},
            }
        row.save()
    job_execution.finish(claimed, {"saes": ["tiny/new-k8", "tiny/new-k16"]})
    response = page(client, claimed)
    html = Page(response)
    for name in ("new-k8", "new-k16"):
        assert html.has(f'a[href="/tiny/{name}/"]')
    assert ">0.930<" in html
    spots = response.context["spots"]
    assert [(spot.x, spot.y) for spot in spots] == [(7.5, 0.71), (9.0, 0.5)]


def test_more_lines_than_colours_are_told_apart_by_dashes(client, ada):
    names = tuple(f"s{n}" for n in range(10))
    job = told(sweep(seed="0,1,2,3,4"), names, points=1)
    looks = [key.look for key in job_plots.keys(job_plots.Run(job, curves(job.pk)), None)]
    assert looks[:8] == [f"s{n}" for n in range(8)]
    assert looks[8:] == ["s0 dashed", "s1 dashed"]
    assert len(set(looks)) == 10


def test_each_series_is_thinned_by_itself_and_keeps_its_ends(ada):
    job = told(sweep(), ("a", "b", "c"), points=500)
    for points in curves(job.pk)["l0"].values():
        assert 100 <= len(points) <= 121
        assert (points[0][0], points[-1][0]) == (1000, 500_000)


def test_another_run_can_be_laid_over_the_curves(client, ada):
    first, second = (
        told(start("train_sae", SETTINGS | {"then": False})),
        told(sweep(slug="x"), ("x-k8", "x-k16")),
    )
    response = page(client, first, f"?with={second.pk}")
    html = Page(response)
    assert [(key.text, key.url) for key in response.context["keys"]] == [
        (f"job {first.pk}", ""),
        (f"job {second.pk}: x-k8", f"/jobs/{second.pk}/"),
        (f"job {second.pk}: x-k16", f"/jobs/{second.pk}/"),
    ]
    assert len(response.context["cards"][0].lines) == 3
    assert html.has(f'div[hx-get="/jobs/{first.pk}/?with={second.pk}"]'), (
        "what is drawn anew shows both"
    )
    assert f'<option value="{second.pk}" selected>' in html
    assert f'<option value="{first.pk}"' not in html


@pytest.mark.parametrize("asked", ["99999", "x", "-1", "9" * 30, "%00", "<b>", "own"])
def test_a_run_that_cannot_be_laid_over_is_said_and_is_no_error(client, ada, asked):
    job = told(start("train_sae", SETTINGS | {"then": False}))
    response = page(client, job, f"?with={job.pk if asked == 'own' else asked}")
    assert response.status_code == 200
    assert Page(response).has("#main [role=alert]", "There is no other run")
    assert response.context["other"] is None


def test_a_jobs_page_costs_the_same_for_two_series_and_for_eight(
    client, ada, django_assert_max_num_queries
):
    counts = []
    for slug, names in (("a", ("a-k8", "a-k16")), ("b", tuple(f"b-{n}" for n in range(8)))):
        job = told(sweep(slug=slug), names)
        with django_assert_max_num_queries(30) as seen:
            page(client, job)
        counts.append(len(seen))
    assert counts[0] == counts[1]


@pytest.fixture
def cancelled(ada):
    claimed = told(start("train_sae", SETTINGS))
    job_execution.store_checkpoint(claimed, f"jobs/{claimed.pk}/checkpoints/5000")
    job_execution.end_cancelled(claimed)
    return claimed


def test_cancelled_training_offers_to_go_on_and_the_new_job_says_from_where(client, cancelled):
    assert Page(page(client, cancelled)).has(f'form[action="/jobs/{cancelled.pk}/resume/"]')
    response = client.post(f"/jobs/{cancelled.pk}/resume/")
    new = Job.objects.get(kind="train_sae", state="queued")
    assert response.headers["Location"] == f"/jobs/{new.pk}/"
    assert (new.checkpoint, new.params) == (
        f"jobs/{cancelled.pk}/checkpoints/5000",
        cancelled.params,
    )
    assert Job.objects.filter(after=new, kind="compute_dashboards").exists(), (
        "what followed follows again"
    )
    html = Page(page(client, new))
    assert html.has(
        "main", f"Goes on from job {cancelled.pk}, which was cancelled after 5,000 tokens, by ada."
    )
    html = Page(page(client, cancelled))
    assert html.has("main", f"Job {new.pk} resumes from here, by ada.")
    assert "/resume/" not in html


def test_who_cannot_start_jobs_cannot_resume_them(client, cancelled):
    client.logout()
    assert "/resume/" not in Page(page(client, cancelled))
    assert client.post(f"/jobs/{cancelled.pk}/resume/").status_code == 302
    assert not Job.objects.filter(state="queued").exists()


def test_a_resume_that_cannot_be_is_refused_in_words(client, ada, cancelled):
    assert client.get(f"/jobs/{cancelled.pk}/resume/").status_code == 405
    assert client.post("/jobs/99999/resume/").status_code == 404
    assert client.post(f"/jobs/{cancelled.pk}/resume/").status_code == 302
    again = client.post(f"/jobs/{cancelled.pk}/resume/")
    assert again.status_code == 409
    assert Page(again).has("#main [role=alert]", "another job continued from it")


def test_a_resume_whose_name_was_taken_meanwhile_names_the_field(client, cancelled):
    builders.sae(Sae.objects.get(slug="2-res").model, "new")
    refused = client.post(f"/jobs/{cancelled.pk}/resume/")
    assert refused.status_code == 409
    assert Page(refused).has("#main [role=alert]", "has an SAE “new” already")


def test_the_api_resumes_too(client, ada, cancelled):
    key = {"HTTP_AUTHORIZATION": f"Bearer {ApiKey.create(ada, 'test')[1]}"}
    client.logout()
    assert client.post(f"/api/v1/jobs/{cancelled.pk}/resume/").status_code == 401
    response = client.post(f"/api/v1/jobs/{cancelled.pk}/resume/", **key)
    assert (response.status_code, response.json()["state"]) == (201, "queued")
    assert response.headers["Location"] == f"/api/v1/jobs/{response.json()['id']}/"
    assert client.post(f"/api/v1/jobs/{cancelled.pk}/resume/", **key).status_code == 409


def test_the_api_takes_lists_and_says_which_settings_do(client, ada):
    key = {"HTTP_AUTHORIZATION": f"Bearer {ApiKey.create(ada, 'test')[1]}"}
    body = {"kind": "train_sae", "params": SETTINGS | {"k": [8, 16]}}
    response = client.post("/api/v1/jobs/", body, content_type="application/json", **key)
    assert response.status_code == 201
    assert response.json()["params"]["k"] == [8, 16]
    (kind,) = (
        k for k in client.get("/api/v1/kinds/").json()["results"] if k["kind"] == "train_sae"
    )
    several = {s["name"]: s["type"] for s in kind["settings"] if s["several"]}
    assert several == {
        "hook": "text",
        "architecture": "choice",
        "width": "integer",
        "k": "integer",
        "sparsity": "number",
        "learning_rate": "number",
        "seed": "integer",
    }


def test_of_an_earlier_sweep_only_the_best_sae_is_drawn_beside(client, ada):
    earlier = told(sweep(), ("new-k8", "new-k16"))
    model = Sae.objects.get().model
    for place, name in enumerate(("new-k8", "new-k16")):
        row = builders.sae(model, name)
        row.made_by, row.training_metrics = earlier, {"explained_variance": 0.9 + place / 100}
        row.save()
    job_execution.finish(earlier, {"saes": ["tiny/new-k8", "tiny/new-k16"]})
    response = page(client, told(start("train_sae", SETTINGS | {"slug": "later", "then": False})))
    card = next(
        card for card in response.context["cards"] if card.name == "Features firing per token"
    )
    assert [(line.look, line.points[-1][1]) for line in card.lines] == [("", 8.0), ("earlier", 9.0)]
    assert f'href="/jobs/{earlier.pk}/">job {earlier.pk}</a>, the earlier run' in Page(response)
