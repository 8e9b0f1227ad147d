"""Forms of accounts: sign-in, sign-up and API keys."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.core.exceptions import ValidationError

from explorer.forms.usernames import distinct
from explorer.http import rate_limits
from explorer.models import User

MAX_SIGN_IN_ATTEMPTS = 8
"""Wrong passwords from one network address for one name in `ATTEMPT_SECONDS`."""
ATTEMPT_SECONDS = 300


class SignIn(AuthenticationForm):
    """Django's form with a limit on wrong passwords, by network address and name."""

    def clean(self) -> dict[str, Any]:
        """Refuse without looking at the password where there were too many attempts."""
        if not {"username", "password"} <= self.cleaned_data.keys():
            return super().clean()
        attempts = f"sign-in {self._network_address()} {self.cleaned_data['username']}".lower()
        # Counted before the password is checked: attempts that are sent at once count too.
        if rate_limits.increment(attempts, ATTEMPT_SECONDS).number > MAX_SIGN_IN_ATTEMPTS:
            raise ValidationError(
                "Too many attempts. Wait five minutes, then try again.", code="throttled"
            )
        cleaned = super().clean()
        rate_limits.reset(attempts)
        return cleaned

    def _network_address(self) -> str:
        return str(self.request.META.get("REMOTE_ADDR", "")) if self.request else ""


class SignUp(UserCreationForm[User]):
    """A user name and a password, twice. Names that differ only in case or in look-alike letters
    are refused.
    """

    class Meta:
        model = User
        fields = ["username"]

    def clean_username(self) -> str:
        """Refuse a name that looks like another one."""
        name: str = super().clean_username()
        distinct(name or "")
        return name

    def clean(self) -> dict[str, Any]:
        """Refuse if sign-up is closed."""
        if not settings.SIGNUP:
            raise ValidationError(
                "This server does not accept new accounts. Ask its administrator for one.",
                code="closed",
            )
        return super().clean() or {}


class NewApiKey(forms.Form):
    name = forms.CharField(
        max_length=100, label="New key", help_text="What it is for, such as: notebook at work."
    )
