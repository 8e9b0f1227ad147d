"""The file of published SAEs is what the installed SAELens says, and its hooks and widths are those
of SAELens's loaders.
"""

import pytest
from sae_lens.loading.pretrained_sae_loaders import NAMED_PRETRAINED_SAE_CONFIG_GETTERS as GETTERS
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from features import saelens_registry
from workers.pipeline.sae.converters import FILES_OF_FORMAT
from workers.saelens_registry import registry_lines


def test_the_file_is_that_of_the_installed_package():
    assert saelens_registry.FILE.read_text().splitlines() == list(registry_lines()), (
        "run python -m workers.saelens_registry"
    )
    theirs = get_pretrained_saes_directory()
    assert [(entry.release, entry.id) for entry in saelens_registry.entries()] == [
        (name, sae_id) for name in sorted(theirs) for sae_id in theirs[name].saes_map
    ]


def test_every_form_is_either_read_or_refused():
    forms = {release.form for release in saelens_registry.releases().values()}
    assert forms == set(FILES_OF_FORMAT) | set(saelens_registry.UNSUPPORTED_FORMATS)
    assert not set(FILES_OF_FORMAT) & set(saelens_registry.UNSUPPORTED_FORMATS)


@pytest.mark.parametrize("form", ["gemma_2", "qwen_scope", "deepseek_r1", "goodfire"])
def test_hooks_and_widths_are_those_of_saelenss_own_loaders(form):
    """Of the forms whose configuration SAELens makes of names alone, asking no hub."""
    theirs, seen = get_pretrained_saes_directory(), 0
    for release in (
        release for release in saelens_registry.releases().values() if release.form == form
    ):
        for entry in release.entries:
            path = theirs[release.name].saes_map[entry.id]
            config = GETTERS[form](release.repo, path, "cpu", False, None)
            seen += 1
            if entry.hook is not None:
                assert entry.hook == config["hook_name"].replace(".hook_z", ".attn.hook_z").replace(
                    "attn.attn", "attn"
                )
            if entry.width is not None:
                assert entry.width == config["d_sae"], entry
    assert seen
