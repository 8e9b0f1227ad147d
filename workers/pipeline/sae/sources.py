"""Copy or download an SAE into a folder in SAELens's format.

    copy_from_folder         a local folder in that format, or in one of `foreign`
    download_from_hub        a folder of a Hugging Face repository, likewise
    download_from_registry   an entry of SAELens's registry, converted if it has another format

Nothing of a source is executed: weights are safetensors or .npz arrays of numbers; pickles are
refused.
"""

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sae_lens.loading.pretrained_saes_directory import (
    get_norm_scaling_factor,
    get_pretrained_saes_directory,
)

from features.records import InvalidInput, LogLine, Progress
from workers.pipeline.data import hub
from workers.pipeline.data.download import download
from workers.pipeline.data.lfs import refuse_pointers
from workers.pipeline.sae.converters import FILES_OF_FORMAT, RegistryEntry, convert
from workers.pipeline.sae.folder import FOLDER_FILES, PICKLES, WEIGHTS, load_config
from workers.pipeline.sae.foreign import FORMATS, ForeignFormat, convert_folder, find_format
from workers.pipeline.sae.setting_values import CONFIG

PICKLE_REMEDY = (
    "A pickle may run code, so it is refused. If you trust it, convert it elsewhere: load it with "
    "SAELens, write it with save_model, which writes safetensors, and import that folder."
)
MAX_FOLDERS_LISTED = 12


class FetchedSae(NamedTuple):
    """An SAE that was copied or downloaded: its configuration as published, and its origin."""

    config: dict[str, Any]
    provenance: dict[str, Any]


Fetching = Generator[Progress | LogLine, None, FetchedSae | None]


def copy_from_folder(source: str, target: Path) -> FetchedSae:
    """Copy the SAE in the folder `source`, or in the folder of that file, to `target`, converted
    if it is in a format of `foreign`.

    Raises `InvalidInput("source")`, with what it has instead, if it is in none.
    """
    folder = _folder_of(Path(source).expanduser())
    provenance = {"kind": "folder", "source": str(folder)}
    form = _foreign_format(folder)
    if form:
        config = convert_folder(folder, form, target)
        return FetchedSae(config, {**provenance, "format": form.name})
    config = load_config(folder)
    files = {name: folder / name for name in FOLDER_FILES if (folder / name).is_file()}
    _copy_files(files, target)
    return FetchedSae(config, provenance)


def _folder_of(path: Path) -> Path:
    """The folder that was given, or that of a file of an SAE that was given."""
    if not path.is_file():
        return path
    if path.name.endswith(PICKLES):
        raise InvalidInput("source", f"{path.name} is a pickle. {PICKLE_REMEDY}")
    if path.suffix in (".zip", ".tar", ".gz", ".tgz"):
        message = f"{path.name} is an archive: unpack it, and give the folder that it makes."
        raise InvalidInput("source", message)
    return path.parent


def _foreign_format(folder: Path) -> ForeignFormat | None:
    """The format of a folder that is not in SAELens's own."""
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if {CONFIG, WEIGHTS} <= names:
        return None
    form = find_format(names)
    refuse_pointers(folder / name for name in (form.files if form else ()))
    return form


def download_from_hub(
    name: str, subfolder: str, revision: str, target: Path, should_stop: Callable[[], bool]
) -> Fetching:
    """Download the SAE in `subfolder` of the hub repository `name` to `target`.

    Yields progress in bytes and returns the SAE, or None if `should_stop()` returned true. Raises
    `InvalidInput` (field `source`, `subfolder` or `revision`) with what the repository has instead.
    """
    repository = hub.find_repository(name, revision)
    base = subfolder.strip("/")
    files = (*FOLDER_FILES, *(file for form in FORMATS for file in form.files))
    path_of = {file: f"{base}/{file}" if base else file for file in files}
    sizes = hub.file_sizes(repository, sorted(set(path_of.values())))
    present = {file for file, path in path_of.items() if path in sizes}
    form = None if {CONFIG, WEIGHTS} <= present else find_format(present)
    if form is None and not {CONFIG, WEIGHTS} <= present:
        raise repository.unreachable or _no_sae_error(repository, base)
    needed = {path_of[file] for file in (form.files if form else FOLDER_FILES)}
    sizes = {path: size for path, size in sizes.items() if path in needed}
    paths = yield from _download(repository, sizes, should_stop)
    if paths is None:
        return None
    downloaded = {file: paths[path] for file, path in path_of.items() if path in paths}
    provenance = _provenance("hub", repository, source=name, subfolder=base)
    if form is None:
        _copy_files(downloaded, target)
        return FetchedSae(load_config(target), provenance)
    with TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary) / (base.rpartition("/")[2] or "sae")
        _copy_files(downloaded, folder)
        config = convert_folder(folder, form, target)
    return FetchedSae(config, {**provenance, "format": form.name})


