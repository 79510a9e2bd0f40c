"""Pictures and videos of level states, without the simulator. The camera sees the 5 m x 5 m arena.

Role colours are Okabe and Ito's, which colour-blind readers can tell apart: green ball, blue goal, vermilion
hazard; bodies without a role are grey where fixed and cream where they move. Joints and thrusters carry the
number of the action dimension that drives them.
"""

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from rtc.shared.files import atomic_path
from rtc.worlds.kinetix.shapes import Shape

ARENA = 5.0  # metres
SIZE = 360  # pixels
_SUPERSAMPLING = 2
_BACKGROUND, _INK, _FIXED, _FREE = "#fbfaf7", "#33373d", "#a6abb2", "#f0e3c4"
_ROLES = {"ball": "#009e73", "goal": "#0072b2", "hazard": "#d55e00"}
_ACTIONS = ("#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#ffb000", "#ff7f6e")  # by action dimension
LEGEND = (
    ("ball: has to touch the goal", _ROLES["ball"]),
    ("goal", _ROLES["goal"]),
    ("hazard: ends the episode", _ROLES["hazard"]),
    ("fixed", _FIXED),
    ("free", _FREE),
)


@dataclass(frozen=True)
class _Canvas:
    """A supersampled picture with metres as its unit."""

    pen: ImageDraw.ImageDraw
    pixels: int

    def length(self, metres: float) -> float:
        return metres / ARENA * self.pixels

    def point(self, xy: Sequence[float]) -> tuple[float, float]:
        # Clipped, since Pillow cannot draw to coordinates of a state that has blown up.
        x, y = np.clip(np.nan_to_num(np.asarray(xy, float)), -100, 100)
        return self.length(x), self.pixels - self.length(y)

    def line(self, points: Iterable[Sequence[float]], metres: float, colour: str = _INK) -> None:
        width = max(1, round(self.length(metres)))
        self.pen.line([self.point(p) for p in points], fill=colour, width=width, joint="curve")

    def polygon(self, points: Iterable[Sequence[float]], colour: str, outline: float = 0.018) -> None:
        points = [self.point(p) for p in points]
        self.pen.polygon(points, fill=colour)
        if outline:
            width = max(1, round(self.length(outline)))
            self.pen.line([*points, *points[:2]], fill=_INK, width=width, joint="curve")

    def disc(self, centre: Sequence[float], radius: float, colour: str, outline: float = 0.018) -> None:
        (x, y), r = self.point(centre), self.length(radius)
        width = max(1, round(self.length(outline)))
        self.pen.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=_INK, width=width)

    def label(self, centre: Sequence[float], text: str, metres: float) -> None:
        self.pen.text(self.point(centre), text, fill=_INK, font=font(round(self.length(metres))), anchor="mm")


