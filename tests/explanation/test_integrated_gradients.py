"""Integrated gradients over input and used memory: exactness, agreement with Captum, the cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from memorywrap import BaselineMemory, MemoryWrapLayer
from memorywrap.encoders import create_encoder
from memorywrap.explanation.baselines import BASELINES, STARTS
from memorywrap.explanation.integrated_gradients import (
    MAX_STEPS,
    Attribution,
    Case,
    _averaged,
    integrated_gradients,
)
from memorywrap.explanation.path_cache import PathCache

SIZE = 8


def small_encoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(8 * 4, 7),
    )


def attributed(
    encoder: nn.Module, layer: nn.Module, image: Tensor, memory: Tensor, target: int, **settings
) -> Attribution:
    """One case on its own, from the paper's baseline."""
    shared = {
        name: settings.pop(name) for name in ("baseline", "steps", "cache") if name in settings
    }
    shared.setdefault("baseline", "white")
    case = Case(image, memory, target, **settings)
    return integrated_gradients(encoder, layer, [case], **shared)[0]


@pytest.fixture
def scene() -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """A random model in double precision, an image and five used memory samples."""
    torch.manual_seed(3)
    encoder, layer = small_encoder().double(), MemoryWrapLayer(7, 4).double()
    return encoder, layer, torch.rand(3, SIZE, SIZE).double(), torch.rand(5, 3, SIZE, SIZE).double()


def captum_one_step_at_a_time(
    encoder: nn.Module, layer: nn.Module, image: Tensor, memory: Tensor, target: int, steps: int
) -> tuple[Tensor, Tensor]:
    """Captum with memory on a batch axis and one step a batch: slow, and right by construction."""

    def forward(images: Tensor, memories: Tensor) -> Tensor:
        flat = encoder(memories.flatten(0, 1)).unflatten(0, memories.shape[:2])
        return layer(encoder(images), flat)

    inputs = (image[None], memory[None])
    return captum.attr.IntegratedGradients(forward).attribute(
        inputs,
        baselines=tuple(torch.ones_like(part) for part in inputs),
        target=target,
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=1,
    )


def test_a_contrast_is_attributed_as_if_it_stood_beside_the_used_samples(scene) -> None:
    encoder, layer, image, memory = scene
    _, expected = captum_one_step_at_a_time(encoder, layer, image, memory, target=1, steps=9)
    ours = attributed(
        encoder, layer, image, memory[:4], 1, steps=9, shown=[0], contrast=(memory[4], b"4")
    )
    torch.testing.assert_close(ours.contrast_map, expected[0, 4], rtol=1e-6, atol=1e-9)
    alone = attributed(encoder, layer, image, memory[:4], 1, steps=9, shown=[0])
    assert alone.contrast_map is None
    torch.testing.assert_close(ours.input_map, alone.input_map)
    torch.testing.assert_close(ours.memory_totals, alone.memory_totals)


def test_samples_without_weight_cost_no_encoder_pass() -> None:
    seen = []

    def embed(images: Tensor) -> Tensor:  # alike for white images, apart for coloured ones
        if images.requires_grad:
            seen.append(len(images))
        return 3 * (1 - images).mean(dim=(2, 3)) - 1

    layer = MemoryWrapLayer(3, 4).double()
    colours = torch.tensor([[1, 0, 0], [0.9, 0, 0], [0, 1, 0.2]]).double()
    red, reddish, green = colours[:, :, None, None].expand(3, 3, SIZE, SIZE)
    ours = attributed(embed, layer, red, torch.stack([reddish, green]), 1, steps=12, shown=[0, 1])
    _, expected = captum_one_step_at_a_time(
        embed, layer, red, torch.stack([reddish, green]), target=1, steps=12
    )
    for place in (0, 1):
        torch.testing.assert_close(ours.memory_maps[place], expected[0, place])
    assert ours.memory_maps[1].abs().max() > 0
    path, samples = seen[:2]
    assert path == 12 < samples < 24  # all of the one sample's path, a part of the other's


