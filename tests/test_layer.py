"""The memory layers: weights worked out by hand, properties, gradients, the published package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from memorywrap import BaselineMemory, MemoryWrapLayer
from memorywrap.layer import DISTANCES, memory_vector, memory_weights, similarity

LAYERS = (MemoryWrapLayer, BaselineMemory)
DEVICES = ("cpu", *(["cuda"] if torch.cuda.is_available() else []))

both_layers = pytest.mark.parametrize("layer_class", LAYERS)
all_distances = pytest.mark.parametrize("distance", DISTANCES)


def embeddings(batch: int = 4, memory: int = 9, dim: int = 6) -> tuple[Tensor, Tensor]:
    """Queries and memory near each other, so that some but not all samples are used."""
    chance = torch.Generator().manual_seed(3)
    query = torch.randn(batch, dim, generator=chance)
    return query, torch.randn(memory, dim, generator=chance) * 0.7


# --- Worked out by hand. sparsemax(z): sort z falling; the used ones are the first k for the largest
# k with 1 + k z_k > z_1 + ... + z_k; then w_i = z_i - tau with tau = (z_1 + ... + z_k - 1) / k.


def test_cosine_weights_by_hand() -> None:
    # Cosines 1, 0.6, 0, -1. k = 2: 1 + 2 (0.6) = 2.2 > 1.6; k = 3: 1 + 0 < 1.6.
    # tau = (1.6 - 1) / 2 = 0.3, so w = 0.7, 0.3, 0, 0. Lengths do not matter.
    query = torch.tensor([[3.0, 0.0]])
    memory = torch.tensor([[0.0, 5.0], [1.0, 0.0], [-2.0, 0.0], [3.0, 4.0]])
    weights = memory_weights(query, memory)
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.7, 0.0, 0.3]]), atol=1e-5, rtol=0)


def test_l2_weights_by_hand() -> None:
    # Squared distances 1/4, 1/2, 1, 4. k = 2: 1 + 2 (-1/2) = 0 > -3/4; k = 3: 1 - 3 = -2 < -7/4.
    # tau = (-3/4 - 1) / 2 = -7/8, so w = 5/8, 3/8, 0, 0.
    query = torch.tensor([[1.0, 0.0]])
    memory = torch.tensor([[1.0, 0.5], [1.5, 0.5], [1.0, -1.0], [3.0, 0.0]])
    weights = memory_weights(query, memory, "l2")
    torch.testing.assert_close(weights, torch.tensor([[0.625, 0.375, 0.0, 0.0]]))


def test_dot_weights_by_hand() -> None:
    # Products 3/2, 5/4, 1, -2. k = 3: 1 + 3 = 4 > 15/4; k = 4: 1 - 8 = -7 < 7/4.
    # tau = (15/4 - 1) / 3 = 11/12, so w = 7/12, 4/12, 1/12, 0.
    query = torch.tensor([[2.0, 1.0]])
    memory = torch.tensor([[0.5, 0.5], [1.0, -0.75], [0.0, 1.0], [-1.0, 0.0]])
    weights = memory_weights(query, memory, "dot")
    torch.testing.assert_close(weights, torch.tensor([[7 / 12, 4 / 12, 1 / 12, 0.0]]))


def test_what_the_classifier_reads_by_hand() -> None:
    # The weights 0.7 and 0.3 of the cosines 1 and 0.6: v = 0.7 (1, 0) + 0.3 (0.6, 0.8).
    query, memory = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    vector = [0.88, 0.24]
    reads_both = MemoryWrapLayer(2, 4, classifier=nn.Identity())
    reads_memory = BaselineMemory(2, 2, classifier=nn.Identity())
    torch.testing.assert_close(
        reads_both(query, memory), torch.tensor([[1.0, 0.0, *vector]]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        reads_memory(query, memory), torch.tensor([vector]), atol=1e-5, rtol=0
    )


# --- Properties.


@all_distances
def test_weights_sum_to_one_and_some_are_exactly_zero(distance: str) -> None:
    weights = memory_weights(*embeddings(batch=16), distance)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(16))
    assert (weights >= 0).all()
    assert (weights == 0).any(dim=1).all()


@all_distances
def test_permuting_memory_permutes_weights_and_leaves_the_output(distance: str) -> None:
    query, memory = embeddings()
    order = torch.randperm(len(memory), generator=torch.Generator().manual_seed(0))
    layer = MemoryWrapLayer(6, 3, distance=distance)
    output, weights = layer(query, memory, return_weights=True)
    permuted_output, permuted = layer(query, memory[order], return_weights=True)
    torch.testing.assert_close(permuted, weights[:, order])
    torch.testing.assert_close(permuted_output, output)


@all_distances
def test_masking_equals_removing(distance: str) -> None:
    query, memory = embeddings()
    mask = torch.tensor([True, True, False, True, False, True, True, True, False])
    masked = memory_weights(query, memory, distance, mask.expand(len(query), -1))
    torch.testing.assert_close(masked[:, mask], memory_weights(query, memory[mask], distance))
    assert (masked[:, ~mask] == 0).all()


@all_distances
def test_masking_may_differ_between_queries(distance: str) -> None:
    query, memory = embeddings(batch=9)
    masked = memory_weights(query, memory, distance, ~torch.eye(9, dtype=torch.bool))
    for row in range(9):
        others = torch.arange(9) != row
        alone = memory_weights(query[row : row + 1], memory[others], distance)
        torch.testing.assert_close(masked[row, others], alone[0])


@all_distances
def test_a_sample_that_is_not_used_changes_nothing(distance: str) -> None:
    query, memory = embeddings(batch=1)
    far = -10 * query
    padded = memory_weights(query, torch.cat([memory, far, far]), distance)
    torch.testing.assert_close(padded[:, :-2], memory_weights(query, memory, distance))
    assert (padded[:, -2:] == 0).all()


@all_distances
def test_identical_samples_share_the_weight(distance: str) -> None:
    query, memory = embeddings(memory=1)
    weights = memory_weights(query, memory.expand(5, -1), distance)
    torch.testing.assert_close(weights, torch.full((4, 5), 0.2))


@both_layers
@all_distances
def test_one_query_and_one_memory_sample(layer_class: type[nn.Module], distance: str) -> None:
    query, memory = embeddings(batch=1, memory=1)
    output, weights = layer_class(6, 3, distance=distance)(query, memory, return_weights=True)
    assert output.shape == (1, 3)
    torch.testing.assert_close(weights, torch.ones(1, 1))


@both_layers
@all_distances
def test_memory_of_its_own_for_each_query_equals_a_loop(
    layer_class: type[nn.Module], distance: str
) -> None:
    query, _ = embeddings()
    memory = torch.randn(4, 9, 6, generator=torch.Generator().manual_seed(5)) * 0.7
    layer = layer_class(6, 3, distance=distance)
    output, weights = layer(query, memory, return_weights=True)
    for row in range(len(query)):
        one, one_weights = layer(query[row : row + 1], memory[row], return_weights=True)
        torch.testing.assert_close(output[row : row + 1], one)
        torch.testing.assert_close(weights[row : row + 1], one_weights)


@both_layers
def test_return_weights_only_adds_the_weights(layer_class: type[nn.Module]) -> None:
    query, memory = embeddings()
    layer = layer_class(6, 3)
    output, weights = layer(query, memory, return_weights=True)
    torch.testing.assert_close(layer(query, memory), output)
    torch.testing.assert_close(layer.read(query, memory, weights), output)
    torch.testing.assert_close(weights, memory_weights(query, memory))


def test_similarity_of_equals_is_the_highest() -> None:
    query, _ = embeddings()
    for distance in ("cosine", "l2"):
        found = similarity(query, query, distance)
        assert found.argmax(dim=1).tolist() == [0, 1, 2, 3]


# --- Gradients.


@both_layers
@all_distances
def test_gradients_in_double_precision(layer_class: type[nn.Module], distance: str) -> None:
    query, memory = (value.double().requires_grad_() for value in embeddings(batch=3, memory=5))
    # Sparsemax has a kink where a weight is about to become zero or to leave it: stay away.
    scores = similarity(query, memory, distance)
    weights = memory_weights(query, memory, distance)
    thresholds = (scores - weights).masked_fill(weights == 0, -torch.inf).amax(dim=1, keepdim=True)
    assert float((scores - thresholds).abs().min().detach()) > 1e-3
    layer = layer_class(6, 3, nn.Tanh(), distance=distance).double()

    def run(query: Tensor, memory: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return layer(query, memory, return_weights=True)

    assert torch.autograd.gradcheck(run, (query, memory, *layer.parameters()))


@both_layers
@all_distances
def test_zero_embeddings_have_finite_outputs_and_gradients(
    layer_class: type[nn.Module], distance: str
) -> None:
    for zero_query, zero_memory in ((True, False), (False, True), (True, True)):
        query, memory = embeddings()
        query[0] *= not zero_query
        memory[2] *= not zero_memory
        query.requires_grad_()
        memory.requires_grad_()
        output = layer_class(6, 3, distance=distance)(query, memory)
        output.square().sum().backward()
        assert output.isfinite().all()
        assert query.grad.isfinite().all()
        assert memory.grad.isfinite().all()


# --- Precision and devices.


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@both_layers
@all_distances
def test_every_precision_gives_its_own_dtype_and_the_same_answer(
    layer_class: type[nn.Module], distance: str, dtype: torch.dtype, device: str
) -> None:
    query, memory = (value.to(device, dtype) for value in embeddings())
    torch.manual_seed(0)
    layer = layer_class(6, 3, distance=distance).to(device, dtype)
    output, weights = layer(query, memory, return_weights=True)
    exact = layer.double()(query.double(), memory.double(), return_weights=True)
    assert (output.dtype, weights.dtype) == (dtype, dtype)
    close = {"atol": 3 * torch.finfo(dtype).eps, "rtol": 3 * torch.finfo(dtype).eps}
    torch.testing.assert_close(weights.double(), exact[1], **close)
    torch.testing.assert_close(output.double(), exact[0], **close)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_half_precision_embeddings_do_not_overflow(dtype: torch.dtype) -> None:
    query, memory = embeddings()
    weights = memory_weights((300 * query).to(dtype), (300 * memory).to(dtype))
    torch.testing.assert_close(weights.float(), memory_weights(query, memory), atol=0.02, rtol=0)


def test_autocast_does_not_reach_the_weights() -> None:
    query, memory = embeddings()
    with torch.autocast("cpu", torch.bfloat16):
        weights = memory_weights(query, memory)
    torch.testing.assert_close(weights, memory_weights(query, memory))


# --- Wrong input: expected and received, in words.


@both_layers
@pytest.mark.parametrize(
    ("query_shape", "memory_shape", "message"),
    [
        ((6,), (9, 6), r"\(batch, dim\).*received \(6,\) and \(9, 6\)"),
        ((4, 6), (6,), r"\(memory, dim\).*received \(4, 6\) and \(6,\)"),
        ((4, 6), (9, 5), r"dim: expected 6 as in the input, received 5 in memory \(9, 5\)"),
        ((4, 5), (9, 5), r"expected shape \(batch, 6\), received \(4, 5\)"),
        ((4, 6), (3, 9, 6), r"expected \(4, memory, dim\), received \(3, 9, 6\)"),
        ((4, 6), (0, 6), r"at least one sample, received \(0, 6\)"),
    ],
)
def test_wrong_shapes_show_expected_and_received(
    layer_class: type[nn.Module],
    query_shape: tuple[int, ...],
    memory_shape: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        layer_class(6, 3)(torch.zeros(query_shape), torch.zeros(memory_shape))


def test_a_mask_of_the_wrong_shape_shows_expected_and_received() -> None:
    query, memory = embeddings()
    with pytest.raises(ValueError, match=r"expected shape \(4, 9\).*received \(9,\)"):
        memory_weights(query, memory, mask=torch.ones(9, dtype=torch.bool))


@both_layers
def test_unknown_distance_names_the_known_ones(layer_class: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="'manhattan': expected one of cosine, l2, dot"):
        layer_class(6, 3, distance="manhattan")
    with pytest.raises(ValueError, match="'manhattan': expected one of cosine, l2, dot"):
        memory_weights(*embeddings(), "manhattan")


def test_memory_vector_is_the_weighted_sum() -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    memory = torch.tensor([[2.0, 0.0], [4.0, 4.0], [0.0, 8.0]])
    expected = torch.tensor([[3.0, 2.0], [1.0, 7.0]])
    torch.testing.assert_close(memory_vector(weights, memory), expected)
    torch.testing.assert_close(memory_vector(weights, memory.expand(2, -1, -1)), expected)


# --- As its users know it, and as the published package computes it.


def test_sizes_of_the_default_classifiers() -> None:
    wrap, baseline = MemoryWrapLayer(6, 3), BaselineMemory(6, 3)
    assert (wrap.classifier.fc1.in_features, wrap.classifier.fc1.out_features) == (12, 24)
    assert (baseline.classifier.fc1.in_features, baseline.classifier.fc1.out_features) == (6, 12)
    assert wrap.classifier.fc2.out_features == baseline.classifier.fc2.out_features == 3


@both_layers
def test_activation_by_place_and_by_name(layer_class: type[nn.Module]) -> None:
    assert isinstance(layer_class(6, 3).classifier.activation, nn.ReLU)
    assert isinstance(layer_class(6, 3, nn.Tanh()).classifier.activation, nn.Tanh)
    named = layer_class(encoder_dim=6, output_dim=3, mlp_activation=nn.GELU())
    assert isinstance(named.classifier.activation, nn.GELU)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """memorywrap 1.1.7 from the package index, under another name: it is called as ours is."""
    folder = tmp_path_factory.mktemp("published")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    install += ["--retries", "0", "--timeout", "10", "--target", str(folder), "memorywrap==1.1.7"]
    try:
        done = subprocess.run(
            [sys.executable, *install], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("memorywrap 1.1.7 cannot be had: pip did not answer within 60 s")
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:]
        pytest.skip(f"memorywrap 1.1.7 cannot be had: {' '.join(reason)}")
    where = folder / "memorywrap" / "memory.py"
    spec = importlib.util.spec_from_file_location("published_memorywrap", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@both_layers
@all_distances
def test_agrees_with_the_published_package(
    published: ModuleType, layer_class: type[nn.Module], distance: str
) -> None:
    torch.manual_seed(0)
    theirs = getattr(published, layer_class.__name__)(32, 10, distance=distance)
    ours = layer_class(32, 10, distance=distance)
    ours.load_state_dict(theirs.state_dict())
    for scale in (0.1, 1.0, 10.0):
        query, memory = torch.randn(16, 32) * scale, torch.randn(50, 32) * scale
        expected = theirs(query, memory, return_weights=True)
        received = ours(query, memory, return_weights=True)
        for ours_part, theirs_part in zip(received, expected, strict=True):
            torch.testing.assert_close(ours_part, theirs_part, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_memory_is_read_in_chunks_with_the_same_weights(dtype, monkeypatch) -> None:
    chance = torch.Generator().manual_seed(0)
    query = torch.randn(3, 8, generator=chance, dtype=dtype)
    memory = torch.randn(1000, 8, generator=chance, dtype=dtype)
    memory[7] = 0  # whose cosine is 0
    alike = similarity(query, memory)
    plain = memory_weights(query, memory)
    monkeypatch.setattr("memorywrap.layer._CHUNK", 37)
    monkeypatch.setattr("memorywrap.layer._RANKED", 4)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    assert torch.allclose(similarity(query, memory), alike, rtol=0, atol=tolerance)
    assert torch.allclose(memory_weights(query, memory), plain, rtol=0, atol=10 * tolerance)
    learned = query.clone().requires_grad_()
    memory_weights(learned, memory)[0, 0].backward()  # and gradients flow as before
    assert learned.grad is not None and learned.grad.isfinite().all()


@pytest.mark.parametrize("ranked", [1, 3, 50])
@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-3, 0.1, 10.0])
def test_ranking_the_highest_scores_alone_is_exact(ranked, spread, monkeypatch) -> None:
    """Also where nearly all samples are used: more are ranked then."""
    chance = torch.Generator().manual_seed(1)
    query = torch.ones(20, 4, dtype=torch.float64)
    memory = 1 + spread * torch.randn(300, 4, generator=chance, dtype=torch.float64)
    mask = torch.rand(20, 300, generator=chance) > 0.3
    whole = memory_weights(query, memory, mask=mask)
    monkeypatch.setattr("memorywrap.layer._RANKED", ranked)
    assert torch.allclose(memory_weights(query, memory, mask=mask), whole, rtol=0, atol=1e-12)
    assert torch.allclose(whole.sum(dim=1), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("layer", [MemoryWrapLayer, BaselineMemory])
def test_calls_written_for_the_published_package_work(layer):
    torch.manual_seed(0)
    query, memory = torch.randn(3, 8), torch.randn(5, 8)
    inputs = 16 if layer is MemoryWrapLayer else 8
    own = nn.Sequential(nn.Linear(inputs, 4), nn.Tanh(), nn.Linear(4, 2))
    named = layer(encoder_output_dim=8, output_dim=2, classifier=own, distance="l2")
    placed = layer(8, 2, own, "l2")
    assert placed.classifier is own and placed.distance == "l2"
    expected = named(query, memory, True)
    for one, other in zip(
        placed(encoder_output=query, memory_set=memory, return_weights=True), expected, strict=True
    ):
        assert torch.equal(one, other)
    for activation in (nn.PReLU(), nn.GELU()):  # the first has a weight
        assert layer(8, 2, activation).classifier.activation is activation
    assert layer(8, 2, nn.Identity())(query, memory).shape == (3, inputs)  # for a head of one's own
    with pytest.raises(TypeError, match="two names of the same"):
        layer(8, encoder_output_dim=4, output_dim=2)
    with pytest.raises(TypeError, match="two names of the same"):
        named(query, memory, memory_set=memory)
    with pytest.raises(TypeError, match="encoder_dim and output_dim"):
        layer(8)
    with pytest.raises(TypeError, match="expected an input encoding"):
        named(query)
