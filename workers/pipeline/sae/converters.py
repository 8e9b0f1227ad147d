"""Bring an SAE from elsewhere into a folder in SAELens's format: from a folder, a hub repository,
or SAELens's registry.

A folder in that format, here or on a hub, is copied as it is. Other published forms are turned into
it by SAELens's own loaders, which ask the hub for files by name; here they are given files that
were downloaded before, with progress, at one commit. Nothing of a source is executed: weights are
safetensors, or arrays of numbers in an .npz; pickles are refused.
"""

import json
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from huggingface_hub.errors import LocalEntryNotFoundError
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as theirs
from sae_lens.loading.pretrained_saes_directory import (
    get_config_overrides,
    get_norm_scaling_factor,
    get_pretrained_saes_directory,
)
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors import SafetensorError, safe_open

from features.records import InvalidInput, LogLine, Progress
from workers.pipeline.data import hub
from workers.pipeline.sae.folder import CONFIG, PICKLES, SCALER, SPARSITY, WEIGHTS, load_config

AS_IT_IS = (CONFIG, WEIGHTS, SPARSITY, SCALER)
ASKED_FOR: dict[str, tuple[str, ...]] = {
    "sae_lens": tuple(f"{{0}}/{name}" for name in AS_IT_IS),
    "gemma_2": ("{0}/params.npz",),
    "gemma_2_transcoder": ("{0}/params.npz", "{0}/config.yaml"),
    "gemma_3": ("{0}/config.json", "{0}/params.safetensors", "{0}.safetensors"),
    "llama_scope": ("{0}/hyperparams.json", "{0}/checkpoints/final.safetensors"),
    "llama_scope_r1_distill": ("{0}/config.json", "{0}/sae_weights.safetensors"),
    "mwhanna_transcoder": ("wandb-config.yaml", "wanb-config.yaml", "config.yaml", "{0}"),
    "mntss_clt_layer_transcoder": ("config.yaml", "W_enc_{0}.safetensors", "W_dec_{0}.safetensors"),
}
"""What SAELens's loader of each form asks the hub for, some of it only if it is there; {0} is the
registry's path.
"""
REMEDY = (
    "A pickle may run code, so it is refused. Where you trust it, convert it in a place of its "
    "own: load it with SAELens,"
    " write it with save_model, which makes safetensors, and import that folder."
)
MOST_FOLDERS = 12


class FetchedSae(NamedTuple):
    """What lies in the folder now: `config` as its author gave it, and where it came from."""

    config: dict[str, Any]
    provenance: dict[str, Any]


Bringing = Generator[Progress | LogLine, None, FetchedSae | None]


def copy_from_folder(source: str, into: Path) -> FetchedSae:
    """Copy a folder in SAELens's format. `InvalidInput("source")` where it is none, or holds only
    pickles.
    """
    folder = Path(source).expanduser()
    config = load_config(folder)
    _copy({name: folder / name for name in AS_IT_IS if (folder / name).is_file()}, into)
    return FetchedSae(config, {"kind": "folder", "source": str(folder)})


def download_from_hub(
    name: str, subfolder: str, revision: str, into: Path, should_stop: Callable[[], bool]
) -> Bringing:
    """Download a folder in SAELens's format from a hub repository; None where stopped.

    `InvalidInput` (field `source`, `subfolder` or `revision`) says what the repository has instead.
    """
    repository = hub.find_repository(name, revision)
    base = subfolder.strip("/")
    wanted = {place: f"{base}/{place}" if base else place for place in AS_IT_IS}
    found = hub.file_sizes(repository, list(wanted.values()))
    if not {wanted[CONFIG], wanted[WEIGHTS]} <= found.keys():
        raise repository.unreachable or _not_one(repository, base)
    yield LogLine(f"{name} at {repository.commit[:12]}: {sum(found.values()) / 1e6:,.1f} MB.")
    places = yield from hub.download(repository, found, should_stop)
    if places is None:
        return None
    _copy({short: places[path] for short, path in wanted.items() if path in places}, into)
    return FetchedSae(
        load_config(into), _provenance("hub", repository, source=name, subfolder=base)
    )


def download_from_registry(
    source: str, revision: str, into: Path, should_stop: Callable[[], bool]
) -> Bringing:
    """Download the entry `release:id` and turn it into SAELens's format; None where stopped.

    `InvalidInput("source")` for an unknown entry, a pickle, and whatever SAELens cannot read.
    """
    release, _, sae_id = source.partition(":")
    known = get_pretrained_saes_directory().get(release)
    if known is None or sae_id not in known.saes_map:
        raise InvalidInput("source", f"The worker's SAELens has no entry {source} in its registry.")
    form, path = known.conversion_func or "sae_lens", known.saes_map[sae_id]
    if form not in ASKED_FOR:
        raise InvalidInput(
            "source", f"{source} is published as {path} in the form {form!r}. {REMEDY}"
        )
    repository = hub.find_repository(known.repo_id, revision)
    found = hub.file_sizes(repository, [pattern.format(path) for pattern in ASKED_FOR[form]])
    if not any(name.endswith((".safetensors", ".npz")) for name in found):
        raise repository.unreachable or _not_one(repository, path)
    yield LogLine(
        f"{known.repo_id} at {repository.commit[:12]}: {sum(found.values()) / 1e6:,.1f} MB."
    )
    places = yield from hub.download(repository, found, should_stop)
    if places is None:
        return None
    provenance = _provenance(
        "registry", repository, source=known.repo_id, subfolder=path, release=release, id=sae_id
    )
    scale = get_norm_scaling_factor(release, sae_id)
    return FetchedSae(_converted(form, release, sae_id, path, places, scale, into), provenance)


