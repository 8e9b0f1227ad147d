"""The job that lays the features of an SAE out on a map."""

from django import forms

from features.jobs.forms.on_sae import OnDashboards


class MapSae(OnDashboards):
    """Place the live features of an SAE in the plane by their decoder directions, and find
    clusters.

    New dashboards bring their own map: one that is being made of the old ones ends by itself.
    """

    kind = "map_sae"
    title = "Map the features"
    verb = "Map"
    about = (
        "Places the live features in the plane so that those of similar decoder directions "
        "are near, and finds clusters."
    )

    because = "which say what is alive"
    busy = "is making the map of {}"

    corpus = None  # type: ignore[assignment]  # Django's way to leave out what the class above has
    neighbours = forms.IntegerField(
        min_value=2,
        max_value=200,
        initial=15,
        help_text="How many nearest features, itself among them, hold each one in its place: few "
        "show detail, many the whole.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="The same seed gives the same map; another, another view.",
    )
