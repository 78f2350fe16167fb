"""Swin-T (Liu et al. 2021), the transformer of the TDDS study, as the package transformers builds it.

transformers is optional (`pip install 'thresher[transformers]'`) and imported only when a Swin is built.
"""

from __future__ import annotations

from torch import Tensor, nn

from thresher.errors import InputError
from thresher.models._base import Classifier, optional_package

SMALLEST = 224


class SwinT(Classifier):
    """Patches of 4x4, windows of 7x7, width 96, depths 2-2-6-2, heads 3-6-12-24; features (B, 768).

    Images (B, channels, H, W) are 224x224, or larger in steps of 32, where windows are padded. Weights are normal with
    std 0.02, the relative position biases 0. There is no dropout and no stochastic depth (the paper: 0.2): these draw from
    torch's global random state, and a resumed training would not be the same. Raises MissingPackageError without
    transformers, InputError for smaller images.
    """

    def __init__(self, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        transformers = optional_package("transformers", "the model swin_t")
        self.net: nn.Module = transformers.SwinModel(transformers.SwinConfig(num_channels=channels, drop_path_rate=0.0))
        self.head = nn.Linear(768, num_classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate output (B, 768): mean over the last stage's positions, normalised."""
        if min(images.shape[-2:]) < SMALLEST:  # transformers would shrink its windows, and leave them so
            raise InputError(f"Expected images of at least {SMALLEST}x{SMALLEST}, but got {tuple(images.shape)}.")
        pooled: Tensor = self.net(images).pooler_output
        return pooled


def swin_t(num_classes: int, channels: int) -> SwinT:
    """Swin-T: 28,288,354 parameters with 1000 classes."""
    return SwinT(num_classes, channels)
