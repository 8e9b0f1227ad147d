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
"""Parts of a model that SAEs read, by the hooks they stand for."""


class Wanted(NamedTuple):
    """What to look for; empty and None take everything. `here` keeps SAEs of only models on this
    instance.
    """

    q: str = ""
    release: str = ""
    model: str = ""
    site: str = ""
    layer: int | None = None
    here: bool = False

    @property
    def narrow(self) -> bool:
        """Whether single SAEs are asked for, rather than what has been published altogether."""
        return bool(self.q or self.release or self.site or self.layer is not None)


class Published(NamedTuple):
    """An SAE of the registry, and the model here that it is for, if there is one."""

    entry: Entry
    model: LanguageModel | None

    @property
    def here(self) -> str | None:
        """The slug of that model."""
        return self.model.slug if self.model else None


class Group(NamedTuple):
    """A release, the model here that it is for, and how many of its SAEs were looked for."""

    release: Release
    model: LanguageModel | None
    saes: int


def search(wanted: Wanted, here: dict[str, LanguageModel]) -> list[Published]:
    """The SAEs that are wanted, release by release. Every word of `q` must be in its release, id,
    model or repository.
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
                Published(entry, ours) for entry in release.entries if _is(entry, wanted, words)
            ]
    return found


def groups(found: list[Published]) -> list[Group]:
    """What was found, by release."""
    counts: dict[str, int] = {}
    models: dict[str, LanguageModel | None] = {}
    for entry, model in found:
        counts[entry.release] = counts.get(entry.release, 0) + 1
        models[entry.release] = model
    return [
        Group(saelens_registry.releases()[name], models[name], count)
        for name, count in counts.items()
    ]


def models_here() -> dict[str, LanguageModel]:
    """The only models on this instance, by what their names have in common with the registry's;
    one query.
    """
    rows = LanguageModel.objects.order_by("-id")
    return {
        model_key(name): row for row in rows for name in (redaction.of_source(row.source), row.slug)
    }


def model_names() -> list[str]:
    """Every model that the registry has SAEs of."""
    return sorted(
        {release.model for release in saelens_registry.releases().values()},
        key=lambda name: (model_key(name), name),
    )


def _is(entry: Entry, wanted: Wanted, words: list[str]) -> bool:
    if wanted.site and not (entry.hook or "").endswith(SITES[wanted.site]):
        return False
    if wanted.layer is not None and _layer(entry.hook or "") != wanted.layer:
        return False
    text = f"{entry.release}:{entry.id} {entry.model} {entry.repo} {entry.hook}".lower()
    return all(word in text for word in words)


def _layer(hook: str) -> int | None:
    number = hook.split(".")[1] if hook.startswith("blocks.") else ""
    return int(number) if number.isdigit() else None
