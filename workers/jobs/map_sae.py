"""Jobs that compute the map of an SAE."""

from django.db import transaction

from features.ingest import dashboards as dashboard_ingest
from features.jobs import execution as job_execution
from features.jobs.forms import MapSae
from features.models import Dashboard, Feature
from features.records import FeatureMap, InvalidInput
from workers import model_cache
from workers.jobs import inputs
from workers.lifecycle.work import RunningJob
from workers.pipeline.umap.map import compute_feature_map


def map_sae(job: RunningJob) -> None:
    sae = inputs.sae(job.params["sae"])
    dashboard = inputs.dashboard(sae, MapSae.because)
    alive = list(
        Feature.objects.filter(sae=sae).alive().order_by("index").values_list("index", flat=True)
    )
    decoder = model_cache.load_sae(sae).W_dec.detach()
    settings = {name: job.params[name] for name in ("neighbours", "seed")}
    for record in job.results(
        compute_feature_map(
            decoder, alive, str(job.folder), **settings, should_stop=job.should_stop
        )
    ):
        assert isinstance(record, FeatureMap)
        try:
            with transaction.atomic():
                dashboard_ingest.write_map(dashboard, record, job.row)
                assert dashboard.map is not None
                counts = {name: dashboard.map[name] for name in ("features", "clusters")}
                job_execution.finish(job.row, {"sae": str(sae), **counts})
        except Dashboard.DoesNotExist:
            raise InvalidInput(
                "sae",
                f"The dashboards of {sae} were replaced while the map was computed. The job that "
                "replaced them computes a new map.",
            ) from None
