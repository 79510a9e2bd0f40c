"""Pictures and videos: what is drawn where, in which colour, and what the files hold."""

from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image, ImageColor

import render_levels
from rtc.control.environment import start_keys
from rtc.worlds.kinetix import levels, render
from rtc.worlds.kinetix.shapes import Shape

SIZE = 200
METRE = SIZE / 5


@pytest.fixture(scope="module")
def catapult() -> levels.Level:
    return levels.load("catapult")


def colour_at(frame: np.ndarray, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place in metres."""
    return tuple(frame[round(SIZE - y * METRE), round(x * METRE)].tolist())


def test_bodies_are_drawn_at_their_places_in_the_colours_of_their_roles() -> None:
    square = np.array([[1.0, 1.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]])
    shapes = [
        Shape("polygon", square, role="goal"),
        Shape("polygon", square + np.array([2, 0]), role="hazard", fixed=True),
        Shape("circle", np.array([[1.5, 4.0]]), radius=0.5, role="ball", fixed=True),
        Shape("circle", np.array([[3.5, 4.0]]), radius=0.5, fixed=True),
    ]
    frame = render.draw(shapes, size=SIZE)
    assert frame.shape == (SIZE, SIZE, 3)
    assert frame.dtype == np.uint8
    assert colour_at(frame, 1.5, 1.5) == ImageColor.getrgb("#0072b2")
    assert colour_at(frame, 3.5, 1.5) == ImageColor.getrgb("#d55e00")
    assert colour_at(frame, 1.5, 4.0) == ImageColor.getrgb("#009e73")
    assert colour_at(frame, 3.5, 4.0) == ImageColor.getrgb("#a6abb2")
    assert colour_at(frame, 2.5, 2.5) == ImageColor.getrgb("#fbfaf7")


def test_shapes_follow_the_state(catapult: levels.Level) -> None:
    found = levels.shapes(catapult, catapult.start)
    kinds = [shape.kind for shape in found]
    assert [kinds.count(kind) for kind in ("polygon", "circle", "joint", "thruster")] == [8, 2, 1, 0]
    beam = found[7]
    assert (beam.role, beam.fixed) == ("ball", False)
    np.testing.assert_allclose(beam.points.mean(axis=0), [2.7275, 1.255], atol=1e-4)
    assert found[0].role == "goal"
    assert found[0].fixed
    joint = found[-1]
    assert joint.binding == 0
    np.testing.assert_allclose(joint.points[0], [1.385, 1.1], atol=1e-3)


def test_shapes_turn_with_their_body_and_pick_one_of_a_batch(catapult: levels.Level) -> None:
    state, _ = levels.make_env(catapult, "stock").reset(start_keys(2))
    rotation = state.polygon.rotation.at[1, 4].set(np.pi / 2)
    state = state.replace(polygon=state.polygon.replace(rotation=rotation))
    lying, upright = (levels.shapes(catapult, state, i)[4].points for i in (0, 1))
    np.testing.assert_allclose(np.ptp(lying, axis=0), [1.22, 0.1], atol=1e-5)
    np.testing.assert_allclose(np.ptp(upright, axis=0), [0.1, 1.22], atol=1e-5)


def test_thrusters_carry_their_action_dimension_and_direction() -> None:
    level = levels.load("cartpole_thrust")
    right, left = [s for s in levels.shapes(level, level.start) if s.kind == "thruster"]
    assert (right.binding, left.binding) == (4, 5)
    np.testing.assert_allclose([np.cos(right.angle), np.cos(left.angle)], [-1, 1], atol=1e-3)


def test_a_caption_changes_only_the_upper_left_corner(catapult: levels.Level) -> None:
    shapes = levels.shapes(catapult, catapult.start)
    changed = render.draw(shapes, size=SIZE) != render.draw(shapes, size=SIZE, caption=["tick 3", "d 2"])
    rows, columns = np.flatnonzero(changed.any(axis=(1, 2))), np.flatnonzero(changed.any(axis=(0, 2)))
    assert len(rows) > 5
    assert rows.max() < SIZE / 4
    assert columns.max() < SIZE / 2


def test_broken_states_can_be_drawn() -> None:
    shapes = [
        Shape("polygon", np.full((4, 2), np.nan)),
        Shape("circle", np.array([[1e30, -np.inf]]), angle=np.nan, radius=0.3),
        Shape("thruster", np.array([[np.nan, 0.0]]), angle=np.inf, binding=4),
    ]
    assert render.draw(shapes, size=64).shape == (64, 64, 3)


def test_odd_sizes_become_even_and_tiny_ones_are_refused() -> None:
    assert render.draw([], size=101).shape == (102, 102, 3)
    with pytest.raises(ValueError, match="size=3 is too small"):
        render.draw([], size=3)


def test_a_video_holds_its_frames(tmp_path: Path) -> None:
    frames = [np.full((102, 54, 3), shade, np.uint8) for shade in (20, 120, 220)]
    path = tmp_path / "videos" / "preview.mp4"
    render.write_video(path, iter(frames), fps=10)
    with imageio.get_reader(path) as reader:
        shown = [frame for frame in reader]  # noqa: C416 - list() asks for the length, which is unknown
    assert [frame.shape for frame in shown] == [(102, 54, 3)] * 3
    np.testing.assert_allclose([frame.mean() for frame in shown], [20, 120, 220], atol=6)
    assert [p.name for p in path.parent.iterdir()] == ["preview.mp4"]


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [
        ("a.gif", [np.zeros((4, 4, 3), np.uint8)], "suffix '.gif'"),
        ("a.mp4", [], "are empty"),
        ("a.mp4", [np.zeros((5, 4, 3), np.uint8)], "even height and width"),
        ("a.mp4", [np.zeros((4, 4, 3), np.uint8), np.zeros((8, 4, 3), np.uint8)], "give one size"),
    ],
)
def test_faulty_videos_are_refused_and_leave_nothing(name: str, frames: list, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        render.write_video(tmp_path / name, frames)
    assert list(tmp_path.iterdir()) == []


def test_the_picture_of_levels_shows_each_of_them(tmp_path: Path) -> None:
    output = tmp_path / "levels.png"
    render_levels.render_levels(
        render_levels.Arguments(level_paths=("catapult", "worlds/l/trampoline.json"), output=output, size=120)
    )
    picture = np.asarray(Image.open(output).convert("RGB")).astype(int)
    halves = np.split(picture[:, : picture.shape[1] // 2 * 2], 2, axis=1)
    goal, hazard = (np.array(ImageColor.getrgb(c)) for c in ("#0072b2", "#d55e00"))
    floor = slice(44 + 114, 44 + 119)  # the lowest rows of the drawings
    share = [[(abs(half[floor] - c).max(axis=-1) < 12).mean() for c in (goal, hazard)] for half in halves]
    assert share[0][0] > 0.5  # catapult's floor is the goal
    assert share[1][1] > 0.5  # trampoline's floor is a hazard


def test_a_picture_of_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match=r"level_paths=\(\) is empty"):
        render_levels.render_levels(render_levels.Arguments(level_paths=()))
