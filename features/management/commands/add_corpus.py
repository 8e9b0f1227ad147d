"""manage.py add_corpus SLUG SOURCE."""

from features.jobs.forms import AddCorpus
from features.management.job_command import JobCommand


class Command(JobCommand):
    """Add a corpus: a hub id, a .txt, .jsonl, .csv or .parquet file, a folder of them,
    or python-stdlib.
    """

    form = AddCorpus
    positional = ("slug", "source")
