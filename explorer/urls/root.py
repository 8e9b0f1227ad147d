"""Every URL. Fixed words come first; all other first segments are slugs of models."""

from django.contrib import admin
from django.urls import include, path, register_converter
from django.urls.converters import StringConverter
from django.views.generic import RedirectView

from explorer.http.health import healthz
from explorer.views import (
    catalog,
    comments,
    compare_features,
    compare_saes,
    contexts,
    effects,
    examples,
    features,
    files,
    label_files,
    label_report,
    labels,
    matches,
    pattern_library,
    registry,
    search,
)


class Name(StringConverter):
    """A path segment without NUL, which PostgreSQL refuses."""

    regex = r"[^/\0]+"


register_converter(Name, "name")

handler400 = "explorer.views.errors.bad_request"
handler404 = "explorer.views.errors.not_found"
handler500 = "explorer.views.errors.server_error"

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("api/", include("explorer.api.urls")),
    path("jobs/", include("explorer.urls.jobs")),
    path("accounts/", include("explorer.urls.accounts")),
    path("labels/", include("explorer.urls.labels")),
    path("collections/", include("explorer.urls.collections")),
    path("steer/", include("explorer.urls.steering")),
    path("playground/", RedirectView.as_view(pattern_name="steer", query_string=True)),
    path("about/", catalog.about, name="about"),
    path("registry/", registry.index, name="registry"),
    path("search/", search.search, name="search"),
    path("compare/", compare_features.compare_features, name="compare_features"),
    path("pattern/", pattern_library.pattern, name="pattern"),
    path("", catalog.home, name="home"),
    path("<name:model>/", catalog.model, name="model"),
    path("<name:model>/compare/", compare_saes.compare, name="compare"),
    path("<name:model>/<name:sae>/", catalog.sae, name="sae"),
    path("<name:model>/<name:sae>/random/", features.random, name="random_feature"),
    path("<name:model>/<name:sae>/files/", files.index, name="files"),
    path("<name:model>/<name:sae>/files/<path:name>", files.download, name="file"),
    path("<name:model>/<name:sae>/matches/<name:other>/", matches.matches, name="matches"),
    path("<name:model>/<name:sae>/contexts/<int:pk>/", contexts.context, name="context"),
    path("<name:model>/<name:sae>/<int:index>/", features.feature, name="feature"),
    path("<name:model>/<name:sae>/labels/", label_report.report, name="label_report"),
    path("<name:model>/<name:sae>/labels/download/", label_files.download, name="download_labels"),
    path("<name:model>/<name:sae>/<int:index>/labels/", labels.propose, name="propose"),
    path("<name:model>/<name:sae>/<int:index>/comments/", comments.comment, name="comment"),
    path(
        "<name:model>/<name:sae>/<int:index>/try/<int:band>.<int:rank>/",
        examples.test_on_example,
        name="try_example",
    ),
    path("<name:model>/<name:sae>/<int:index>/effect/", effects.effect, name="effect"),
    path("<name:model>/<name:sae>/<int:index>/embed/", examples.embed, name="embed"),
]
