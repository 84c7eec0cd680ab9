"""Networks that classify images: LeNet-5, AlexNet, VGG, ResNet, Inception, MobileNetV2 and more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workloads.layers import (
    adaptive_pool,
    add,
    avg_pool,
    batch_norm,
    classified,
    concatenated,
    conv,
    dropout,
    flatten,
    global_pool,
    linear,
    max_pool,
    relu,
    relu6,
    sigmoid,
    tanh,
    weighted,
)
from workloads.model import Sizes, model
from workloads.models.inception import (
    INCEPTION_V3_BLOCKS,
    INCEPTION_V3_STEM,
    MAX,
    MEAN,
    Convolution,
    InceptionLayer,
)
from workloads.network import Network, Recorded
from workloads.tape import Tensor

VGG16_STAGES: tuple[tuple[int, int], ...] = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(channels, convolutions) of each stage: configuration D of Simonyan & Zisserman."""
MOBILENET_V2_STAGES: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""(expansion, channels, blocks, stride) of each stage: Sandler et al., CVPR 2018, Table 2."""


class Residuals(NamedTuple):
    """Say what a residual network is made of.

    Parameters
    ----------
    blocks : of each stage
    expansion : channels of a block's result over those of its branch; 1: no bottleneck
    groups : of the branch's 3 x 3 convolution
    widening : channels of the first stage's branches over the network's width
    squeezed : whether channels are weighted by what a small network makes of their means
    """

    blocks: tuple[int, ...]
    expansion: int = 4
    groups: int = 1
    widening: int = 1
    squeezed: bool = False


RESNETS: dict[str, Residuals] = {
    "resnet18": Residuals((2, 2, 2, 2), expansion=1),
    "resnet34": Residuals((3, 4, 6, 3), expansion=1),
    "resnet50": Residuals((3, 4, 6, 3)),
    "resnet101": Residuals((3, 4, 23, 3)),
    "resnet152": Residuals((3, 8, 36, 3)),
    "resnext101": Residuals((3, 4, 23, 3), expansion=2, groups=32, widening=2),
    "se-resnext101": Residuals((3, 4, 23, 3), expansion=2, groups=32, widening=2, squeezed=True),
}
"""He et al., CVPR 2016, Table 1; Xie et al., CVPR 2017, 32 x 4d; Hu et al., CVPR 2018."""
SQUEEZE = 16
"""Channels over those of the hidden layer that weights them: Hu et al., CVPR 2018."""


@model(batch=64, classes=10)
def lenet5(net: Network, sizes: Sizes) -> Recorded:
    """LeNet-5 on 28 x 28 grey images (LeCun et al., Proc. IEEE 86(11), 1998).

    >>> lenet5().weight_count
    61706
    """
    x = image = net.given((sizes.batch, 1, 28, 28))
    x = avg_pool(net, tanh(net, conv(net, x, 6, 5, bias=True)), 2)
    x = avg_pool(net, tanh(net, conv(net, x, 16, 5, padding=0, bias=True)), 2)
    x = flatten(net, x)
    for width in (120, 84):
        x = tanh(net, linear(net, x, width))
    return classified(net, linear(net, x, sizes.classes), image)


def _image(net: Network, sizes: Sizes) -> Tensor:
    return net.given((sizes.batch, 3, sizes.image, sizes.image))


@model("small-cnn", batch=16, image=8, channels=1, width=8, classes=10)
def small_cnn(net: Network, sizes: Sizes) -> Recorded:
    """Two convolutions and a linear layer, for small images such as scikit-learn's digits.

    >>> small_cnn().weight_count
    1898
    """
    x = given = net.given((sizes.batch, sizes.channels, sizes.image, sizes.image))
    for width in (sizes.width, 2 * sizes.width):
        x = max_pool(net, relu(net, conv(net, x, width, 3, bias=True), in_place=True), 2, 2)
    return classified(net, linear(net, flatten(net, x), sizes.classes), given)


@model("femnist-cnn", batch=10, classes=62)
def femnist_cnn(net: Network, sizes: Sizes) -> Recorded:
    """CNN on handwritten characters of LEAF (Caldas et al., arXiv:1812.01097), 28 x 28 grey.

    >>> femnist_cnn().weight_count
    6603710
    """
    x = given = net.given((sizes.batch, 1, 28, 28))
    for channels in (32, 64):
        x = max_pool(net, relu(net, conv(net, x, channels, 5, bias=True), in_place=True), 2, 2)
    x = relu(net, linear(net, flatten(net, x), 2048), in_place=True)
    return classified(net, linear(net, x, sizes.classes), given)


@model("celeba-cnn", batch=10, image=84, classes=2)
def celeba_cnn(net: Network, sizes: Sizes) -> Recorded:
    """CNN on portraits of LEAF (Caldas et al., arXiv:1812.01097).

    >>> celeba_cnn().weight_count
    31202
    """
    x = given = _image(net, sizes)
    for _ in range(4):
        x = batch_norm(net, conv(net, x, 32, 3, bias=True))
        x = relu(net, max_pool(net, x, 2, 2, padding=x.shape[2] % 2), in_place=True)
    return classified(net, linear(net, flatten(net, x), sizes.classes), given)


@model(batch=1, image=224, classes=1000)
def alexnet(net: Network, sizes: Sizes) -> Recorded:
    """AlexNet as one column (Krizhevsky, arXiv:1404.5997).

    >>> alexnet().weight_count
    61100840
    """
    x = given = _image(net, sizes)
    x = relu(net, conv(net, x, 64, 11, 4, 2, bias=True), in_place=True)
    x = max_pool(net, x, 3, 2)
    x = relu(net, conv(net, x, 192, 5, bias=True), in_place=True)
    x = max_pool(net, x, 3, 2)
    for channels in (384, 256, 256):
        x = relu(net, conv(net, x, channels, 3, bias=True), in_place=True)
    x = flatten(net, adaptive_pool(net, max_pool(net, x, 3, 2), 6))
    for _ in range(2):
        x = relu(net, linear(net, dropout(net, x), 4096), in_place=True)
    return classified(net, linear(net, x, sizes.classes), given)


@model(batch=1, image=224, classes=1000)
def vgg16(net: Network, sizes: Sizes) -> Recorded:
    """VGG-16 (Simonyan & Zisserman, ICLR 2015, configuration D).

    >>> vgg16().weight_count
    138357544
    """
    x = given = _image(net, sizes)
    for channels, depth in VGG16_STAGES:
        for _ in range(depth):
            x = relu(net, conv(net, x, channels, 3, bias=True), in_place=True)
        x = max_pool(net, x, 2, 2)
    x = flatten(net, adaptive_pool(net, x, 7))
    for _ in range(2):
        x = dropout(net, relu(net, linear(net, x, 4096), in_place=True))
    return classified(net, linear(net, x, sizes.classes), given)


def _resnet(net: Network, name: str, sizes: Sizes) -> Recorded:
    made = RESNETS[name]
    x = given = _image(net, sizes)
    x = relu(net, batch_norm(net, conv(net, x, sizes.width, 7, 2)), in_place=True)
    x = max_pool(net, x, 3, 2, 1)
    for stage, count in enumerate(made.blocks):
        for at in range(count):
            stride = 2 if stage and not at else 1
            x = _residual(net, x, (sizes.width * made.widening) << stage, stride, made)
    return classified(net, linear(net, global_pool(net, x), sizes.classes), given)


def _residual(net: Network, x: Tensor, width: int, stride: int, made: Residuals) -> Tensor:
    """Add to x (or its projection) what a branch makes of it, then ReLU."""
    channels = width * made.expansion
    plan = [(width, 3, stride), (channels, 3, 1)]
    if made.expansion > 1:
        plan = [(width, 1, 1), (width, 3, stride), (channels, 1, 1)]
    y = x
    for at, (outputs, kernel, step) in enumerate(plan):
        groups = made.groups if kernel > 1 else 1
        y = batch_norm(net, conv(net, y, outputs, kernel, step, groups=groups))
        if at < len(plan) - 1:
            y = relu(net, y, in_place=True)
    if made.squeezed:
        means = relu(net, linear(net, global_pool(net, y), channels // SQUEEZE), in_place=True)
        y = weighted(net, y, sigmoid(net, linear(net, means, channels)))
    if stride > 1 or x.shape[1] != channels:
        x = batch_norm(net, conv(net, x, channels, 1, stride))
    return relu(net, add(net, y, x, in_place=True), in_place=True)


@model(batch=1, image=224, classes=1000, width=64)
def resnet18(net: Network, sizes: Sizes) -> Recorded:
    """ResNet-18 (He et al., CVPR 2016).

    >>> resnet18().weight_count
    11689512
    """
    return _resnet(net, "resnet18", sizes)


@model(batch=1, image=224, classes=1000, width=64)
def resnet34(net: Network, sizes: Sizes) -> Recorded:
    """ResNet-34 (He et al., CVPR 2016).

    >>> resnet34().weight_count
    21797672
    """
    return _resnet(net, "resnet34", sizes)


@model(batch=1, image=224, classes=1000, width=64)
def resnet50(net: Network, sizes: Sizes) -> Recorded:
    """ResNet-50 with the stride in the 3 x 3 convolution (He et al., CVPR 2016).

    >>> resnet50().graph.flops.sum()
    np.float64(8178368512.0)
    """
    return _resnet(net, "resnet50", sizes)


@model(batch=1, image=224, classes=1000, width=64)
def resnet101(net: Network, sizes: Sizes) -> Recorded:
    """ResNet-101 with the stride in the 3 x 3 convolution (He et al., CVPR 2016).

    >>> resnet101().weight_count
    44549160
    """
    return _resnet(net, "resnet101", sizes)


@model(batch=1, image=224, classes=1000, width=64)
def resnet152(net: Network, sizes: Sizes) -> Recorded:
    """ResNet-152 with the stride in the 3 x 3 convolution (He et al., CVPR 2016).

    >>> resnet152().weight_count
    60192808
    """
    return _resnet(net, "resnet152", sizes)


@model(batch=1, image=224, classes=1000, width=64)
def resnext101(net: Network, sizes: Sizes) -> Recorded:
    """ResNeXt-101 of 32 groups of 4 channels (Xie et al., CVPR 2017).

    >>> resnext101().weight_count
    44177704
    """
    return _resnet(net, "resnext101", sizes)


@model("se-resnext101", batch=1, image=224, classes=1000, width=64)
def se_resnext101(net: Network, sizes: Sizes) -> Recorded:
    """ResNeXt-101 whose blocks weight their channels (Hu et al., CVPR 2018).

    >>> se_resnext101().weight_count
    48955416
    """
    return _resnet(net, "se-resnext101", sizes)


@model("inception-v3", batch=1, image=299, classes=1000)
def inception_v3(net: Network, sizes: Sizes) -> Recorded:
    """Inception-v3 without its auxiliary classifier (Szegedy et al., CVPR 2016).

    >>> inception_v3().weight_count
    23834568
    """
    x = given = _image(net, sizes)
    x = _inception_branch(net, x, (*INCEPTION_V3_STEM, *INCEPTION_V3_BLOCKS))
    x = dropout(net, global_pool(net, x))
    return classified(net, linear(net, x, sizes.classes), given)


def _inception_layer(net: Network, x: Tensor, layer: InceptionLayer) -> Tensor:
    """Pool, convolve, or join what branches make of an image."""
    if layer == MAX:
        return max_pool(net, x, 3, 2)
    if layer == MEAN:
        return avg_pool(net, x, 3, 1, 1)
    if isinstance(layer, Convolution):
        made = conv(net, x, layer.channels, layer.kernel, layer.stride, layer.padding)
        return relu(net, batch_norm(net, made), in_place=True)
    return concatenated(net, [_inception_branch(net, x, branch) for branch in layer])


def _inception_branch(net: Network, x: Tensor, branch: Sequence[InceptionLayer]) -> Tensor:
    for layer in branch:
        x = _inception_layer(net, x, layer)
    return x


@model("mobilenet-v2", batch=1, image=224, classes=1000)
def mobilenet_v2(net: Network, sizes: Sizes) -> Recorded:
    """MobileNetV2 (Sandler et al., CVPR 2018).

    >>> mobilenet_v2().weight_count
    3504872
    """
    x = given = _image(net, sizes)
    x = relu6(net, batch_norm(net, conv(net, x, 32, 3, 2)))
    for expansion, channels, blocks, stride in MOBILENET_V2_STAGES:
        for at in range(blocks):
            x = _inverted(net, x, channels, 1 if at else stride, expansion)
    x = relu6(net, batch_norm(net, conv(net, x, 1280, 1)))
    x = dropout(net, global_pool(net, x))
    return classified(net, linear(net, x, sizes.classes), given)


def _inverted(net: Network, x: Tensor, channels: int, stride: int, expansion: int) -> Tensor:
    """Widen, convolve each channel, narrow; add x where shapes agree."""
    y, hidden = x, x.shape[1] * expansion
    if expansion > 1:
        y = relu6(net, batch_norm(net, conv(net, y, hidden, 1)))
    y = relu6(net, batch_norm(net, conv(net, y, hidden, 3, stride, groups=hidden)))
    y = batch_norm(net, conv(net, y, channels, 1))
    return add(net, x, y) if x.shape == y.shape else y
