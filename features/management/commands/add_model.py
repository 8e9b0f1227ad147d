"""manage.py add_model SLUG SOURCE."""

from features.jobs.forms import AddModel
from features.management.job_command import JobCommand


class Command(JobCommand):
    """Add a causal language model from a hub id or a local Hugging Face folder."""

    form = AddModel
    positional = ("slug", "source")
