"""The job that lays the features of an SAE out on a map."""

from django import forms

from features.kinds.sae import OnSae
from features.models import Dashboard


class MapSae(OnSae):
    """Place the live features of an SAE in the plane by their decoder directions, and find clusters."""

    kind = "map_sae"
    title = "Map the features"
    verb = "Map"
    about = "Places the live features in the plane so that those of similar decoder directions are near, and finds clusters."

    corpus = None  # type: ignore[assignment]  # Django's way to leave out what the class above has
    neighbours = forms.IntegerField(
        min_value=2,
        max_value=200,
        initial=15,
        help_text="How many nearest features, itself among them, hold each one in its place: few show detail, many the whole.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="The same seed gives the same map; another, another view.",
    )

    def clean_sae(self) -> str:
        """The SAE must have dashboards, which say what is alive, and one map is made at a time.

        New dashboards bring their own map: one that is being made of the old ones ends by itself.
        """
        path = super().clean_sae()
        if path in self.promised:
            return path
        model, _, slug = path.partition("/")
        if not Dashboard.objects.filter(sae__model__slug=model, sae__slug=slug).exists():
            raise forms.ValidationError(f"{path} has no dashboards yet, which say what is alive: make them first.")
        if self.being_made(sae=path):
            raise forms.ValidationError(f"A job is making the map of {path} already; wait for it or cancel it.")
        return path
