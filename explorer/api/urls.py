"""Everything under `/api/`: version 1, its docs page, and a clear 404 for any other URL."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularSwaggerSplitView

from explorer.api.v1.base import UnknownPath

urlpatterns = [
    path("v1/", include("explorer.api.v1.urls")),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    re_path("^", UnknownPath.as_view()),
]
