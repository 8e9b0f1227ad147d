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
        "Arranges the live features in a plane so that similar decoder directions are close, "
        "and finds clusters."
    )

    because = "which say what is alive"
    busy = "is computing the map of {}"

    corpus = None  # type: ignore[assignment]  # Django's way to remove what the class above has
    neighbours = forms.IntegerField(
        min_value=2,
        max_value=200,
        initial=15,
        help_text="Nearest features that set each feature's position, itself included: few show "
        "detail, many the overall shape.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text="The same seed gives the same map.",
    )
