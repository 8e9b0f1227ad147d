"""Django's entry to the explorer."""

from django.apps import AppConfig


class ExplorerConfig(AppConfig):
    """Accounts, pages and the API; brings in the Celery application and the checks of the
    configuration.
    """

    name = "explorer"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Make `celery.current_app` ours, and register the system checks."""
        from explorer import celery, checks  # noqa: F401
