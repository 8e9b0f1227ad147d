"""Commands that make a job: options from its form, the form's own refusals, one row or none."""

import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from features.jobs import lifecycle
from features.models import Job
from features.records import InvalidParams
from features.services import catalog as catalog_services
from features.services.jobs import start
from tests import builders

pytestmark = pytest.mark.django_db


def test_add_model_queues_one_job_with_its_params():
    out = StringIO()
    call_command("add_model", "gpt2-small", "/models/gpt2", stdout=out)
    job = Job.objects.get()
    assert (job.kind, job.params["slug"], job.params["source"], job.state) == (
        "add_model",
        "gpt2-small",
        "/models/gpt2",
        "queued",
    )
    assert f"/jobs/{job.pk}/" in out.getvalue()


def test_a_relative_path_is_that_of_the_callers_folder(tmp_path, monkeypatch):
    (tmp_path / "tales.txt").write_text("once")
    monkeypatch.chdir(tmp_path)
    call_command("add_corpus", "tales", "tales.txt", stdout=StringIO())
    assert Job.objects.get().params["source"] == str(tmp_path / "tales.txt")


def test_what_a_command_leaves_out_takes_the_forms_default():
    call_command("add_corpus", "stdlib", "python-stdlib", stdout=StringIO())
    assert Job.objects.get().params["text_column"] == "text"


@pytest.mark.parametrize("command", ["add_model", "add_corpus"])
def test_a_slug_that_a_job_is_adding_is_taken_until_the_job_is_over(command):
    call_command(command, "mine", "/somewhere", stdout=StringIO())
    with pytest.raises(CommandError, match="or a job is adding it"):
        call_command(command, "mine", "/elsewhere", stdout=StringIO())
    lifecycle.cancel(Job.objects.get().pk)
    call_command(command, "mine", "/elsewhere", stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_of_two_clicks_at_once_one_starts_a_job():
    barrier, refused = threading.Barrier(4), []

    def click():
        try:
            barrier.wait()
            start("add_model", {"slug": "mine", "source": "/somewhere"})
        except InvalidParams as error:
            refused.append(list(error.errors))
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Job.objects.count(), refused) == (1, [["slug"]] * 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope/x", "--corpus", "c", "--hook", "h"], "model: There is no model “nope”"),
        (
            ["nope/x", "--corpus", "c", "--hook", "h", "--width", "0"],
            "width: Ensure this value is greater than or equal to 1",
        ),
        (
            ["nope/x", "--corpus", "c", "--hook", "h", "--tokens", "many"],
            "tokens: Enter a whole number",
        ),
        (["nope", "--corpus", "c", "--hook", "h"], "Write MODEL/SLUG"),
        (["nope/UP per", "--corpus", "c", "--hook", "h"], "slug: Use 1 to 63 small letters"),
        (["nope/x", "--corpus", "c", "--hook", "h", "--k", "9999", "--width", "64"], "k: "),
    ],
)
def test_wrong_settings_are_refused_by_field_and_queue_nothing(arguments, said):
    with pytest.raises(CommandError, match=said):
        call_command("train_sae", *arguments)
    assert not Job.objects.exists()


def test_a_corpus_that_is_not_there_is_named_with_those_that_are():
    catalog_services.add_corpus("tales", "/t.txt", "text", "", "r", "")
    with pytest.raises(CommandError, match=r"There is no corpus “tails”\. Known: tales\."):
        call_command("evaluate_sae", "m/s", "--corpus", "tails")


@pytest.mark.parametrize(
    "command",
    ["add_model", "add_corpus", "add_sae", "train_sae", "evaluate_sae", "compute_dashboards"],
)
def test_every_command_explains_its_options(command, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command(command, "--help")
    assert ended.value.code == 0
    assert "--wait" in capsys.readouterr().out


def test_dashboards_of_several_saes_are_one_job_and_shards_are_its_parts():
    planted = builders.planted()
    builders.sae(planted.model, "1-res")
    command = [
        "compute_dashboards",
        "tiny/2-res",
        "tiny/1-res",
        "--corpus",
        "tiny-stories",
        "--shards",
        "2",
    ]
    call_command(*command, stdout=StringIO())
    job, *parts = Job.objects.filter(kind__in=["compute_dashboards", "scan_shard"]).order_by("id")
    assert (job.params["sae"], job.state) == ("tiny/2-res tiny/1-res", "waiting")
    assert [(part.kind, part.part_of, part.params["shard"]) for part in parts] == [
        ("scan_shard", job, 1),
        ("scan_shard", job, 2),
    ]
    with pytest.raises(CommandError, match="dashboards of tiny/2-res already"):
        call_command(
            "compute_dashboards", "tiny/2-res", "--corpus", "tiny-stories", stdout=StringIO()
        )


@pytest.mark.parametrize("shards", [0, 65, "many"])
def test_as_many_shards_as_make_no_sense_are_refused(shards):
    builders.planted()
    with pytest.raises(CommandError, match="shards"):
        call_command(
            "compute_dashboards",
            "tiny/2-res",
            "--corpus",
            "tiny-stories",
            "--shards",
            str(shards),
            stdout=StringIO(),
        )
    assert not Job.objects.exists()


def test_add_sae_takes_target_and_source_and_boxes_that_are_not_ticked():
    catalog_services.add_corpus("tales", "/t.txt", "text", "", "r", "")
    builders.model("tiny")
    call_command(
        "add_sae", "tiny/theirs", "owner/name", "--subfolder", "a/b", "--no-then", stdout=StringIO()
    )
    params = Job.objects.get().params
    wanted = {
        "model": "tiny",
        "slug": "theirs",
        "source": "owner/name",
        "subfolder": "a/b",
        "corpus": "tales",
    }
    assert wanted.items() <= params.items()
    assert (params["anyway"], params["then"]) == (False, False)
    call_command("add_sae", "tiny/again", "owner/name", "--anyway", "--no-then", stdout=StringIO())
    assert Job.objects.latest("id").params["anyway"] is True
    with pytest.raises(CommandError, match="source: SAELens's registry has no release “gpt3”"):
        call_command("add_sae", "tiny/other", "gpt3:x", stdout=StringIO())


def test_add_sae_without_a_corpus_takes_the_one_last_used_with_the_model_or_asks():
    builders.model("tiny")
    for slug in ("python-stdlib", "stories", "wiki"):
        catalog_services.add_corpus(slug, f"/{slug}.txt", "text", "", "r", "")
    with pytest.raises(CommandError, match="Choose one: python-stdlib, stories, wiki"):
        call_command("add_sae", "tiny/first", "owner/name", "--no-then", stdout=StringIO())
    for params in (
        {"model": "tiny", "corpus": "python-stdlib"},
        {"sae": "tiny/old", "corpus": "stories"},
        {"sae": "tiny/old", "corpus": "gone"},
        {"model": "tiny-2", "corpus": "wiki"},
    ):
        lifecycle.create("compute_dashboards", params)
    call_command("add_sae", "tiny/first", "owner/name", "--no-then", stdout=StringIO())
    assert Job.objects.latest("id").params["corpus"] == "stories"
