"""Composable filters."""

from typing import Self, TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model, covariant=True)


class FeatureQuerySet(models.QuerySet[Row]):
    """Filters on features, to be chained."""

    def of(self, model: str, sae: str) -> Self:
        """Those of one SAE, by slugs."""
        return self.filter(sae__model__slug=model, sae__slug=sae)

    def alive(self) -> Self:
        """Those that fired at least once on the dashboard's tokens."""
        return self.filter(fires__gt=0)

    def dead(self) -> Self:
        """Those that never fired on the dashboard's tokens."""
        return self.filter(fires=0)
