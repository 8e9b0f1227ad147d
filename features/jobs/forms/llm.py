"""What jobs that ask a language model have in common: the endpoint and how much may be spent."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features.jobs.forms.base import JobForm
from features.jobs.forms.on_sae import OnDashboards
from features.models import Endpoint


def tokens_field(initial: int) -> forms.IntegerField:
    """Tokens at most."""
    return forms.IntegerField(
        min_value=1_000,
        max_value=10**10,
        initial=initial,
        help_text="Stops after this many tokens of prompts and answers.",
    )


def dollars_field(initial: float) -> forms.FloatField:
    """US dollars at most."""
    return forms.FloatField(
        min_value=0.01, max_value=100_000, initial=initial, label="Most dollars",
        help_text="Stops at this cost, by the endpoint's prices.",
    )  # fmt: skip


class EndpointForm(JobForm):
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


class FeaturesEndpointForm(EndpointForm, OnDashboards):
    """The SAE, the endpoint, how many features, and what may be spent."""

    because = "which hold the examples"
    busy = "of this kind is at {}"
    field_order = ["sae", "endpoint", "most", "texts", "most_tokens", "most_cost", "seed"]

    corpus = None  # type: ignore[assignment]  # Django's way to remove what the class above has
    most = forms.IntegerField(
        min_value=1,
        max_value=1_000_000,
        initial=200,
        label="Features at most",
        help_text="The most frequent come first.",
    )
    texts = forms.IntegerField(
        min_value=4,
        max_value=40,
        initial=10,
        help_text="Texts of a feature that go into a prompt or a question.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="Splits contexts between writing labels and scoring them.",
    )

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Explain the features of demo-python/2-res."""
        return f"{cls.title} of {params.get('sae')}"
