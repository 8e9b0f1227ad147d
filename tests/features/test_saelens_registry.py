"""Published SAEs: looked up by what a person writes, searched, and matched with the only models on
this instance.
"""

import pytest

from features import sae_sources, saelens_registry
from features.records import same_model
from features.selectors import saelens_registry as registry_selectors
from features.selectors.saelens_registry import RegistryQuery
from tests import builders

GPT2 = "gpt2-small-res-jb:blocks.6.hook_resid_pre"


def test_an_entry_is_found_by_release_and_id():
    entry = saelens_registry.find(GPT2)
    assert (entry.model, entry.hook, entry.refusal) == ("gpt2-small", "blocks.6.hook_resid_pre", "")
    assert entry.slug == "gpt2-small-res-jb.blocks.6.hook_resid_pre"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "gpt2-small-res-jp:blocks.6.hook_resid_pre",
            "no release “gpt2-small-res-jp”. Did you mean “gpt2-small-res-jb”",
        ),
        (
            "gpt2-small-res-jb:blocks.6.hook_resid_pro",
            "has no SAE “blocks.6.hook_resid_pro”. Did you mean “blocks.6",
        ),
        ("gpt2-small-res-jb:7", "It has blocks.0.hook_resid_pre, blocks.1.hook_resid_pre"),
        (
            "gpt2-small-res-jb",
            "add the id of one of its SAEs, such as gpt2-small-res-jb:blocks.0.hook_resid_pre",
        ),
        (
            "goodfire-llama-3.1-8b-instruct:layer_19",
            "its weights are a pickle, which may run code. Where you trust it, convert",
        ),
        (
            "temporal-sae-gemma-2-2b:blocks.12.hook_resid_post",
            "it reads whole contexts, not tokens",
        ),
        ("what is this", "Write the path of a folder"),
        ("a/b/c", "Write the path of a folder"),
        ("../up", None),
        ("owner/name", None),
        (GPT2, None),
    ],
)
def test_a_source_that_is_none_is_refused_with_the_nearest(source, said):
    if said is None:
        assert sae_sources.parse_source(source).place == source
        return
    with pytest.raises(LookupError) as refused:
        sae_sources.parse_source(source)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("claimed", "same"),
    [
        ("gpt2-small", True), ("gpt2", True), ("openai-community/gpt2", True), ("GPT2", True),
        ("gpt2-medium", False), ("distilgpt2", False), ("", False),
    ],
)  # fmt: skip
def test_a_model_is_known_by_either_of_its_names(claimed, same):
    assert same_model(claimed, {"mine", "openai-community/gpt2"}) == same


def test_no_two_entries_of_a_model_are_proposed_the_same_slug():
    """Ids that differ at their ends alone are long: a slug that is only cut off would be taken by
    the first of them.
    """
    slugs = [(entry.model, entry.slug) for entry in saelens_registry.entries()]
    assert len(slugs) == len(set(slugs)) > 10_000


def test_every_entry_can_be_named_and_has_a_slug():
    from features.slugs import is_slug

    seen = 0
    for entry in saelens_registry.entries():
        seen += 1
        is_slug(entry.slug)
        if not entry.refusal:
            assert sae_sources.parse_source(entry.source) == ("registry", entry.source)
    assert seen == 13_857


@pytest.mark.django_db
def test_searching_narrows_by_every_word_model_place_and_layer():
    builders.model("gpt2-small")
    here = registry_selectors.models_here()
    assert len(registry_selectors.search(RegistryQuery(), here)) == 13_857
    jb = registry_selectors.search(RegistryQuery(release="gpt2-small-res-jb"), here)
    assert len(jb) == 13
    assert {row.model.slug for row in jb} == {"gpt2-small"}
    (one,) = registry_selectors.search(RegistryQuery(q="gpt2 res-jb 6.hook"), here)
    assert one.entry.source == GPT2
    attention = registry_selectors.search(
        RegistryQuery(model="openai-community/gpt2", site="attention", layer=5), here
    )
    assert {row.entry.hook for row in attention} == {
        "blocks.5.hook_attn_out",
        "blocks.5.attn.hook_z",
    }
    assert {
        row.entry.model for row in registry_selectors.search(RegistryQuery(here=True), here)
    } == {"gpt2-small"}
    assert registry_selectors.search(RegistryQuery(q="no such thing"), here) == []
    groups = registry_selectors.by_release(jb)
    assert [(group.release.name, group.saes, group.model.slug) for group in groups] == [
        ("gpt2-small-res-jb", 13, "gpt2-small")
    ]
