"""One running instance for all tests here, with a tiny model and corpus in it."""

import json
import random
import re
import shutil

import pytest

from tests.e2e.instance import Instance, wait_for

WORDS = re.findall(
    r"\w+",
    "the cat saw a dog and it ran over some grass while birds sang in tall old trees near water",
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Hugging Face folder of a random two-layer model, 32 wide, with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "model"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([" ".join(WORDS)] * 5, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|end|>", eos_token="<|end|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    size = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    LlamaForCausalLM(
        LlamaConfig(
            **size,
            vocab_size=320,
            max_position_embeddings=64,
            initializer_range=0.2,
            bos_token_id=0,
        )
    ).save_pretrained(folder)
    return folder


def write_corpus(place, documents):
    """Documents of forty words, as JSON lines; the place."""
    draw = random.Random(0)
    place.write_text(
        "\n".join(
            json.dumps({"text": " ".join(draw.choices(WORDS, k=40))}) for _ in range(documents)
        )
    )
    return place


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory):
    """Fifteen hundred documents: training reads them again and again."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tales.jsonl", 1500)


@pytest.fixture(scope="session")
def instance(tiny_model, tiny_corpus):
    """Up, without the demo, and with the model `tiny` and the corpus `tales`."""
    running = Instance(FEATURESCOPE_DEMO="0", FEATURESCOPE_LEASE_SECONDS="8")
    try:
        assert "Finished" in running.manage("add_model", "tiny", str(tiny_model), "--wait")
        assert "Finished" in running.manage("add_corpus", "tales", str(tiny_corpus), "--wait")
        yield running
    finally:
        running.stop()


@pytest.fixture
def finished(instance):
    """Wait until a job is over, and return its row."""

    def wait(pk: int, seconds: float = 120) -> dict:
        over = ("finished", "failed", "cancelled")
        return wait_for(
            lambda: (row := instance.job(pk))["state"] in over and row,
            seconds,
            f"the end of job {pk}",
        )

    return wait


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, headless; the tests that need it are skipped aloud where it is not
    installed.
    """
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # five seconds are few for a machine that trains beside it
    path = shutil.which("chromium")
    if not path:
        pytest.skip("no Chromium on this machine: install Debian's package `chromium`")
    quiet = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=path, args=[*quiet, "--disable-quic", "--no-first-run"]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser, instance):
    """A fresh visitor. Any request to another host, script error or console error fails the test
    that caused it.
    """
    context = browser.new_context(base_url=instance.url, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    wrong: list[str] = []
    opened.on(
        "request",
        lambda r: None if r.url.startswith(instance.url) else wrong.append(f"asked {r.url}"),
    )
    opened.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    refused = "status of 422"  # how Chromium reports the answer to a form with a wrong setting
    opened.on(
        "console",
        lambda said: (
            wrong.append(f"console: {said.text}")
            if said.type == "error" and refused not in said.text
            else None
        ),
    )
    yield opened
    context.close()
    assert not wrong, wrong


@pytest.fixture
def admin(page, instance):
    """The same page, signed in as the first admin."""
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(instance.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "login" not in url)
    return page


@pytest.fixture(scope="session")
def shown(instance):
    """An SAE of the tiny model with its dashboards, made by the chain of jobs: `tiny/shown`. Its
    labels are people's only.
    """
    said = instance.manage(
        "train_sae", "tiny/shown", "--corpus", "tales", "--hook", "blocks.0.hook_resid_post",
        "--width", "64", "--k", "4", "--context-size", "64", "--tokens", "50000",
    )  # fmt: skip
    assert "Job" in said, said
    cancelled = instance.rows(
        "UPDATE features_job SET state = 'cancelled', ended = now() WHERE kind = 'label_sae' AND "
        "state = 'waiting'"
        " AND params->>'sae' = 'tiny/shown' RETURNING id"
    )
    assert cancelled, "test_sweep has the labels that need no key"
    wait_for(
        lambda: instance.rows(
            "SELECT 1 FROM features_job WHERE kind = 'evaluate_sae' AND state = 'finished' AND "
            "params->>'sae' = %s",
            "tiny/shown",
        ),
        240,
        "dashboards and evaluation",
    )
    return "/tiny/shown/"
