"""The form of language model endpoints. Keys are stored encrypted and never shown again."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings

from features import encryption
from features.models import Endpoint

FIELDS = [
    "slug",
    "base_url",
    "model",
    "concurrency",
    "per_minute",
    "timeout",
    "price_in",
    "price_out",
]


class EndpointForm(forms.ModelForm[Endpoint]):
    """An endpoint of a user or of the instance. An empty key keeps the stored one."""

    key = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.PasswordInput({"autocomplete": "off"}),
        label="Key",
        help_text="Stored encrypted and never shown again. Local servers usually need none.",
    )

    class Meta:
        model = Endpoint
        fields = FIELDS
        labels = {
            "slug": "Name",
            "base_url": "Base URL",
            "per_minute": "Requests a minute",
            "concurrency": "Requests at once",
            "timeout": "Seconds to wait",
            "price_in": "Price of prompts",
            "price_out": "Price of answers",
        }

    def clean_base_url(self) -> str:
        """Accept HTTP URLs; the addresses they resolve to are checked at each use."""
        url = str(self.cleaned_data["base_url"]).strip().rstrip("/")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise forms.ValidationError("This is not a valid URL.") from None
        if (
            parts.scheme not in ("http", "https")
            or not host
            or parts.username
            or parts.query
            or parts.fragment
        ):
            raise forms.ValidationError(
                "Enter a URL such as https://api.example.com/v1, without a user name or a query."
            )
        if not settings.PRIVATE_ENDPOINTS and _private(host):
            raise forms.ValidationError(
                f"{host} is a private address, and this instance allows public endpoints only."
            )
        return url

    def clean(self) -> dict[str, Any]:
        """Never send a stored key to another host than the one it was entered for."""
        cleaned = super().clean() or {}
        moved = (
            urlsplit(str(cleaned.get("base_url", "")))[:2]
            != urlsplit(str(self.initial.get("base_url", "")))[:2]
        )
        if (
            self.instance.pk
            and bytes(self.instance.key)
            and not cleaned.get("key")
            and not self.errors
            and moved
        ):
            self.add_error("key", "This is another URL: enter its key again.")
        return cleaned

    def save_for(self, owner: Any) -> Endpoint:
        """Save the endpoint with its key. A new one belongs to `owner` (None: the instance)."""
        endpoint: Endpoint = super().save(commit=False)
        if endpoint.pk is None:
            endpoint.owner = owner
        if self.cleaned_data["key"]:
            endpoint.key = encryption.encrypt(self.cleaned_data["key"])
        endpoint.save()
        return endpoint


def _private(host: str) -> bool:
    """Whether the host is a private address; names that resolve to one are refused at use."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
