"""manage.py judge_sweep RUN --endpoint NAME."""

from features.jobs.forms import JudgeSweep
from features.management.job_command import JobCommand


class Command(JobCommand):
    """Have a language model judge the texts of a sweep over strengths."""

    form = JudgeSweep
    positional = ("run",)