@functools.lru_cache
def font(pixels: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font at a size."""
    return ImageFont.load_default(pixels)


def body_colour(shape: Shape) -> str:
    """The fill colour of a polygon or circle."""
    return _ROLES.get(shape.role, _FIXED if shape.fixed else _FREE)


def _draw_polygon(canvas: _Canvas, shape: Shape) -> None:
    canvas.polygon(shape.points, body_colour(shape))


def _draw_circle(canvas: _Canvas, shape: Shape) -> None:
    centre = shape.points[0]
    canvas.disc(centre, shape.radius, body_colour(shape))
    if not shape.fixed:  # a spoke shows the rotation
        rim = centre + 0.8 * shape.radius * _direction(shape.angle)
        canvas.line([centre, rim], 0.018)


def _draw_joint(canvas: _Canvas, shape: Shape) -> None:
    centre = shape.points[0]
    if shape.fixed:
        corners = [centre + 0.055 * _direction(k * math.pi / 2) for k in range(4)]
        canvas.polygon(corners, _INK)
    elif shape.binding is None:
        canvas.disc(centre, 0.04, _BACKGROUND)
    else:
        canvas.disc(centre, 0.085, _ACTIONS[shape.binding])
        canvas.label(centre, str(shape.binding), 0.13)


def _draw_thruster(canvas: _Canvas, shape: Shape) -> None:
    """A nozzle at the body and, against the force, the flame that makes it."""
    centre, forward = shape.points[0], _direction(shape.angle)
    side = _direction(shape.angle + math.pi / 2)
    colour = _ACTIONS[shape.binding or 0]
    canvas.polygon([centre + 0.08 * side, centre - 0.08 * side, centre - 0.26 * forward], colour)
    canvas.line([centre + 0.11 * side, centre - 0.11 * side], 0.05)
    canvas.label(centre - 0.085 * forward, str(shape.binding), 0.12)


def _direction(angle: float) -> np.ndarray:
    return np.array([math.cos(angle), math.sin(angle)]) if math.isfinite(angle) else np.zeros(2)


_DRAW: dict[str, Callable[[_Canvas, Shape], None]] = {
    "polygon": _draw_polygon,
    "circle": _draw_circle,
    "joint": _draw_joint,
    "thruster": _draw_thruster,
}


def draw(shapes: Sequence[Shape], *, size: int = SIZE, caption: Sequence[str] = ()) -> UInt8[np.ndarray, "h w 3"]:
    """One frame.

    Args:
        shapes: from `rtc.shapes.shapes`, drawn in this order.
        size: width and height in pixels; an odd size is rounded up, since H.264 needs even ones.
        caption: lines of text in the upper left corner.

    Raises:
        ValueError: a size below 16 pixels.
    """
    if size < 16:
        raise ValueError(f"size={size} is too small for a picture; give at least 16 pixels")
    size += size % 2
    image = Image.new("RGB", (size * _SUPERSAMPLING,) * 2, _BACKGROUND)
    canvas = _Canvas(ImageDraw.Draw(image), image.width)
    for shape in shapes:
        _DRAW[shape.kind](canvas, shape)
    if caption:
        _write_caption(canvas, caption)
    return np.asarray(image.reduce(_SUPERSAMPLING))


def _write_caption(canvas: _Canvas, caption: Sequence[str]) -> None:
    text, pad = "\n".join(caption), canvas.length(0.07)
    style = {"font": font(round(canvas.length(0.2))), "spacing": canvas.length(0.05)}
    x0, y0, x1, y1 = canvas.pen.multiline_textbbox((2 * pad, 2 * pad), text, **style)
    canvas.pen.rounded_rectangle((x0 - pad, y0 - pad, x1 + pad, y1 + pad), radius=pad, fill=_BACKGROUND, outline=_FIXED)
    canvas.pen.multiline_text((2 * pad, 2 * pad), text, fill=_INK, **style)


def write_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float = 30.0) -> None:
    """Writes an H.264 video that browsers play; the file appears only once it is complete.

    Args:
        path: a name with the suffix .mp4.
        frames: pictures of one even-sized shape.
        fps: frames per second; 30 is real time, one frame per control tick.

    Raises:
        ValueError: another suffix, no frames, or frames of odd or differing sizes.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise ValueError(f"path={str(path)!r} has the suffix {path.suffix!r}; name the video *.mp4")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"frames for {path} are empty; give at least one")
    if first.shape[0] % 2 or first.shape[1] % 2:
        raise ValueError(f"frames have shape {first.shape}; H.264 needs an even height and width")
    options = {"format": "FFMPEG", "codec": "libx264", "macro_block_size": 2}
    with (
        warnings.catch_warnings(),
        atomic_path(path) as temporary,
        contextlib.closing(imageio.get_writer(temporary, fps=fps, **options)) as writer,
    ):
        # JAX warns of any fork; ffmpeg's is followed by exec at once, which is safe.
        warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
        writer.append_data(first)
        for frame in frames:
            if frame.shape != first.shape:
                raise ValueError(
                    f"a frame of {path} has shape {frame.shape}, the first one {first.shape}; give one size"
                )
            writer.append_data(frame)


def grid(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]], titles: Sequence[str], *, columns: int = 4
) -> UInt8[np.ndarray, "height width 3"]:
    """Equal-sized pictures in rows, each with its title above it, and the legend of colours below."""
    side, pad, head = pictures[0].shape[0], 24, 44
    rows = math.ceil(len(pictures) / columns)
    columns = min(columns, len(pictures))
    width, height = pad + columns * (side + pad), rows * (side + head + pad // 2) + 76
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for k, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        x, y = pad + k % columns * (side + pad), k // columns * (side + head + pad // 2) + head
        image.paste(Image.fromarray(picture), (x, y))
        pen.rectangle((x - 1, y - 1, x + side, y + side), outline=_FIXED)
        pen.text((x, y - 10), title, fill=_INK, font=font(22), anchor="ls")
    _write_legend(pen, pad, height - 38)
    return np.asarray(image)


def _write_legend(pen: ImageDraw.ImageDraw, x: float, y: float) -> None:
    for text, colour in LEGEND:
        pen.rounded_rectangle((x, y - 10, x + 28, y + 10), radius=4, fill=colour, outline=_INK)
        pen.text((x + 38, y), text, fill=_INK, font=font(20), anchor="lm")
        x += 68 + pen.textlength(text, font=font(20))
    pen.text(
        (x, y),
        "numbers: action dimensions (0-3 motors, 4-5 thrusters)",
        fill=_INK,
        font=font(20),
        anchor="lm",
    )
