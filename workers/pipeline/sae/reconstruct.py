"""What an SAE computes at a hook: where it reads and writes, and its features and reconstruction of
activations there.
"""

from typing import Any

from jaxtyping import Float
from sae_lens import SAE
from sae_lens.saes.transcoder import Transcoder
from torch import Tensor, nn
from transformers import PreTrainedModel

from features.records import InvalidInput
from workers.pipeline.model.hooks import HookPoint, decoder_blocks
from workers.pipeline.sae.setting_values import CONFIG

RESIDUAL_WRITES = ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out")


def require_fit(sae: SAE[Any], point: HookPoint) -> None:
    """Raise `InvalidInput("hook")` if the SAE's input has another width than the activation at the
    hook.
    """
    if sae.cfg.d_in != point.d_in:
        message = f"The SAE reads {sae.cfg.d_in} dimensions, but {point.name} has {point.d_in}."
        raise InvalidInput("hook", message)


def written_hook(sae: SAE[Any], hook: str) -> str:
    """Return the hook whose activation `sae` reconstructs from the activation at `hook`.

    It is `hook` itself, except for a transcoder, whose metadata names it. Raises
    `InvalidInput("sae")` for a transcoder whose metadata does not.
    """
    if not isinstance(sae, Transcoder):
        return hook
    name = sae.cfg.metadata.hook_name_out
    if not name:
        raise InvalidInput(
            "sae",
            f"This transcoder reads {hook}, but its {CONFIG} does not say where it writes: add "
            "hook_name_out.",
        )
    return str(name)


def uses_centred_activations(sae: SAE[Any], model: PreTrainedModel, hook: str) -> bool:
    """Return whether `sae` was trained on activations without their mean over dimensions.

    TransformerLens removes that mean from all weights that write to the residual stream
    (`center_writing_weights`) in models with LayerNorm, whose output does not depend on it. In
    other models it leaves the weights alone.
    """
    options = sae.cfg.metadata.model_from_pretrained_kwargs or {}
    if not options.get("center_writing_weights"):
        return False
    if hook.rpartition(".")[2] not in RESIDUAL_WRITES:
        return False
    return any(isinstance(module, nn.LayerNorm) for module in decoder_blocks(model)[0].modules())


def reconstruct(
    sae: SAE[Any], x: Float[Tensor, "tokens d_in"], without_mean: bool = False
) -> tuple[Float[Tensor, "tokens d_sae"], Float[Tensor, "tokens d_out"]]:
    """Return the features of `x` and its reconstruction, for a transcoder with its skip connection.

    With `without_mean`, the mean over dimensions is subtracted before encoding and added again
    after decoding. Encode and decode a batch together: an SAE that normalizes its input keeps the
    norms from one to the other.
    """
    if isinstance(sae, Transcoder):
        reconstruction, features = sae.forward_with_activations(x)
        return features, reconstruction
    mean = x.mean(-1, keepdim=True) * without_mean
    features = sae.encode(x - mean)
    return features, sae.decode(features) + mean
