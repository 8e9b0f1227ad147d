"""Every address. Fixed words come first; what is left belongs to models."""

from django.contrib import admin
from django.urls import include, path

from explorer.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("api/", include("explorer.api.urls")),
    path("jobs/", include("explorer.job_urls")),
    path("accounts/", include("explorer.account_urls")),
]
