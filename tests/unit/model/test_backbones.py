import pytest
import torch
import torchvision

from nogps.base.errors import InputError
from nogps.model import backbones, tensors

ONE_OF_EACH = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11",
    "vit_b_32",
]


@pytest.mark.parametrize("backbone", ONE_OF_EACH)
def test_every_family_gets_a_head_for_our_classes(backbone):
    network = backbones.build(backbone, 7).eval()
    batch = torch.rand(2, 3, 299 if backbone == "inception_v3" else 224, 224)
    batch = batch[..., :224, :] if backbone != "inception_v3" else torch.rand(2, 3, 299, 299)
    with torch.inference_mode():
        assert network(batch).shape == (2, 7)
        described = backbones.features(network, batch)
    assert described.ndim == 2 and described.shape[0] == 2 and described.shape[1] >= 256


def test_every_family_is_tried():
    import re

    families = {re.match("[a-z]+", name).group() for name in backbones.backbone_names()}
    tried = {re.match("[a-z]+", name).group() for name in ONE_OF_EACH}
    assert families - {"resnext", "wide"} == tried  # those two are built by resnet's code


def saved(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    return str(tmp_path / "w.pth")


def test_weights_of_any_number_of_classes_are_taken_without_their_head(tmp_path):
    other = backbones.build("mobilenet_v2", 1000)
    path = saved(tmp_path, other.state_dict())
    network = backbones.build("mobilenet_v2", 7, path)
    assert torch.equal(network.features[0][0].weight, other.features[0][0].weight)
    assert network.classifier[1].weight.shape == (7, 1280)


def test_weights_with_auxiliary_heads_fit(tmp_path):
    import torchvision

    other = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    network = backbones.build("googlenet", 7, saved(tmp_path, other.state_dict()))
    assert torch.equal(network.conv1.conv.weight, other.conv1.conv.weight)


def test_weights_of_another_architecture_are_refused_in_one_sentence(tmp_path):
    path = saved(tmp_path, backbones.build("resnet18", 10).state_dict())
    with pytest.raises(InputError, match=r"does not fit mobilenet_v2.*set backbone"):
        backbones.build("mobilenet_v2", 7, path)
    with pytest.raises(InputError, match="does not fit resnet50"):
        backbones.build("resnet50", 7, path)
    deeper = saved(tmp_path, backbones.build("resnet34", 10).state_dict())
    with pytest.raises(InputError, match="does not fit resnet18"):
        backbones.build("resnet18", 7, deeper)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}])
def test_a_file_without_weights_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="holds no state dict"):
        backbones.build("resnet18", 7, saved(tmp_path, content))


def test_a_file_that_is_no_file_of_torch_or_not_there_is_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a state dict that torch can load"):
        backbones.build("resnet18", 7, str(tmp_path / "w.pth"))
    with pytest.raises(InputError, match="is not a file; give none, imagenet or a path"):
        backbones.build("resnet18", 7, "imagnet")


def test_a_size_that_the_network_cannot_take_is_refused():
    with pytest.raises(InputError, match="image_size: vit_b_32 cannot take images of 64 pixels"):
        backbones.check_size(backbones.build("vit_b_32", 7), "vit_b_32", 64)
    backbones.check_size(backbones.build("resnet18", 7), "resnet18", 64)


def test_batch_norm_can_be_frozen():
    network = backbones.build("resnet18", 7).train()
    backbones.freeze_batch_norm(network)
    before = network.bn1.running_mean.clone()
    network(torch.rand(4, 3, 64, 64))
    assert torch.equal(network.bn1.running_mean, before)
    assert network.training


def test_pixels_are_normalised_as_they_were_when_the_networks_were_pretrained():
    usual = torchvision.models.get_model_weights("resnet18").DEFAULT.transforms()
    pixels = torch.tensor([0, 40, 80, 120, 200, 255], dtype=torch.uint8).view(2, 3, 1, 1)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (usual.mean, usual.std))
    assert tensors.normalise(pixels).numpy() == pytest.approx(((pixels / 255 - mean) / std).numpy())
