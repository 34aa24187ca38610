"""The rules that integrate along the path, on integrals known by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from memorywrap.explanation.quadrature import (
    first_panels,
    gauss_rule,
    halves,
    nodes_of,
    product_rule,
)


def integral(rule, function, slope) -> float:
    """Of function(t) * slope(t) over [0, 1], the function known at ends and nodes only."""
    known = function(torch.cat([torch.tensor([0.0]), rule.nodes, torch.tensor([1.0])]))
    return float(rule.weights @ ((rule.values @ known) * (rule.slopes @ slope(rule.nodes))))


def test_gauss_rule_is_exact_for_polynomials_of_twice_its_steps():
    cubic = integral(gauss_rule(2), lambda t: t, lambda t: t**2)
    assert cubic == pytest.approx(1 / 4, abs=1e-12)
    assert integral(gauss_rule(2), lambda t: t**2, lambda t: t**2) != pytest.approx(1 / 5, abs=1e-3)


def test_product_rule_interpolates_values_by_nodes_and_ends_and_slopes_by_nodes():
    assert integral(product_rule(), lambda t: t**4, lambda t: t**2) == pytest.approx(1 / 7, 1e-12)
    assert integral(product_rule(), lambda t: t**5, lambda t: t**2) != pytest.approx(1 / 8, 1e-12)
    assert integral(product_rule(), lambda t: t**4, lambda t: t**3) != pytest.approx(1 / 8, 1e-12)


def test_product_rule_follows_a_kink_between_the_nodes():
    rule, kink = product_rule(), 0.4
    points = rule.values @ torch.cat([torch.tensor([0.0]), rule.nodes, torch.tensor([1.0])])
    head = (points > kink).double()  # the slope of max(t - kink, 0)
    fine = float(rule.weights @ (head * (rule.slopes @ torch.ones_like(rule.nodes))))
    coarse = gauss_rule(3)
    rough = float(coarse.weights @ (coarse.nodes > kink).double())
    assert abs(fine - (1 - kink)) < 0.03 < abs(rough - (1 - kink))


def test_panels_cover_the_path_and_nodes_lie_inside():
    panels = first_panels()
    assert panels[0][0] == 0 and panels[-1][1] == 1
    assert all(left[1] == right[0] for left, right in pairwise(panels))
    assert halves((0.5, 1.0)) == [(0.5, 0.75), (0.75, 1.0)]
    nodes = nodes_of([(0.5, 1.0)], gauss_rule(1))
    assert nodes == [0.75]
