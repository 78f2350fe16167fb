"""Models: the parameter counts of the published architectures, features and head, layouts, sizes, seeding, optional ones."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from thresher.data import load
from thresher.errors import InputError, MissingPackageError, UnknownNameError
from thresher.models import MODELS, build, check_model, parameter_count
from thresher.models._base import conv_norm
from thresher.models.mobilenet import InvertedResidual
from thresher.models.resnet import BasicBlock, Bottleneck
from thresher.models.shufflenet import ShuffleUnitV1
from thresher.train.loop import fit
from thresher.train.spec import TrainSpec

NEEDS_TRANSFORMERS = pytest.mark.skipif(
    find_spec("transformers") is None, reason="needs the extra: pip install 'thresher[transformers]'"
)
EVERY = [pytest.param(name, marks=NEEDS_TRANSFORMERS if name == "swin_t" else ()) for name in MODELS]
COUNTS = {
    "small": (309738, 321348),  # ours; of the others the counts are published
    "resnet18": (11173962, 11220132),
    "resnet34": (21282122, 21328292),
    "resnet50": (23520842, 23705252),
    "resnet101": (42512970, 42697380),
    "vgg16": (14728266, 14774436),
    "mobilenet_v2": (2296922, 2412212),
    "shufflenet_g2": (887582, 959672),
    "shufflenet_g3": (862768, 949258),
    "shufflenet_v2_x0_5": (352042, 444292),
    "shufflenet_v2": (1263854, 1356104),
    "shufflenet_v2_x1_5": (2488874, 2581124),
    "shufflenet_v2_x2_0": (5338026, 5522436),
}
IMAGENET_COUNTS = [
    ("resnet34_imagenet", 21797672),
    ("resnet50_imagenet", 25557032),
    pytest.param("swin_t", 28288354, marks=NEEDS_TRANSFORMERS),
]
# What is left of an image's edge before the average pool; a stride lost or won shows here and not in the parameters.
SHRINK = {"tiny": 2, "vgg16": 32, "resnet34_imagenet": 32, "resnet50_imagenet": 32}


@pytest.mark.parametrize(("name", "counts"), COUNTS.items())
def test_parameter_counts_are_the_published_ones(name: str, counts: tuple[int, int]) -> None:
    with torch.device("meta"):
        assert (parameter_count(build(name, 10)), parameter_count(build(name, 100))) == counts


@pytest.mark.parametrize(("name", "count"), IMAGENET_COUNTS)
def test_parameter_counts_at_imagenet_are_the_published_ones(name: str, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(build(name, 1000)) == count


def forward(name: str, size: int, channels: int = 3) -> torch.Tensor:
    """Return logits of two random images, after a look at features and head."""
    model = build(name, 7, channels, seed=0, image_size=size).eval()
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, logits = model.features(images), model(images)
        assert features.shape == (2, model.head.in_features)
        torch.testing.assert_close(logits, model.head(features))
    return logits


@pytest.mark.parametrize("name", EVERY)
def test_head_of_features_is_the_model_at_the_smallest_size(name: str) -> None:
    assert forward(name, MODELS[name].smallest, channels=1).shape == (2, 7)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].smallest <= 32])
@pytest.mark.parametrize("size", [32, 64])
def test_other_sizes(name: str, size: int) -> None:
    assert forward(name, size).isfinite().all()


@pytest.mark.parametrize("name", ["resnet34_imagenet", "resnet50_imagenet"])
def test_imagenet_size(name: str) -> None:
    assert forward(name, 224).isfinite().all()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "swin_t"])
def test_the_last_feature_map_has_the_edge_of_the_definition(name: str) -> None:
    edges: list[torch.Size] = []
    model = build(name, 2, seed=0).eval()
    last = getattr(model, "stages", None) or model.layers
    last.register_forward_hook(lambda _, __, output: edges.append(output.shape[2:]))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert edges == [(64 // SHRINK.get(name, 8),) * 2]


@pytest.mark.parametrize("name", ["resnet34_imagenet", "resnet50_imagenet"])
def test_the_imagenet_stem_leaves_112_and_then_56_positions(name: str) -> None:
    """As He et al. 2016, Table 1; other paddings and strides may meet at the last feature map."""
    model: Any = build(name, 2, seed=0).eval()
    with torch.no_grad():
        convolved = model.conv1(torch.zeros(1, 3, 224, 224))
        assert (convolved.shape[2:], model.pool(convolved).shape[2:]) == ((112, 112), (56, 56))
        dot = torch.zeros(1, 1, 8, 8)
        dot[..., 4, 4] = 1  # in the middle of one window of 3 x 3
        assert model.pool(dot).nonzero()[:, 2:].tolist() == [[2, 2]]


BLOCKS: dict[str, tuple[nn.Module, int]] = {
    "basic": (BasicBlock(4, 4, 1), 4), "bottleneck": (Bottleneck(16, 4, 1), 16),
    "inverted": (InvertedResidual(4, 4, 6, 1), 4), "shuffle": (ShuffleUnitV1(32, 32, 1, 2), 32),
}  # fmt: skip


@pytest.mark.parametrize(("block", "channels"), BLOCKS.values(), ids=BLOCKS)
def test_a_block_adds_its_input(block: nn.Module, channels: int) -> None:
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)  # the branch gives 0
    images = torch.rand(2, channels, 5, 5)
    assert torch.equal(block.eval()(images), images)


def test_a_convolution_ends_in_a_relu_unless_it_is_linear() -> None:
    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert [bool((conv_norm(3, 4, 1, relu=relu)(images) < 0).any()) for relu in (True, False)] == [False, True]


@pytest.mark.parametrize("name", EVERY)
def test_gradients_flow_under_bf16_and_channels_last(name: str) -> None:
    size = max(MODELS[name].smallest, 16)
    model = build(name, 5, seed=0).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, size, size).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.bfloat16
    nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1])).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert sum(p.grad.abs().sum() > 0 for p in model.parameters()) > 0.9 * len(list(model.parameters()))


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2", "shufflenet_g3", "vgg16", "resnet34_imagenet"])
def test_channels_last_changes_nothing(name: str) -> None:
    model, images = build(name, 5, seed=0).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = model(images)
        laid_out = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(laid_out, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v2", pytest.param("swin_t", marks=NEEDS_TRANSFORMERS)])
def test_seed_fixes_the_weights_and_leaves_the_global_state(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in (torch.cuda, torch.mps, torch.xpu):  # seeded they would be left so, where others draw from them meanwhile
        monkeypatch.setattr(device, "manual_seed" if device is torch.mps else "manual_seed_all", None)
    state = torch.get_rng_state()
    first, second = build(name, 10, seed=3), build(name, 10, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@NEEDS_TRANSFORMERS
def test_swin_is_the_same_function_in_training_and_evaluation() -> None:
    model, images = build("swin_t", 4, seed=0), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(model.train()(images), model.eval()(images))


@NEEDS_TRANSFORMERS
def test_swin_refuses_a_small_image_before_its_windows_shrink() -> None:
    model, images = build("swin_t", 4, seed=0).eval(), torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        before = model(images)
        with pytest.raises(InputError, match="at least 224x224"):
            model(images[..., :32, :32])
        assert torch.equal(model(images), before)


@pytest.mark.parametrize(
    ("name", "meant"), [("resnet19", "resnet18"), ("shufflenetv2", "shufflenet_v2"), ("swin", "swin_t"), ("vgg_16", "vgg16")]
)
def test_unknown_model_names_the_choices_and_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"tiny, small.*timm:NAME, but got '{name}' \(did you mean {meant}\?\)"):
        build(name, 10)
    with pytest.raises(UnknownNameError, match=r"but got 'qqqq'\.$"):
        build("qqqq", 10)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("vgg16", 8, "at least 32x32 for the model vgg16, but got 8x8.*tiny, small, resnet18"),
        ("swin_t", 32, "at least 224x224, in steps of 32, for the model swin_t, but got 32x32.*vgg16"),
        ("swin_t", 230, "but got 230x230"),
        ("resnet50_imagenet", 16, "at least 32x32"),
        ("tiny", 1, "none does"),
    ],
)
def test_image_sizes_a_model_cannot_take(name: str, size: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(name, 10, image_size=size)


def test_every_stage_of_a_model_has_a_position_at_its_smallest_size() -> None:
    assert {name: MODELS[name].smallest for name in ("tiny", "resnet18", "mobilenet_v2", "vgg16", "swin_t")} == {
        "tiny": 2, "resnet18": 8, "mobilenet_v2": 8, "vgg16": 32, "swin_t": 224,
    }  # fmt: skip
    assert [MODELS["resnet18"].takes(size) for size in (7, 8, 9)] == [False, True, True]
    assert [MODELS["swin_t"].takes(size) for size in (192, 224, 240, 256)] == [False, True, False, True]


def test_training_checks_the_image_size() -> None:
    with pytest.raises(InputError, match="but got 8x8"):
        fit(load("digits"), TrainSpec("vgg16", epochs=1), seed=0)


@pytest.mark.parametrize(("package", "name"), [("transformers", "swin_t"), ("timm", "timm:convnext_tiny")])
def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package} for the model {name}.*pip install 'thresher\[{package}\]'"):
        build(name, 10)


def test_optional_packages_are_loaded_when_asked_for_only() -> None:
    code = "import sys, thresher.models as m; m.build('tiny', 2); print({'transformers', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Net(nn.Module):
    """Keeps to what timm documents of its models: reset_classifier(0) makes the call return pooled features."""

    def __init__(self, num_classes: int, in_chans: int, last: type[nn.Module] = nn.Linear) -> None:
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 16, 16), "fixed_input_size": True}
        self.stem = nn.Conv2d(in_chans, 6, 3)
        self.fc: Any = nn.Linear(6, num_classes) if last is nn.Linear else last()

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        assert num_classes == 0
        self.fc = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.stem(images).mean((2, 3)))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for timm, which needs a torchvision: the adapter's wiring, not timm, is under test."""
    module: Any = ModuleType("timm")
    module.list_models = lambda: ["convnext_tiny", "odd"]
    module.is_model = lambda name: name in module.list_models()
    module.create_model = lambda name, pretrained, num_classes, in_chans: Net(
        num_classes, in_chans, nn.Linear if name == "convnext_tiny" else nn.Flatten
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_timm_gives_its_last_layer_away(timm: Any) -> None:
    model, images = build("timm:convnext_tiny", 4, channels=1, seed=0, image_size=16), torch.randn(2, 1, 16, 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        original = timm.create_model("convnext_tiny", False, 4, 1)
    assert torch.equal(model(images), original(images))
    assert model.features(images).shape == (2, 6)
    assert sorted(model.state_dict()) == ["head.bias", "head.weight", "net.stem.bias", "net.stem.weight"]


def test_timm_errors(timm: Any) -> None:
    for early in (lambda: build("timm:convnet_tiny", 4), lambda: check_model("timm:convnet_tiny", 32)):
        with pytest.raises(UnknownNameError, match=r"did you mean convnext_tiny\?"):
            early()
    with pytest.raises(InputError, match="images of 16x16 for timm:convnext_tiny, but got 8x8"):
        build("timm:convnext_tiny", 4, image_size=8)
    with pytest.raises(InputError, match="timm:odd ends in a Flatten"):
        build("timm:odd", 4)
