"""Models of the package timm by name: `build("timm:convnext_tiny", 1000)`.

timm is optional (`pip install 'thresher[timm]'`) and imported only when one of its models is built.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from thresher.errors import InputError, UnknownNameError, nearest
from thresher.models._base import Classifier, optional_package

PREFIX = "timm:"


class TimmModel(Classifier):
    """A timm model without its last layer, which becomes `head`; images (B, channels, H, W), features (B, D).

    Freshly initialised, with timm's defaults; dropout and stochastic depth, where a model has them, draw from torch's global
    random state. Raises InputError for a model whose last layer is not linear.
    """

    def __init__(self, net: Any, name: str) -> None:
        super().__init__()
        head = net.get_classifier()
        if not isinstance(head, nn.Linear):
            raise InputError(
                f"Expected a model whose last layer is linear, but {name} ends in a {type(head).__name__}. Pick another one."
            )
        net.reset_classifier(0)  # so that its weights are in one place, and calling `net` gives the features
        self.net = net
        self.head = head

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, D), pooled and normalised as the model does before its last layer."""
        pooled: Tensor = self.net(images)
        return pooled


def known(name: str) -> Any:
    """Return the package timm, which has a model of this name (without the prefix).

    Raises MissingPackageError where timm cannot be imported, UnknownNameError for a name it does not know.
    """
    timm = optional_package("timm", f"the model {PREFIX}{name}")
    if not timm.is_model(name):
        meant = nearest(name, timm.list_models())
        raise UnknownNameError(f"Expected a timm model (see timm.list_models()), but got {name!r}{meant}.")
    return timm


def timm_model(name: str, num_classes: int, channels: int, image_size: int | None) -> TimmModel:
    """Return the timm model `name` (without the prefix), untrained.

    Raises what `known` raises, and InputError for an image size the model does not take.
    """
    net = known(name).create_model(name, pretrained=False, num_classes=num_classes, in_chans=channels)
    if image_size is not None:
        _check_size(name, net.pretrained_cfg, image_size)
    return TimmModel(net, PREFIX + name)


def _check_size(name: str, config: Any, image_size: int) -> None:
    if config.get("fixed_input_size") and image_size != (size := config["input_size"][-1]):
        raise InputError(f"Expected images of {size}x{size} for {PREFIX}{name}, but got {image_size}x{image_size}.")
