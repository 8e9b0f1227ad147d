"""URLs below /steer/."""

from django.urls import path

from explorer.views import steering

urlpatterns = [
    path("", steering.index, name="steer"),
    path("<int:pk>/", steering.show, name="steering"),
    path("<int:pk>/events/", steering.events, name="steering_events"),
    path("<int:pk>/stop/", steering.stop, name="stop_steering"),
    path("<int:pk>/name/", steering.name, name="name_steering"),
    path("<int:pk>/judge/", steering.judge, name="judge_steering"),
]
