"""Every address. Fixed words come first; what is left belongs to models."""

from django.contrib import admin
from django.urls import path

from explorer.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
]
