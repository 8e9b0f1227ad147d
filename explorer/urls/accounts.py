"""URLs below /accounts/."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from explorer.views import accounts

urlpatterns = [
    path("", accounts.profile, name="profile"),
    path("signup/", accounts.sign_up, name="signup"),
    path("login/", accounts.SignInView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", accounts.PasswordView.as_view(), name="password"),
    path("keys/", accounts.create_key, name="create_key"),
    path("keys/<int:pk>/revoke/", accounts.revoke_key, name="revoke_key"),
]
