"""Torchvision classifiers with a head for our classes."""

import difflib
import io
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from nogps.base.errors import InputError
from nogps.base.files import replacing

WEIGHTED = (nn.Linear, nn.Conv2d)


def backbone_names() -> list[str]:
    """Every image classifier of torchvision."""
    return torchvision.models.list_models(module=torchvision.models)


def build(backbone: str, classes: int, weights: str = "none") -> nn.Module:
    """A classifier of that name for (n, 3, size, size) images, with a new head.

    `weights` is none, imagenet (torchvision's, downloaded once) or a path to a state dict of the
    same architecture; its head, whatever its number of classes, is left behind. InputError if there
    is no such backbone, or the weights cannot be had or belong to another.
    """
    if backbone not in backbone_names():
        close = difflib.get_close_matches(backbone, backbone_names(), n=3) or ["resnet18"]
        known = " or ".join(close)
        raise InputError(f"backbone: torchvision has no classifier {backbone!r}; try {known}")
    options = {}
    if backbone in ("googlenet", "inception_v3"):
        # No auxiliary heads; and they were pretrained on pixels scaled in another way.
        options = {"aux_logits": False, "transform_input": True, "init_weights": True}
    model = torchvision.models.get_model(backbone, weights=None, num_classes=classes, **options)
    if weights != "none":
        _load_body(model, _state_dict(backbone, weights), backbone, weights)
    head = model.get_submodule(head_name(model))
    assert isinstance(head, WEIGHTED)
    nn.init.normal_(head.weight, std=1e-3)  # so that the first loss is ln(classes)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    return model


def check_size(model: nn.Module, backbone: str, image_size: int) -> None:
    """InputError if the network, in eval mode now, cannot take squares of that side in pixels."""
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"image_size: {backbone} cannot take images of {image_size} pixels ({reason}); "
            "set image_size to what it was made for, often 224"
        ) from None


def head_name(model: nn.Module) -> str:
    """Name of the layer that gives the class scores: in torchvision the last with weights."""
    *_, last = (name for name, each in model.named_modules() if isinstance(each, WEIGHTED))
    return last


def features(model: nn.Module, batch: Tensor) -> Tensor:
    """What the head takes, shape (n, dimensions): the photo as the network describes it."""
    caught: list[Tensor] = []
    head = model.get_submodule(head_name(model))
    with head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0])):
        model(batch)
    return caught[0].mean(dim=(2, 3)) if caught[0].ndim == 4 else caught[0]


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep the batch norms' statistics as they came: right for fine-tuning in small batches."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def write_torch(path: Path, content: dict) -> None:
    """torch.save, but whole or not at all, and a full disk is an OSError."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _state_dict(backbone: str, weights: str) -> dict[str, Tensor]:
    if weights == "imagenet":
        choice = torchvision.models.get_model_weights(backbone).DEFAULT
        try:
            return choice.get_state_dict(progress=True, check_hash=True)
        except OSError as error:
            raise InputError(
                f"the ImageNet weights of {backbone} could not be downloaded ({error}); connect, "
                "or set weights to none or to the path of a state dict"
            ) from None
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"weights: {path} is not a file; give none, imagenet or a path")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are no checkpoints
        raise InputError(
            f"weights: {path} is not a state dict that torch can load ({type(error).__name__})"
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights: {path} holds no state dict; save model.state_dict() there")
    return state


def _load_body(model: nn.Module, state: dict[str, Tensor], backbone: str, weights: str) -> None:
    head = head_name(model)
    heads = {f"{head}.weight", f"{head}.bias"}
    own = {name: value.shape for name, value in model.state_dict().items() if name not in heads}
    given = {name: value for name, value in state.items() if name in own}
    # A counter that old checkpoints lack and that nothing reads.
    missing = {name for name in own if not name.endswith("num_batches_tracked")} - set(given)
    foreign = {name for name in state if not name.lower().startswith("aux")} - set(own) - heads
    misshapen = {name for name, value in given.items() if value.shape != own[name]}
    if missing or foreign or misshapen:
        example = sorted(missing or foreign or misshapen)[0]
        raise InputError(
            f"weights: {weights} does not fit {backbone}: {len(missing)} tensors are missing, "
            f"{len(foreign)} are foreign and {len(misshapen)} have another shape (such as "
            f"{example}); set backbone to the architecture that they belong to"
        )
    model.load_state_dict(given, strict=False)
