"""The first run: the demo model, the standard library as its corpus, an SAE between them, and its
dashboards.
"""

from pathlib import Path

from django.conf import settings as django_settings
from django.db import transaction

from features.jobs.forms import AddCorpus, AddModel, TrainSae
from features.models import Job, LanguageModel
from features.services.jobs import start

MODEL, CORPUS, SAE = "demo-python", "python-stdlib", "2-res"
HOOK = "blocks.2.hook_resid_post"
FOLDER = Path(__file__).resolve().parents[2] / "workers" / "demo" / "model"


@transaction.atomic
def start_demo() -> Job | None:
    """Queue the chain of jobs that fills an empty instance, and return the one to watch; None where
    it was done before.
    """
    if LanguageModel.objects.exists() or Job.objects.exists():
        return None
    model = start(AddModel.kind, {"slug": MODEL, "source": str(FOLDER)})
    stdlib = {"slug": CORPUS, "source": "python-stdlib", "licence": "PSF-2.0"}
    corpus = start(AddCorpus.kind, stdlib, after=model)
    settings = {"model": MODEL, "slug": SAE, "corpus": CORPUS, "hook": HOOK, "then": True}
    train = start(TrainSae.kind, settings, after=corpus, promised={MODEL, CORPUS})
    _limit_tokens(django_settings.DEMO_TOKENS)
    train.refresh_from_db()
    return train


def _limit_tokens(tokens: int) -> None:
    """Have each job of the demo read at most so many tokens."""
    for job in Job.objects.filter(params__tokens__gt=tokens):
        job.params["tokens"] = tokens
        job.save(update_fields=["params"])