@pytest.mark.parametrize("layer_type", [MemoryWrapLayer, BaselineMemory])
@pytest.mark.parametrize("distance", ["cosine", "l2", "dot"])
def test_agrees_with_captum_run_one_step_at_a_time(scene, layer_type, distance) -> None:
    encoder, _, image, memory = scene
    layer = layer_type(7, 4, distance=distance).double()
    expected_image, expected_memory = captum_one_step_at_a_time(
        encoder, layer, image, memory, target=2, steps=12
    )
    ours = attributed(encoder, layer, image, memory, 2, steps=12, shown=range(5))
    torch.testing.assert_close(ours.input_map, expected_image[0], rtol=1e-6, atol=1e-9)
    for position in range(5):
        torch.testing.assert_close(
            ours.memory_maps[position], expected_memory[0, position], rtol=1e-6, atol=1e-9
        )
    torch.testing.assert_close(
        ours.memory_totals, expected_memory[0].sum(dim=(1, 2, 3)), rtol=1e-6, atol=1e-9
    )


def test_contrasts_of_several_cases_are_told_apart_without_keys_of_their_own(scene) -> None:
    encoder, layer, image, memory = scene
    cases = [Case(image, memory[:1], 1, contrast=(memory[at], b"same")) for at in range(1, 5)]
    together = integrated_gradients(encoder, layer, cases, steps=4)
    assert any(found.contrast_map.any() for found in together[1:])
    for case, found in zip(cases, together, strict=True):
        (alone,) = integrated_gradients(encoder, layer, [case], steps=4)
        torch.testing.assert_close(found.contrast_map, alone.contrast_map)


@pytest.mark.parametrize("name", ["compact", "vit"])  # attention is fused where nothing is trained
def test_agrees_with_captum_in_single_precision_on(name: str) -> None:
    torch.manual_seed(0)
    encoder, layer = create_encoder(name).eval().requires_grad_(False), MemoryWrapLayer(256, 10)
    image, memory = torch.rand(3, 32, 32), torch.rand(3, 3, 32, 32)
    expected_image, expected_memory = captum_one_step_at_a_time(
        encoder, layer, image, memory, target=1, steps=4
    )
    ours = attributed(encoder, layer, image, memory, 1, steps=4, shown=[1])
    for map_, expected in (
        (ours.input_map, expected_image[0]),
        (ours.memory_maps[1], expected_memory[0, 1]),
    ):
        assert float((map_ - expected).norm() / expected.norm()) < 1e-4


def test_explanations_in_several_threads_do_not_disturb_each_other() -> None:
    torch.manual_seed(0)
    encoder, layer = create_encoder("compact").eval(), MemoryWrapLayer(256, 10)
    image, memory = torch.rand(3, 32, 32), torch.rand(3, 3, 32, 32)

    def attribute(_: int) -> Tensor:
        return attributed(encoder, layer, image, memory, 1, steps=2).input_map

    with ThreadPoolExecutor(4) as threads:
        maps = list(threads.map(attribute, range(8)))
    for map_ in maps[1:]:
        torch.testing.assert_close(map_, maps[0])


