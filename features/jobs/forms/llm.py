"""What jobs share that ask a language model behind an endpoint: whom, and how much may be spent on
it.
"""

from django import forms

from features.jobs.forms.base import JobForm
from features.models import Endpoint


def tokens_field(initial: int) -> forms.IntegerField:
    """Tokens at most."""
    return forms.IntegerField(
        min_value=1_000,
        max_value=10**10,
        initial=initial,
        help_text="Tokens of prompts and answers, after which it ends.",
    )


def dollars_field(initial: float) -> forms.FloatField:
    """US dollars at most."""
    return forms.FloatField(
        min_value=0.01, max_value=100_000, initial=initial, label="Most dollars",
        help_text="Cost after which it ends, by the prices of the endpoint.",
    )  # fmt: skip


class Spending(JobForm):
    """The endpoint and the limits."""

    endpoint = forms.CharField(
        required=False, initial="", help_text="Name of an endpoint; see Labels, Endpoints."
    )
    most_tokens = tokens_field(2_000_000)
    most_cost = dollars_field(5.0)

    def clean_endpoint(self) -> str:
        """The endpoint must exist; whether its owner started the job is seen when it runs."""
        slug = str(self.cleaned_data["endpoint"])
        if slug:
            self.require(
                Endpoint.objects.filter(slug=slug).first(),
                slug,
                "endpoint",
                Endpoint.objects.filter(owner=None).values_list(
                    "slug", flat=True
                ),  # others are nobody else's business
            )
        return slug
