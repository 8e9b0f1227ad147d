"""The Django app `explorer`."""

from django.apps import AppConfig


class ExplorerConfig(AppConfig):
    name = "explorer"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Set `celery.current_app` to the app of this project, and register the system checks."""
        from explorer import celery, checks  # noqa: F401