def download_from_registry(
    source: str, revision: str, target: Path, should_stop: Callable[[], bool]
) -> Fetching:
    """Download the registry entry `source` (release:id) and write it to `target`.

    Yields progress in bytes and returns the SAE, or None if `should_stop()` returned true. Raises
    `InvalidInput("source")` for an unknown entry, a pickle, and files that SAELens cannot load.
    """
    entry = _find_registry_entry(source)
    repository = hub.find_repository(entry.repository, revision)
    patterns = FILES_OF_FORMAT[entry.format]
    sizes = hub.file_sizes(repository, [pattern.format(entry.path) for pattern in patterns])
    if not any(name.endswith((".safetensors", ".npz")) for name in sizes):
        raise repository.unreachable or _no_sae_error(repository, entry.path)
    paths = yield from _download(repository, sizes, should_stop)
    if paths is None:
        return None
    config = convert(entry, paths, get_norm_scaling_factor(entry.release, entry.sae_id), target)
    provenance = _provenance(
        "registry",
        repository,
        source=entry.repository,
        subfolder=entry.path,
        release=entry.release,
        id=entry.sae_id,
    )
    return FetchedSae(config, provenance)


def _find_registry_entry(source: str) -> RegistryEntry:
    release, _, sae_id = source.partition(":")
    published = get_pretrained_saes_directory().get(release)
    if published is None or sae_id not in published.saes_map:
        message = f"The worker's SAELens has no entry {source} in its registry."
        raise InvalidInput("source", message)
    entry = RegistryEntry(
        release,
        sae_id,
        published.repo_id,
        published.saes_map[sae_id],
        published.conversion_func or "sae_lens",
    )
    if entry.format not in FILES_OF_FORMAT:
        raise InvalidInput(
            "source",
            f"{source} is published as {entry.path} in the format {entry.format!r}. "
            f"{PICKLE_REMEDY}",
        )
    return entry


def _download(
    repository: hub.Repository, sizes: dict[str, int], should_stop: Callable[[], bool]
) -> Generator[Progress | LogLine, None, dict[str, Path] | None]:
    megabytes = sum(sizes.values()) / 1e6
    yield LogLine(f"{repository.name} at {repository.commit[:12]}: {megabytes:,.1f} MB.")
    return (yield from download(repository, sizes, should_stop))


def _copy_files(files: dict[str, Path], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        shutil.copyfile(path, target / name)


def _provenance(kind: str, repository: hub.Repository, **origin: str) -> dict[str, Any]:
    return {"kind": kind, **origin, "revision": repository.commit}


def _no_sae_error(repository: hub.Repository, base: str) -> InvalidInput:
    """Why there is no SAE at `base`: it is in a folder below, a pickle, or not there."""
    files = hub.file_names(repository, base)
    location = f"{repository.name}/{base}" if base else repository.name
    suffix = f"/{CONFIG}"
    folders = sorted(path.removesuffix(suffix) for path in files if path.endswith(suffix))
    if folders:
        listed = ", ".join(folders[:MAX_FOLDERS_LISTED])
        listed += " …" if len(folders) > MAX_FOLDERS_LISTED else ""
        return InvalidInput(
            "subfolder", f"{location} holds {len(folders)} SAEs; say which: {listed}"
        )
    pickles = [path for path in files if path.endswith(PICKLES)]
    if pickles:
        names = ", ".join(pickles[:3])
        return InvalidInput("source", f"{location} has no {WEIGHTS}, only {names}. {PICKLE_REMEDY}")
    if not files:
        message = f"There is nothing at {location} ({repository.commit[:12]})."
        return InvalidInput("subfolder" if base else "source", message)
    message = f"{location} has no {CONFIG} and {WEIGHTS}, which an SAE in SAELens's format has."
    return InvalidInput("source", message)
