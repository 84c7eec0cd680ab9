"""Classic machine learning: linear models, clustering, nearest neighbours."""

from __future__ import annotations

from workloads.layers import classified, linear
from workloads.model import Sizes, model
from workloads.network import Gradients, Network, Recorded
from workloads.tape import Tensor


@model("logistic-regression", training=True, batch=256, features=784, classes=10)
def logistic_regression(net: Network, sizes: Sizes) -> Recorded:
    """Multinomial logistic regression by gradient descent.

    >>> logistic_regression(features=4, classes=3).weight_count
    15
    """
    x = net.given((sizes.batch, sizes.features))
    return classified(net, linear(net, x, sizes.classes), x)


@model("linear-svm", training=True, batch=256, features=500)
def linear_svm(net: Network, sizes: Sizes) -> Recorded:
    """Linear support vector machine by sub-gradient descent on hinge loss and squared length.

    >>> linear_svm(features=4).weight_count
    5
    """
    x = net.given((sizes.batch, sizes.features))
    scores = net.view(linear(net, x, 1), sizes.batch)
    if not net.training:
        return Recorded(scores, [x])
    labels = net.given((sizes.batch,))
    hinge = _hinge(net, scores, labels)
    length = _length(net, net.weights[0])
    loss = net.call("add", [hinge, length], ())
    net.link([loss], [hinge, length], lambda grad: (grad, grad))
    return Recorded(loss, [x, labels])


def _hinge(net: Network, scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of max(0, 1 - label x score)."""
    shape = scores.shape
    margin = net.call("mul", [labels, scores], shape)
    short = net.call("rsub", [margin], shape)
    out = net.call("mean", [net.call("clamp_min", [short], shape)], ())

    def backward(grad: Tensor) -> Gradients:
        each = net.call("div", [net.expanded(grad, *shape)], shape)
        zero = net.call("scalar_tensor", [], ())
        inside = net.call("ge", [short], shape, "bool")
        kept = net.call("where", [inside, each, zero], shape)
        return (net.call("mul", [net.call("neg", [kept], shape), labels], shape),)

    net.link([out], [scores], backward)
    return out


def _length(net: Network, weight: Tensor) -> Tensor:
    """Return the squared length of a weight times a number."""
    total = net.call("sum", [net.call("mul", [weight, weight], weight.shape)], ())
    out = net.call("mul", [total], ())

    def backward(grad: Tensor) -> Gradients:
        each = net.expanded(net.call("mul", [grad], ()), *weight.shape)
        return [net.call("mul", [each, weight], weight.shape) for _ in range(2)]

    net.link([out], [weight, weight], backward)
    return out


@model(training=None, batch=20_000, features=32, clusters=64)
def kmeans(net: Network, sizes: Sizes) -> Recorded:
    """One step of k-means by Lloyd's algorithm; the batch is all points.

    >>> kmeans(batch=10, features=2, clusters=3).graph.flops.sum()
    np.float64(120.0)
    """
    batch, features, clusters = sizes.batch, sizes.features, sizes.clusters
    points = net.given((batch, features))
    centres = net.given((clusters, features))
    lengths = net.call("sum", [net.call("mul", [centres, centres], centres.shape)], (clusters,))
    inputs = [lengths, points, net.transposed(centres)]
    nearest = net.call("argmin", [net.call("addmm", inputs, (batch, clusters))], (batch,), "int64")
    sums = net.call("zeros_like", [centres], centres.shape)
    net.write("index_add_", sums, nearest, points)
    counts = net.call("zeros_like", [lengths], (clusters,))
    column = net.view(points, batch)
    net.write("index_add_", counts, nearest, net.call("ones_like", [column], (batch,)))
    net.write("clamp_min_", counts)
    means = net.call("div", [sums, net.view(counts, clusters, 1)], centres.shape)
    net.write("copy_", centres, means)
    return Recorded(centres, [points])


@model(training=None, batch=256, points=20_000, features=64, neighbours=8, classes=10)
def knn(net: Network, sizes: Sizes) -> Recorded:
    """Classify queries by the labels of their nearest points, all distances computed.

    >>> knn(batch=2, points=5, features=3, neighbours=2).graph.flops.sum()
    np.float64(60.0)
    """
    batch, points = sizes.batch, sizes.points
    queries, table = net.given((batch, sizes.features)), net.given((points, sizes.features))
    lengths, labels = net.given((points,)), net.given((points,), "int64")
    inputs = [lengths, queries, net.transposed(table)]
    distances = net.call("addmm", inputs, (batch, points))
    shape = (batch, min(sizes.neighbours, points))
    nearest = net.given(shape, "int64")
    net.call_many("topk", [distances], [net.given(shape), nearest], dim=1)
    votes_for = net.call("index", [labels, nearest], shape, "int64")
    votes = net.call("zeros", [], (batch, sizes.classes))
    net.write("scatter_add_", votes, votes_for, net.call("ones_like", [votes_for], shape))
    return Recorded(votes, [queries])
