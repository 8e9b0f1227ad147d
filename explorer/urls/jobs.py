"""URLs below /jobs/."""

from django.urls import path

from explorer.views import job_start, jobs, workers

urlpatterns = [
    path("", jobs.index, name="jobs"),
    path("new/", job_start.choose, name="choose_job"),
    path("new/<slug:kind>/", job_start.start, name="start_job"),
    path("workers/", workers.index, name="workers"),
    path("<int:pk>/", jobs.show, name="job"),
    path("<int:pk>/cancel/", jobs.cancel, name="cancel_job"),
    path("<int:pk>/resume/", jobs.resume, name="resume_job"),
    path("<int:pk>/events/", jobs.events, name="job_events"),
]
