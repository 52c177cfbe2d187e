"""Charts of plans and fits: curves of equal loss have that loss, points are those that were measured."""

import numpy as np
import pytest

from puna.lineage.report.plane import NARROW, WIDE, draw, plane_page, plane_svg
from puna.scaling.chart import KNOWN, fit_plane, plan_plane, size_groups
from puna.scaling.fit.approaches import FitOptions, fit_points
from puna.scaling.law import REFIT
from puna.scaling.plan import Budget, Workload, make_plan
from tests.scaling.fit.test_approaches import TIED, made

LLAMA = make_plan(Budget(gpus=1024), REFIT, Workload(parameters=8.03e9, tokens=15e12))


def test_curves_of_equal_loss_have_it_and_the_best_line_is_the_laws() -> None:
    plane = plan_plane(REFIT, LLAMA)
    labelled = [trace for trace in plane.traces if trace.label]
    assert 3 <= len(labelled) <= 8
    for trace in labelled:
        losses = [REFIT.loss(n, d) for n, d in trace.points]
        assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-9)
        assert float(trace.label) == pytest.approx(losses[0], abs=0.006)
    (mine,) = [trace for trace in plane.traces if trace.css == "strong"]
    assert REFIT.loss(*mine.points[50]) == pytest.approx(LLAMA.predicted_loss)
    (best,) = [trace for trace in plane.traces if trace.name == "best for each FLOPs"]
    n, d = best.points[20]
    assert (n, d) == pytest.approx(REFIT.optimal(6 * n * d))
    (same,) = [trace for trace in plane.traces if trace.css == "dashed"]
    assert [6 * n * d for n, d in same.points] == pytest.approx([6 * LLAMA.num_parameters * LLAMA.num_tokens] * 50)


def test_the_plan_its_roads_and_known_models_are_on_it() -> None:
    plane = plan_plane(REFIT, LLAMA)
    places = {(spot.x, spot.y): spot for spot in plane.spots}
    assert places[LLAMA.num_parameters, LLAMA.num_tokens].name == "plan"
    for road in (*LLAMA.smaller_models, *LLAMA.larger_models):
        assert REFIT.loss(road.parameters, road.tokens) == pytest.approx(LLAMA.predicted_loss)
        assert places[road.parameters, road.tokens].name == f"{road.overhead:+.0%} FLOPs"
    assert {spot.name for spot in plane.spots if spot.css == "hollow"} == {name for name, _, _ in KNOWN}
    for spot in plane.spots:
        assert plane.x_range[0] < spot.x < plane.x_range[1] and plane.y_range[0] < spot.y < plane.y_range[1]
    small = plan_plane(REFIT, make_plan(Budget(flops=1e17), REFIT))
    assert not [spot for spot in small.spots if spot.css == "hollow"]  # all are too far away


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_most_important_names_are_written(size: tuple[int, int]) -> None:
    drawing = "".join(draw(plan_plane(REFIT, LLAMA), *size))
    for name in ("plan", "best of these FLOPs", "Llama 3 8B", "Llama 3 405B", "Chinchilla 70B"):
        assert f">{name}<" in drawing, name


def test_a_fit_shows_every_point_and_the_law_of_each_size() -> None:
    found = fit_points("parametric", made(), FitOptions(resamples=0))
    plane = fit_plane(found)
    assert sorted((spot.x, spot.y) for spot in plane.spots) == sorted(zip(found.points.flops, found.points.loss))
    assert len(plane.rows) == 45 and plane.columns[-1] == "by the law"
    groups = [trace for trace in plane.traces if trace.css != "strong"]
    assert len(groups) == 7 and all("sizes)" in trace.name for trace in groups)
    (best,) = [trace for trace in plane.traces if trace.css == "strong"]
    for flops, loss in best.points[::10]:
        assert loss == pytest.approx(REFIT.loss(*REFIT.optimal(flops)), rel=1e-4)
        assert all(loss <= other + 1e-9 for trace in groups for at, other in trace.points if at == flops)


def test_the_other_approaches_have_their_own_form() -> None:
    points = made()
    profiles = fit_plane(fit_points("isoflop", points, FitOptions(resamples=0)))
    assert len(profiles.traces) == 6 and len([spot for spot in profiles.spots if spot.css == "hollow"]) == 5
    repeated = fit_plane(fit_points("repeated", made(TIED, 2e8), FitOptions(resamples=0, base=TIED)))
    assert all(spot.x == pytest.approx(spot.y, rel=1e-5) for spot in repeated.spots)
    for plane in (profiles, repeated):
        assert plane_svg(plane).startswith("<svg ") and plane_page(plane).startswith("<!doctype html>")


def test_many_sizes_are_seven_groups_of_neighbours_and_few_are_themselves() -> None:
    assert [group.tolist() for group in size_groups(np.array([3.0, 1.0, 3.0]))] == [[1.0], [3.0]]
    groups = size_groups(np.arange(1.0, 24.0))
    assert len(groups) == 7 and np.concatenate(groups).tolist() == list(range(1, 24))
