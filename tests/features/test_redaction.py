"""What strangers may read says what a file is called, and never where on the machine it lies."""

import pytest

from features.inference import requests as inference_requests
from features.jobs import events as job_events
from features.jobs import execution as job_execution
from features.jobs import lifecycle
from features.models import InferenceRequest, Job
from features.redaction import without_folders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("There is no folder /data/private/sae.", "There is no folder sae."),
        ('File "/srv/app/workers/jobs/registry.py", line 3', 'File "registry.py", line 3'),
        ("[Errno 2] No such file: '/data/x/y.bin'", "[Errno 2] No such file: 'y.bin'"),
        ("nothing at file:///srv/store/saes", "nothing at saes"),
        ("~/models/llama has no config.json", "llama has no config.json"),
        (
            "owner/name has no revision, at https://hub/api/x",
            "owner/name has no revision, at https://hub/api/x",
        ),
        ("1/2/3 and/or jobs/5/checkpoints/1", "1/2/3 and/or jobs/5/checkpoints/1"),
    ],
)
def test_folders_go_and_everything_else_stays(text, shown):
    assert without_folders(text) == shown


@pytest.mark.django_db
def test_neither_a_jobs_error_nor_its_log_nor_an_answer_says_where_files_lie():
    text = "There is no folder /data/private/sae."
    for end in (job_execution.fail, job_execution.retry):
        job = job_execution.claim(lifecycle.create("add_sae", {}).pk, "one")
        job_events.log(job.pk, text)
        end(job, text, "source")
        told = [Job.objects.get(pk=job.pk).error, *job.events.values_list("data", flat=True)]
        assert "private" not in str(told)
        assert "no folder sae" in str(told)
    InferenceRequest.objects.create(key="k", params={})
    inference_requests.store_error("k", "sae", text)
    assert InferenceRequest.objects.get().error["message"] == "There is no folder sae."
