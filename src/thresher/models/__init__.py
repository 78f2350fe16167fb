"""Models by name: `build(name, num_classes, channels)`.

Each has `features(images) -> (B, D)` and a last linear layer `head`, so that Moderate and GraNd can be scored without hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import torch
from torch import nn

from thresher.errors import InputError, UnknownNameError, nearest
from thresher.models import mobilenet, resnet, shufflenet, swin, timm, vgg
from thresher.models._base import Classifier
from thresher.types import check_seed, is_whole


@dataclass(frozen=True)
class Architecture:
    """How a model is made from (num_classes, channels), and the square images it takes.

    `smallest` is the edge of the smallest image of which every stage is given at least one position; `step` is what the
    edge must be a multiple of.
    """

    make: Callable[[int, int], Classifier]
    smallest: int = 8
    step: int = 1

    def takes(self, image_size: int) -> bool:
        """Return whether images of this height and width can be trained on."""
        return image_size >= self.smallest and image_size % self.step == 0


MODELS: dict[str, Architecture] = {
    "tiny": Architecture(resnet.tiny, 2),
    "small": Architecture(resnet.small),
    "resnet18": Architecture(resnet.resnet18),
    "resnet34": Architecture(resnet.resnet34),
    "resnet50": Architecture(resnet.resnet50),
    "resnet101": Architecture(resnet.resnet101),
    "vgg16": Architecture(vgg.vgg16, 32),
    "mobilenet_v2": Architecture(mobilenet.mobilenet_v2),
    "shufflenet_v2": Architecture(shufflenet.shufflenet_v2),
    "shufflenet_v2_x0_5": Architecture(shufflenet.shufflenet_v2_x0_5),
    "shufflenet_v2_x1_5": Architecture(shufflenet.shufflenet_v2_x1_5),
    "shufflenet_v2_x2_0": Architecture(shufflenet.shufflenet_v2_x2_0),
    "shufflenet_g2": Architecture(shufflenet.shufflenet_g2),
    "shufflenet_g3": Architecture(shufflenet.shufflenet_g3),
    "resnet34_imagenet": Architecture(resnet.resnet34_imagenet, 32),
    "resnet50_imagenet": Architecture(resnet.resnet50_imagenet, 32),
    "swin_t": Architecture(swin.swin_t, swin.SMALLEST, 32),
}

_DRAWING = Lock()  # threads that train side by side share the random state that is set here


def build(
    name: str, num_classes: int, channels: int = 3, seed: int | None = None, image_size: int | None = None
) -> Classifier:
    """Return a freshly initialised model; `timm:NAME` is one of the package timm.

    With `seed` the weights are drawn from a forked random state, so the global one is unchanged. `image_size` is the
    height and width of the model's input, checked here if given. Raises UnknownNameError for an unknown name, InputError
    for fewer than 2 classes or an image size that the model cannot take, MissingPackageError if a required optional package
    is missing.

    >>> sum(p.numel() for p in build("resnet18", 10).parameters())
    11173962
    >>> build("vgg16", 10, image_size=8)
    Traceback (most recent call last):
    thresher.errors.InputError: Expected images of at least 32x32 for the model vgg16, but got 8x8. ...
    """
    for what, number, least in (("num_classes", num_classes, 2), ("channels", channels, 1), ("image_size", image_size, 1)):
        if number is not None and not (is_whole(number) and number >= least):
            raise InputError(f"Expected {what} as an integer >= {least}, but got {number!r}.")
    check_model(name, image_size)
    if seed is None:
        return _make(name, num_classes, channels, image_size)
    check_seed(seed)
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs, whose state was not kept
        return _make(name, num_classes, channels, image_size)


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _make(name: str, num_classes: int, channels: int, image_size: int | None) -> Classifier:
    if name.startswith(timm.PREFIX):
        return timm.timm_model(name.removeprefix(timm.PREFIX), num_classes, channels, image_size)
    return MODELS[name].make(num_classes, channels)


def check_model(name: str, image_size: int | None) -> None:
    """Raise what `build` does for an unknown model or images that it cannot take; what timm's take shows once built."""
    if not isinstance(name, str):
        raise InputError(f"Expected the name of a model, such as 'resnet18', but got {name!r}.")
    if name.startswith(timm.PREFIX):
        timm.known(name.removeprefix(timm.PREFIX))
        return
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise UnknownNameError(f"Expected a model, one of {known} or timm:NAME, but got {name!r}{nearest(name, MODELS)}.")
    if image_size is None or MODELS[name].takes(image_size):
        return
    smallest, step = MODELS[name].smallest, MODELS[name].step
    steps = f", in steps of {step}," if step > 1 else ""
    fitting = ", ".join(other for other, architecture in MODELS.items() if architecture.takes(image_size))
    raise InputError(
        f"Expected images of at least {smallest}x{smallest}{steps} for the model {name}, but got {image_size}x{image_size}. "
        f"Pick a model that takes these: {fitting or 'none does'}."
    )


__all__ = ["MODELS", "Architecture", "Classifier", "build", "check_model", "parameter_count"]
