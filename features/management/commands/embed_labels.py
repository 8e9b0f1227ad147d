"""manage.py embed_labels."""

from features.jobs.forms import EmbedLabels
from features.management.job_command import JobCommand


class Command(JobCommand):
    """Embed labels whose words have no embedding yet. It is done by itself after labels are
    written.
    """

    form = EmbedLabels
