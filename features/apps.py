"""Django's entry to the domain."""

from django.apps import AppConfig


class FeaturesConfig(AppConfig):
    """Models, migrations, admin and commands of the domain."""

    name = "features"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from features.db import any_text

        any_text.register()
