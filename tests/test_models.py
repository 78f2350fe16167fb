"""Models: the parameter counts of the published architectures, features and head, seeding."""

import pytest
import torch

from thresher.errors import UnknownNameError
from thresher.models import MODELS, build, parameter_count


@pytest.mark.parametrize(
    ("name", "ten", "hundred"),
    [("resnet18", 11173962, 11220132), ("resnet34", 21282122, 21328292), ("resnet50", 23520842, 23705252)],
)
def test_parameter_counts_are_the_published_ones(name, ten, hundred):
    assert parameter_count(build(name, 10)) == ten
    assert parameter_count(build(name, 100)) == hundred


@pytest.mark.parametrize("name", MODELS)
def test_head_of_features_is_the_model(name):
    model = build(name, 7, channels=1, seed=0).eval()
    images = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model.head(model.features(images)))
        assert model(images).shape == (2, 7)


def test_seed_fixes_the_weights_and_leaves_the_global_state():
    state = torch.get_rng_state()
    first, second = build("tiny", 10, seed=3), build("tiny", 10, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_unknown_model_names_the_choices():
    with pytest.raises(UnknownNameError, match="resnet18"):
        build("resnet19", 10)
