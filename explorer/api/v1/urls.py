"""The addresses of version 1: docs/api.md lists the same, and a test compares them."""

from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView

from explorer.api.v1 import schema as schema
from explorer.api.v1.views import (
    activations,
    catalog,
    collections,
    comments,
    features,
    jobs,
    labels,
    mapping,
    matching,
    registry,
    search,
    steering,
)

urlpatterns = [
    path("models/", catalog.Models.as_view()),
    path("models/<str:model>/", catalog.Model.as_view()),
    path("corpora/", catalog.Corpora.as_view()),
    path("saes/", catalog.Saes.as_view()),
    path("saes/<str:model>/<str:sae>/", catalog.Sae.as_view()),
    path("saes/<str:model>/<str:sae>/map/", mapping.Map.as_view()),
    path("saes/<str:model>/<str:sae>/matches/", matching.Matchings.as_view()),
    path("saes/<str:model>/<str:sae>/matches/<str:other>/", matching.Matches.as_view()),
    path("features/<str:model>/<str:sae>/", features.Features.as_view()),
    path("features/<str:model>/<str:sae>/<int:index>/", features.Feature.as_view()),
    path("search/labels/", search.Labels.as_view()),
    path("search/tokens/", search.Tokens.as_view()),
    path("collections/", collections.Collections.as_view()),
    path("collections/<int:pk>/", collections.Collection.as_view(), name="api-collection"),
    path("collections/<int:pk>/items/", collections.Items.as_view()),
    path("collections/<int:pk>/items/<int:item>/", collections.Item.as_view()),
    path("registry/", registry.Registry.as_view()),
    path("activations/", activations.Activations.as_view()),
    path("effects/", activations.Effects.as_view()),
    path("steer/", steering.Steer.as_view()),
    path("labels/", labels.Labels.as_view()),
    path("labels/<int:pk>/", labels.Label.as_view()),
    path("votes/", labels.Votes.as_view()),
    path("votes/<int:pk>/", labels.Vote.as_view()),
    path("comments/", comments.Comments.as_view()),
    path("comments/<int:pk>/", comments.Comment.as_view()),
    path("kinds/", jobs.Kinds.as_view()),
    path("jobs/", jobs.Jobs.as_view()),
    path("jobs/<int:pk>/", jobs.Job.as_view(), name="api-job"),
    path("jobs/<int:pk>/events/", jobs.Events.as_view()),
    path("jobs/<int:pk>/cancel/", jobs.Cancel.as_view()),
    path("jobs/<int:pk>/resume/", jobs.Resume.as_view()),
    path("schema/", SpectacularJSONAPIView.as_view(), name="api-schema"),
]
