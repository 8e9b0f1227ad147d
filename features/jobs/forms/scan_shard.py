"""The job that reads one shard of a corpus: a part of a job that makes dashboards."""

from collections.abc import Mapping
from typing import Any

from django import forms

from features.jobs.forms.base import FollowUp
from features.jobs.forms.compute_dashboards import MAX_SHARDS, ComputeDashboards


class ScanShard(ComputeDashboards):
    """One part of a job that makes dashboards: read one shard of the corpus. It is never
    started by itself.
    """

    kind = "scan_shard"
    title = "Read a shard"

    shard = forms.IntegerField(min_value=1, max_value=MAX_SHARDS, help_text="Which of the shards.")

    @classmethod
    def headline(cls, params: Mapping[str, Any]) -> str:
        """Such as: Shard 2 of 4 for demo-python/2-res."""
        whole = ComputeDashboards.headline(params).removeprefix(f"{cls.verb} ")
        return f"Shard {params.get('shard')} of {params.get('shards')} for {whole}"

    @classmethod
    def follow_ups(cls, params: Mapping[str, Any]) -> list[FollowUp]:
        """None: those of the whole job follow once."""
        return []