class _Linear(nn.Module):
    """An encoder that sums pixels of each channel with fixed weights: attributions by hand."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_linear_model_with_one_sample_has_attributions_known_in_closed_form() -> None:
    # One memory sample has weight 1 whatever the similarity, so with a linear encoder and a linear
    # classifier F = a . mean(image) + b . mean(sample): each pixel gets its weight / (h w) times its
    # distance from the baseline.
    a, b = torch.tensor([1.0, -2.0, 3.0]).double(), torch.tensor([0.5, 4.0, -1.0]).double()
    classifier = nn.Linear(6, 1, bias=False).double()
    classifier.weight.data = torch.cat([a, b])[None]
    layer = MemoryWrapLayer(3, 1, classifier=classifier)
    image, memory = torch.rand(3, 4, 4).double(), torch.rand(1, 3, 4, 4).double()
    ours = attributed(_Linear(), layer, image, memory, 0, baseline="black", steps=1, shown=[0])
    torch.testing.assert_close(ours.input_map, a[:, None, None] * image / 16)
    torch.testing.assert_close(ours.memory_maps[0], b[:, None, None] * memory[0] / 16)
    assert ours.completeness_error < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_automatic_steps_are_complete_on_random_models(seed: int) -> None:
    torch.manual_seed(seed)
    encoder, layer = small_encoder().double(), MemoryWrapLayer(7, 4).double()
    image, memory = torch.rand(3, SIZE, SIZE).double(), torch.rand(6, 3, SIZE, SIZE).double()
    ours = attributed(encoder, layer, image, memory, 0, shown=range(6))
    assert ours.converged
    assert ours.completeness_error <= 0.01
    total = ours.input_map.sum() + sum(map_.sum() for map_ in ours.memory_maps.values())
    assert float(total) == pytest.approx(ours.change, rel=0.01)
    for position, map_ in ours.memory_maps.items():
        assert float(map_.sum()) == pytest.approx(float(ours.memory_totals[position]), abs=1e-9)


def test_automatic_steps_agree_with_captum_at_many_steps(scene) -> None:
    encoder, layer, image, memory = scene
    expected_image, expected_memory = captum_one_step_at_a_time(
        encoder, layer, image, memory, target=1, steps=400
    )
    ours = attributed(encoder, layer, image, memory, 1, shown=range(5))
    assert ours.steps < 50
    scale = expected_memory.abs().max()
    torch.testing.assert_close(ours.input_map, expected_image[0], rtol=0, atol=0.01 * scale)
    for position in range(5):
        torch.testing.assert_close(
            ours.memory_maps[position], expected_memory[0, position], rtol=0, atol=0.01 * scale
        )


def test_a_contrast_agrees_with_captum_at_many_steps(scene) -> None:
    encoder, layer, image, memory = scene
    _, expected = captum_one_step_at_a_time(encoder, layer, image, memory, target=1, steps=400)
    ours = attributed(encoder, layer, image, memory[:4], 1, contrast=(memory[4], b"4"))
    scale = expected.abs().max()
    torch.testing.assert_close(ours.contrast_map, expected[0, 4], rtol=0, atol=0.01 * scale)


class _Stairs(nn.Module):
    """Logits that jump along the path: no quadrature can follow them."""

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        return (queries * 40).floor() + 1e-3 * queries + 0 * memory.sum(dim=(1, 2))[:, None]


def test_says_so_when_the_most_steps_do_not_suffice() -> None:
    image, memory = torch.full((3, 4, 4), 0.3), torch.rand(1, 3, 4, 4)
    ours = attributed(_Linear(), _Stairs(), image, memory, 0)
    assert not ours.converged
    assert ours.completeness_error > 0.5
    assert ours.steps >= MAX_STEPS


@pytest.mark.slow
def test_says_whether_the_error_is_within_twice_the_tolerance(monkeypatch) -> None:
    monkeypatch.setattr("memorywrap.explanation.integrated_gradients.MAX_STEPS", 15)
    verdicts = {}
    for seed in range(40):
        torch.manual_seed(seed)
        image, memory = torch.rand(3, SIZE, SIZE), torch.rand(5, 3, SIZE, SIZE)
        ours = attributed(
            small_encoder(), MemoryWrapLayer(7, 4), image, memory, 1, baseline="black"
        )
        verdicts[ours.completeness_error] = ours.converged
    assert any(0.004 < error < 0.02 for error in verdicts)
    assert all(verdict == (error <= 0.004) for error, verdict in verdicts.items())


def test_a_mean_converged_if_all_starts_did_and_its_own_error_is_small() -> None:
    def one(total: float, change: float, converged: bool = True) -> Attribution:
        error = abs(total / change - 1)
        nothing = torch.zeros(1)
        return Attribution(nothing, {}, None, total, nothing, change, 15, error, converged)

    small, cancelling, missed = one(1.001, 1.0), one(-0.8991, -0.9), one(1.0, 1.0, converged=False)
    assert _averaged([small, small], None).converged
    assert not _averaged([small, missed], None).converged
    assert not _averaged([small, cancelling], None).converged
    assert _averaged([small, cancelling], 15).converged is None  # nothing was promised


def test_a_fixed_number_of_steps_promises_nothing(scene) -> None:
    encoder, layer, image, memory = scene
    assert attributed(encoder, layer, image, memory, 1, steps=2).converged is None
    assert attributed(encoder, layer, image, memory, 1).converged is not None


def test_order_of_memory_and_cached_paths_change_nothing(scene) -> None:
    encoder, layer, image, memory = scene
    keys = [bytes([i]) for i in range(5)]
    cache = PathCache(encoder)
    cold = attributed(encoder, layer, image, memory, 1, cache=cache, keys=keys)
    size = len(cache)
    order = [3, 0, 4, 1, 2]
    warm = attributed(
        encoder, layer, image, memory[order], 1, cache=cache, keys=[keys[i] for i in order]
    )
    assert len(cache) == size
    torch.testing.assert_close(warm.memory_totals, cold.memory_totals[order])
    torch.testing.assert_close(warm.input_map, cold.input_map)


def test_a_warm_cache_encodes_only_the_input_and_the_shown_samples(scene) -> None:
    encoder, layer, image, memory = scene
    encoded: list[int] = []

    def counting(images: Tensor) -> Tensor:
        encoded.append(len(images))
        return encoder(images)

    cache, keys = PathCache(counting), [bytes([i]) for i in range(5)]
    arguments = {"steps": 10, "cache": cache, "keys": keys, "shown": [2]}
    attributed(counting, layer, image, memory, 1, **arguments)
    encoded.clear()
    attributed(counting, layer, image, memory, 1, **arguments)
    # The two ends of the path, ten steps of the input, ten of the one sample that is shown.
    assert sum(encoded) == 2 + 10 + 10


def test_cache_forgets_what_was_asked_for_longest_ago(scene) -> None:
    encoder, _, _, memory = scene
    keys, row = [bytes([i]) for i in range(5)], 7 * 8  # seven numbers in double precision
    cache = PathCache(encoder, most_bytes=12 * row)
    for step in (0.1, 0.2, 0.1, 0.3):
        found = cache.embeddings(keys, memory, "black", [step])[0]
        torch.testing.assert_close(found, encoder(step * memory))
    assert len(cache) == 10
    assert {step for _, step, _ in cache._rows} == {0.1, 0.3}


def test_cache_keeps_each_sample_and_step_once(scene) -> None:
    encoder, _, _, memory = scene
    cache = PathCache(encoder)
    twice = memory[[0, 0, 1]]
    found = cache.embeddings([b"a", b"a", b"b"], twice, "black", [0.5, 0.5])
    torch.testing.assert_close(found, encoder(0.5 * twice).expand(2, -1, -1))
    assert (len(cache), cache.size) == (2, 2 * 7 * 8)


def test_the_embedding_function_needs_no_trainable_parameters(scene) -> None:
    encoder, layer, image, memory = scene
    expected = attributed(encoder, layer, image, memory, 1, steps=6)
    encoder.requires_grad_(False), layer.requires_grad_(False)
    frozen = attributed(encoder, layer, image, memory, 1, steps=6)
    torch.testing.assert_close(frozen.input_map, expected.input_map)
    with torch.no_grad():
        inside = attributed(encoder, layer, image, memory, 1, steps=6)
    torch.testing.assert_close(inside.input_map, expected.input_map)


@pytest.mark.slow
def test_cases_side_by_side_are_what_they_are_alone(scene) -> None:
    encoder, layer, image, memory = scene
    torch.manual_seed(11)
    cases = [
        Case(image, memory[:2], 1, shown=[0, 1], contrast=(memory[2], b"2")),
        Case(torch.rand_like(image), memory[1:4], 2, shown=[2]),
        Case(torch.rand_like(image), memory, 0, against=3),
    ]
    for settings in ({}, {"steps": 5}, {"baseline": "noise"}):
        together = integrated_gradients(encoder, layer, cases, **settings)
        for case, ours in zip(cases, together, strict=True):
            (alone,) = integrated_gradients(encoder, layer, [case], **settings)
            assert (ours.steps, ours.converged) == (alone.steps, alone.converged)
            assert ours.completeness_error == pytest.approx(alone.completeness_error, abs=1e-9)
            torch.testing.assert_close(ours.input_map, alone.input_map)
            torch.testing.assert_close(ours.memory_totals, alone.memory_totals)
            torch.testing.assert_close(ours.memory_maps, alone.memory_maps)
            torch.testing.assert_close(ours.contrast_map, alone.contrast_map)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"baseline": "grey"}, "white, black"), ({"steps": 0}, "expected at least 1, received 0")],
)
def test_wrong_settings_are_named(scene, arguments, message) -> None:
    encoder, layer, image, memory = scene
    with pytest.raises(ValueError, match=message):
        attributed(encoder, layer, image, memory, 1, **arguments)


def test_baselines_are_what_their_names_say() -> None:
    pictures = torch.rand(2, 3, SIZE, SIZE)
    starts = {name: start(pictures) for name, start in STARTS.items()}
    assert (starts["white"] == 1).all() and (starts["black"] == 0).all()
    plain = pictures.mean(dim=(2, 3))[..., None, None].expand(2, 3, SIZE, SIZE)
    torch.testing.assert_close(starts["mean"], plain)
    framed = torch.full((1, 3, SIZE, SIZE), 0.2)
    framed[..., 1:-1, 1:-1] = 0.9
    torch.testing.assert_close(STARTS["border"](framed), torch.full_like(framed, 0.2))
    roughness = [picture.diff(dim=3).abs().mean() for picture in (pictures, starts["blur"])]
    assert 0 < roughness[1] < roughness[0] / 2
    noises = [starts[name] for name in BASELINES["noise"]]
    for noise in noises:
        assert torch.equal(noise[0], noise[1])  # the same wherever a path begins
        assert 0.2 < noise.mean() < 0.8 and noise.std() > 0.2
    assert not torch.equal(noises[0], noises[1])


def test_noise_averages_the_attributions_from_several_starts(scene) -> None:
    encoder, layer, image, memory = scene
    settings = {"steps": 6, "shown": [1], "contrast": (memory[4], b"4")}
    ours = attributed(encoder, layer, image, memory[:4], 1, baseline="noise", **settings)
    alone = []
    for start in BASELINES["noise"]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BASELINES, "noise", (start,))
            alone.append(
                attributed(encoder, layer, image, memory[:4], 1, baseline="noise", **settings)
            )
    assert len(alone) > 1 and not torch.equal(alone[0].input_map, alone[1].input_map)
    for part in (
        lambda one: one.input_map,
        lambda one: one.memory_maps[1],
        lambda one: one.contrast_map,
        lambda one: one.memory_totals,
    ):
        torch.testing.assert_close(part(ours), torch.stack([part(one) for one in alone]).mean(0))
    assert ours.steps == sum(one.steps for one in alone)
    total = ours.input_total + float(ours.memory_totals.sum())
    assert ours.completeness_error == pytest.approx(abs(total / ours.change - 1))


@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_is_complete(scene, baseline) -> None:
    encoder, layer, image, memory = scene
    ours = attributed(encoder, layer, image, memory, 1, baseline=baseline)
    assert ours.converged and ours.completeness_error < 0.005


def test_contrastive_attribution_is_the_difference_of_two_plain_ones(scene) -> None:
    encoder, layer, image, memory = scene
    both = [
        attributed(encoder, layer, image, memory, target, steps=8, shown=[0]) for target in (1, 3)
    ]
    ours = attributed(encoder, layer, image, memory, 1, against=3, steps=8, shown=[0])
    torch.testing.assert_close(ours.input_map, both[0].input_map - both[1].input_map)
    torch.testing.assert_close(ours.memory_maps[0], both[0].memory_maps[0] - both[1].memory_maps[0])
    torch.testing.assert_close(ours.memory_totals, both[0].memory_totals - both[1].memory_totals)
