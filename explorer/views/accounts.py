"""Accounts: signing up and in, passwords, and keys for the API."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.urls import reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from explorer.forms.accounts import NewApiKey, SignIn, SignUp
from explorer.models import ApiKey, User


class SignInView(LoginView):
    """Sign in, and continue to `next` if it is a URL of this site."""

    template_name = "accounts/login.html"
    authentication_form = SignIn
    redirect_authenticated_user = True
    extra_context = {"signup": lambda: settings.SIGNUP}


class PasswordView(PasswordChangeView):
    """Change the password; other sessions are signed out."""

    template_name = "accounts/password.html"
    success_url = reverse_lazy("profile")

    def form_valid(self, form: object) -> HttpResponse:
        messages.success(self.request, "Your password is changed.")
        return super().form_valid(form)  # type: ignore[arg-type]  # stubs name the default form


@never_cache
@sensitive_post_parameters("password1", "password2")
def sign_up(request: HttpRequest) -> HttpResponse:
    """Create an account and sign in."""
    if request.user.is_authenticated:
        return redirect("profile")
    form = SignUp(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        return redirect(_next(request))
    context = {"form": form, "signup": settings.SIGNUP, "next": request.GET.get("next", "")}
    return render(request, "accounts/signup.html", context, status=422 if form.errors else 200)


@require_safe
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    return _profile(request, NewApiKey())


@never_cache
@require_POST
@login_required
def create_key(request: HttpRequest) -> HttpResponse:
    """Create a key and show it once: it is in no redirect, session or cache."""
    form = NewApiKey(request.POST)
    if not form.is_valid():
        return _profile(request, form, status=422)
    _, key = ApiKey.create(_member(request), form.cleaned_data["name"])
    return _profile(request, NewApiKey(), key)


@require_POST
@login_required
def revoke_key(request: HttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(ApiKey, pk=pk, user=_member(request))
    key.revoke()
    messages.success(request, f"The key {key} no longer works.")
    return redirect("profile")


def _profile(
    request: HttpRequest, form: NewApiKey, key: str = "", status: int = 200
) -> HttpResponse:
    keys = ApiKey.objects.filter(user=_member(request))
    return render(
        request,
        "accounts/profile.html",
        {"form": form, "keys": keys, "new_key": key},
        status=status,
    )


def _member(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # behind login_required
    return request.user


def _next(request: HttpRequest) -> str:
    url = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(
        url, {request.get_host()}, require_https=request.is_secure()
    ):
        return url
    return resolve_url(settings.LOGIN_REDIRECT_URL)