def _converted(
    form: str,
    release: str,
    sae_id: str,
    path: str,
    places: dict[str, Path],
    scale: float | None,
    into: Path,
) -> dict[str, Any]:
    """Let SAELens's loader read the files, and write what it made of them; returns the
    configuration.
    """
    overrides = {
        name: value
        for name, value in get_config_overrides(release, sae_id).items()
        if value is not None
    }
    if form == "sae_lens":
        _copy({Path(name).name: place for name, place in places.items()}, into)
        config = _with(load_config(into), overrides)
        (into / CONFIG).write_text(json.dumps(config))
    else:
        config = _loaded(form, release, path, overrides, places, into)
    if scale is not None and config.get("normalize_activations") == "expected_average_only_in":
        ActivationScaler(scaling_factor=scale).save(str(into / SCALER))
    return config


def _loaded(
    form: str,
    release: str,
    path: str,
    overrides: dict[str, Any],
    places: dict[str, Path],
    into: Path,
) -> dict[str, Any]:
    repo, load = (
        get_pretrained_saes_directory()[release].repo_id,
        theirs.NAMED_PRETRAINED_SAE_LOADERS[form],
    )
    try:
        with _hub_of(places):
            config, weights, _ = load(
                repo, path, "cpu", False, {**overrides, "device": "cpu", "dtype": "float32"}
            )
        config = theirs.handle_config_defaulting(config)
        sae: SAE[Any] = SAE.from_dict(config)
        sae.process_state_dict_for_loading(weights)
        sae.load_state_dict({name: tensor.contiguous() for name, tensor in weights.items()})
        sae.save_model(into)
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            "source", f"SAELens cannot read {repo}/{path} ({form}): {error}"[:500]
        ) from error
    return dict(config)


@contextmanager
def _hub_of(places: dict[str, Path]) -> Iterator[None]:
    """Inside the block SAELens's loaders get `places` where they ask the hub: they can name neither
    commit nor progress.
    """

    def given(repo_id: str, filename: str, subfolder: str = "", **_: Any) -> str:
        path = f"{subfolder}/{filename}" if subfolder else filename
        if path not in places:
            raise LocalEntryNotFoundError(f"{repo_id} has no {path}.")
        return str(places[path])

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        with safe_open(given(repo_id, filename), "pt") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    with patch.multiple(theirs, hf_hub_download=given, get_safetensors_tensor_shapes=shapes):
        yield


def _with(config: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The configuration with what the registry says otherwise, in the place where its version keeps
    that.
    """
    if not isinstance(config.get("metadata"), dict):
        return config | overrides
    of_model = {
        name: value for name, value in overrides.items() if name in theirs.LLM_METADATA_KEYS
    }
    rest = {name: value for name, value in overrides.items() if name not in of_model}
    return config | rest | {"metadata": config["metadata"] | of_model}


def _copy(places: dict[str, Path], into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for name, place in places.items():
        shutil.copyfile(place, into / name)


def _provenance(kind: str, repository: hub.Repository, **where: str) -> dict[str, Any]:
    return {"kind": kind, **where, "revision": repository.commit}


def _not_one(repository: hub.Repository, base: str) -> InvalidInput:
    """Why there is no SAE at `base`: it is a pickle, it lies in one of the folders below, or
    nothing is there.
    """
    there = hub.file_names(repository, base)
    where = f"{repository.name}/{base}" if base else repository.name
    folders = sorted(
        path.removesuffix(f"/{CONFIG}") for path in there if path.endswith(f"/{CONFIG}")
    )
    if folders:
        some = ", ".join(folders[:MOST_FOLDERS]) + (" …" if len(folders) > MOST_FOLDERS else "")
        return InvalidInput("subfolder", f"{where} holds {len(folders)} SAEs; say which: {some}")
    pickles = [path for path in there if path.endswith(PICKLES)]
    if pickles:
        return InvalidInput(
            "source", f"{where} has no {WEIGHTS}, only {', '.join(pickles[:3])}. {REMEDY}"
        )
    if not there:
        return InvalidInput(
            "subfolder" if base else "source",
            f"There is nothing at {where} ({repository.commit[:12]}).",
        )
    return InvalidInput(
        "source", f"{where} has no {CONFIG} and {WEIGHTS}, which an SAE in SAELens's format has."
    )
