"""The registry of published SAEs, matched with the models of this instance."""

from typing import NamedTuple

from features import redaction, saelens_registry
from features.models import LanguageModel
from features.records import model_key
from features.saelens_registry import Entry, Release

SITES = {
    "residual": ("hook_resid_pre", "hook_resid_mid", "hook_resid_post"),
    "mlp": ("hook_mlp_out",),
    "attention": ("hook_attn_out", "attn.hook_z"),
    "transcoder": ("mlp.hook_in",),
}
"""Hooks by the part of a model that they belong to."""


class RegistryQuery(NamedTuple):
    """Filters of the registry; empty and None match everything. `here` selects SAEs of models on
    this instance.
    """

    q: str = ""
    release: str = ""
    model: str = ""
    site: str = ""
    layer: int | None = None
    here: bool = False

    @property
    def is_narrow(self) -> bool:
        """Whether it selects single SAEs rather than everything that has been published."""
        return bool(self.q or self.release or self.site or self.layer is not None)


class PublishedSae(NamedTuple):
    """An SAE of the registry and its model on this instance, if there is one."""

    entry: Entry
    model: LanguageModel | None

    @property
    def here(self) -> str | None:
        """The slug of that model."""
        return self.model.slug if self.model else None


class ReleaseMatches(NamedTuple):
    """A release, its model on this instance, and how many of its SAEs match."""

    release: Release
    model: LanguageModel | None
    saes: int


def search(wanted: RegistryQuery, here: dict[str, LanguageModel]) -> list[PublishedSae]:
    """The SAEs that match a query, release by release. Every word of `q` must be in the release,
    id, model, repository or hook.
    """
    words = wanted.q.lower().split()
    model = model_key(wanted.model) if wanted.model else ""
    found = []
    for release in saelens_registry.releases().values():
        ours = here.get(model_key(release.model))
        if (model and model_key(release.model) != model) or (wanted.here and ours is None):
            continue
        if wanted.release in ("", release.name):
            found += [
                PublishedSae(entry, ours)
                for entry in release.entries
                if _matches(entry, wanted, words)
            ]
    return found


def by_release(found: list[PublishedSae]) -> list[ReleaseMatches]:
    """Count matching SAEs by release."""
    counts: dict[str, int] = {}
    models: dict[str, LanguageModel | None] = {}
    for entry, model in found:
        counts[entry.release] = counts.get(entry.release, 0) + 1
        models[entry.release] = model
    return [
        ReleaseMatches(saelens_registry.releases()[name], models[name], count)
        for name, count in counts.items()
    ]


def models_here() -> dict[str, LanguageModel]:
    """The models on this instance by `model_key` of their source and slug; one query."""
    rows = LanguageModel.objects.order_by("-id")
    return {
        model_key(name): row for row in rows for name in (redaction.of_source(row.source), row.slug)
    }


def model_names() -> list[str]:
    """The names of all models with SAEs in the registry."""
    return sorted(
        {release.model for release in saelens_registry.releases().values()},
        key=lambda name: (model_key(name), name),
    )


def _matches(entry: Entry, wanted: RegistryQuery, words: list[str]) -> bool:
    if wanted.site and not (entry.hook or "").endswith(SITES[wanted.site]):
        return False
    if wanted.layer is not None and _layer(entry.hook or "") != wanted.layer:
        return False
    text = f"{entry.release}:{entry.id} {entry.model} {entry.repo} {entry.hook}".lower()
    return all(word in text for word in words)


def _layer(hook: str) -> int | None:
    number = hook.split(".")[1] if hook.startswith("blocks.") else ""
    return int(number) if number.isdigit() else None
