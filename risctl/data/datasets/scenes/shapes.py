"""Draws the shapes of scene objects; each function returns the parts of one category, back to front."""

from __future__ import annotations

import numpy as np

from risctl.data.datasets.scenes.outlines import Part, band, bow, ellipse, polygon, rectangle, rounded, spikes


def cup(rng: np.random.Generator) -> list[Part]:
    """Draws a cup."""
    foot = rng.uniform(0.04, 0.14)
    return [
        bow(0.76, 0.50, 0.20, 0.24, -100, 100, width=0.09, tone="dark"),
        polygon(
            (0.06, 0.12),
            (0.80, 0.12),
            (0.80 - foot, 0.90),
            (0.74 - foot, 0.99),
            (0.12 + foot, 0.99),
            (0.06 + foot, 0.9),
        ),
        ellipse(0.43, 0.12, 0.37, 0.10, "light"),
        ellipse(0.43, 0.13, 0.31, 0.065, "dark"),
    ]


def ball(rng: np.random.Generator) -> list[Part]:
    """Draws a ball."""
    parts = [ellipse(0.5, 0.5, 0.5, 0.5)]
    style = rng.integers(3)
    if style == 0:
        parts += [ellipse(0.5, 0.5, 0.49, 0.49, "light", start=a, stop=a + 32) for a in (20, 140, 260)]
        parts = [parts[0], *(polygon((0.5, 0.42), *map(tuple, p.points), tone="light") for p in parts[1:])]
        parts.append(ellipse(0.5, 0.42, 0.07, 0.07, "dark"))
    elif style == 1:
        parts += [bow(-0.1, 0.5, 0.38, 0.52, -52, 52, width=0.035, tone="dark")]
        parts += [bow(1.1, 0.5, 0.38, 0.52, 128, 232, width=0.035, tone="dark")]
        parts += [band([(0.01, 0.5), (0.5, 0.53), (0.99, 0.5)], 0.035, "dark")]
    else:
        parts += [spikes(0.5, 0.5, 0.2, 0.155, 5, "dark")]
        parts += [
            ellipse(0.5 + 0.38 * np.cos(a), 0.5 + 0.38 * np.sin(a), 0.07, 0.07, "dark") for a in np.arange(5) * 1.2566
        ]
    return parts


def box(rng: np.random.Generator) -> list[Part]:
    """Draws a box."""
    depth, wide = rng.uniform(0.18, 0.3), rng.uniform(0.75, 1.0)
    top = depth * 0.8
    middle = wide / 2
    return [
        rectangle(0, top, wide, 1),
        polygon((0, top), (depth, 0), (wide + depth, 0), (wide, top), tone="light"),
        polygon((wide, top), (wide + depth, 0), (wide + depth, 1 - top), (wide, 1), tone="dark"),
        rectangle(middle - 0.06, top, middle + 0.06, top + 0.3, "paper"),
        polygon(
            (middle - 0.06, top),
            (middle - 0.06 + depth, 0),
            (middle + 0.06 + depth, 0),
            (middle + 0.06, top),
            tone="paper",
        ),
    ]


def book(rng: np.random.Generator) -> list[Part]:
    """Draws a book."""
    wide = rng.uniform(0.66, 0.8)
    return [
        polygon((wide, 0.02), (wide + 0.1, 0.06), (wide + 0.1, 0.98), (wide, 1), tone="paper"),
        rectangle(0, 0, wide, 1),
        rectangle(0, 0, 0.12, 1, "dark"),
        rectangle(0.22, 0.16, wide - 0.1, 0.25, "paper"),
        rectangle(0.27, 0.30, wide - 0.15, 0.35, "paper"),
        rectangle(0.22, 0.78, wide - 0.1, 0.83, "light"),
    ]


def bottle(rng: np.random.Generator) -> list[Part]:
    """Draws a bottle."""
    shoulder = rng.uniform(0.3, 0.42)
    return [
        rectangle(0.13, 0.05, 0.25, shoulder),
        polygon((0.13, shoulder - 0.12), (0.25, shoulder - 0.12), (0.38, shoulder + 0.1), (0, shoulder + 0.1)),
        rounded(0, shoulder + 0.04, 0.38, 1, 0.05),
        rectangle(0.11, 0, 0.27, 0.07, "dark"),
        rectangle(0, 0.6, 0.38, 0.8, "paper"),
        rectangle(0.07, 0.67, 0.31, 0.73, "dark"),
    ]


def chair(rng: np.random.Generator) -> list[Part]:
    """Draws a chair."""
    legs = [rectangle(x, 0.6, x + 0.07, bottom, "dark") for x, bottom in ((0.10, 0.92), (0.52, 0.92))]
    legs += [rectangle(x, 0.66, x + 0.08, 1, "main") for x in (0.0, 0.60)]
    if rng.random() < 0.5:
        back = [rounded(0.08, 0, 0.60, 0.46, 0.08), rounded(0.15, 0.07, 0.53, 0.36, 0.05, "light")]
        back += [rectangle(x, 0.44, x + 0.06, 0.6, "dark") for x in (0.14, 0.48)]
    else:
        back = [rectangle(x, 0, x + 0.08, 0.6) for x in (0.06, 0.30, 0.54)]
        back += [rounded(0.03, y, 0.65, y + 0.12, 0.03) for y in (0.02, 0.24)]
    return [
        *legs,
        *back,
        polygon((0.08, 0.54), (0.60, 0.54), (0.70, 0.68), (-0.02, 0.68)),
        rectangle(-0.02, 0.67, 0.7, 0.73, "dark"),
    ]


def lamp(rng: np.random.Generator) -> list[Part]:
    """Draws a lamp."""
    narrow = rng.uniform(0.14, 0.24)
    return [
        rectangle(0.32, 0.4, 0.38, 0.94, "metal"),
        ellipse(0.35, 0.94, 0.22, 0.06, "metal"),
        ellipse(0.35, 0.925, 0.16, 0.035, "slate"),
        polygon((narrow, 0), (0.7 - narrow, 0), (0.72, 0.48), (-0.02, 0.48)),
        ellipse(0.35, 0.48, 0.37, 0.05, "light"),
    ]


def house(rng: np.random.Generator) -> list[Part]:
    """Draws a house."""
    door = rng.uniform(0.2, 0.7)
    window = 0.68 if door < 0.45 else 0.16
    return [
        rectangle(0.76, 0.05, 0.88, 0.35, "slate"),
        rectangle(0.06, 0.4, 1.04, 1),
        polygon((0.55, 0.0), (1.12, 0.42), (-0.02, 0.42), tone="slate"),
        rectangle(door, 0.66, door + 0.18, 1, "wood"),
        rectangle(window, 0.55, window + 0.22, 0.76, "glass"),
        rectangle(window + 0.1, 0.55, window + 0.12, 0.76, "paper"),
        ellipse(0.55, 0.27, 0.07, 0.07, "glass"),
    ]


def car(rng: np.random.Generator) -> list[Part]:
    """Draws a car."""
    front = rng.uniform(0.05, 0.2)
    wheels = [
        part for x in (0.46, 1.56) for part in (ellipse(x, 0.80, 0.2, 0.2, "ink"), ellipse(x, 0.80, 0.1, 0.1, "metal"))
    ]
    return [
        polygon((0.40, 0.42), (0.62, 0.0), (1.32, 0.0), (1.60, 0.42)),
        polygon((0.52, 0.40), (0.68, 0.08), (0.94, 0.08), (0.94, 0.40), tone="glass"),
        polygon((1.02, 0.40), (1.02, 0.08), (1.28, 0.08), (1.46, 0.40), tone="glass"),
        polygon(
            (0.02, 0.46), (0.34, 0.38), (1.62, 0.38), (1.96 - front / 2, 0.48), (2.02, 0.62), (2.0, 0.82), (0.0, 0.82)
        ),
        rectangle(0.02, 0.74, 2.0, 0.82, "dark"),
        ellipse(1.93, 0.6, 0.06, 0.07, "paper"),
        rectangle(1.05, 0.47, 1.17, 0.51, "dark"),
        *wheels,
    ]


def umbrella(rng: np.random.Generator) -> list[Part]:
    """Draws an umbrella."""
    hook = 0.08 if rng.random() < 0.5 else -0.08
    return [
        rectangle(0.475, 0.0, 0.525, 0.9, "metal"),
        bow(0.5 - hook, 0.9, 0.08, 0.08, 0, 180, width=0.05, tone="wood"),
        ellipse(0.5, 0.5, 0.5, 0.45, start=180, stop=360),
        polygon((0.5, 0.05), (0.4, 0.12), (0.3, 0.27), (0.2, 0.5), (0.4, 0.5), tone="dark"),
        polygon((0.5, 0.05), (0.6, 0.12), (0.7, 0.27), (0.8, 0.5), (0.6, 0.5), tone="dark"),
        polygon((0.48, 0.06), (0.5, -0.02), (0.52, 0.06), tone="metal"),
    ]


def hat(rng: np.random.Generator) -> list[Part]:
    """Draws a hat."""
    if rng.random() < 0.5:
        return [
            ellipse(0.8, 0.82, 0.8, 0.18, "dark"),
            ellipse(0.8, 0.78, 0.8, 0.17),
            polygon((0.38, 0.76), (0.46, 0.10), (0.62, 0.0), (0.80, 0.06), (0.98, 0.0), (1.14, 0.10), (1.22, 0.76)),
            polygon((0.385, 0.72), (0.41, 0.54), (1.19, 0.54), (1.215, 0.72), tone="dark"),
        ]
    return [
        ellipse(1.15, 0.80, 0.55, 0.19, "dark"),
        ellipse(0.66, 0.80, 0.62, 0.78, start=180, stop=360),
        rounded(0.04, 0.74, 1.28, 0.92, 0.06),
        bow(0.66, 0.80, 0.2, 0.76, 180, 360, width=0.03, tone="dark"),
        ellipse(0.66, 0.03, 0.09, 0.05, "dark"),
    ]


def clock(rng: np.random.Generator) -> list[Part]:
    """Draws a clock."""
    hour, minute = rng.uniform(0, 2 * np.pi, 2)
    ticks = [
        ellipse(0.5 + 0.28 * np.cos(a), 0.5 + 0.28 * np.sin(a), 0.025, 0.025, "ink") for a in np.arange(12) * np.pi / 6
    ]
    hands = [
        band([(0.5, 0.5), (0.5 + length * np.cos(a), 0.5 + length * np.sin(a))], 0.045, "ink")
        for a, length in ((hour, 0.16), (minute, 0.25))
    ]
    return [ellipse(0.5, 0.5, 0.5, 0.5), ellipse(0.5, 0.5, 0.345, 0.345, "paper"), *ticks, *hands]


def balloon(rng: np.random.Generator) -> list[Part]:
    """Draws a balloon."""
    sway = rng.uniform(-0.1, 0.1)
    return [
        band([(0.32, 0.66), (0.32 + sway, 0.8), (0.32 - sway, 1.0)], 0.025, "slate"),
        polygon((0.32, 0.62), (0.38, 0.71), (0.26, 0.71), tone="dark"),
        ellipse(0.32, 0.33, 0.31, 0.33),
        ellipse(0.22, 0.2, 0.05, 0.08, "light"),
    ]


def boat(rng: np.random.Generator) -> list[Part]:
    """Draws a boat."""
    reach = rng.uniform(0.9, 1.05)
    return [
        rectangle(0.58, 0.0, 0.63, 0.74, "wood"),
        polygon((0.65, 0.03), (reach + 0.1, 0.64), (0.65, 0.64), tone="light"),
        polygon((0.56, 0.12), (0.20, 0.64), (0.56, 0.64), tone="light"),
        polygon((0.0, 0.70), (1.30, 0.70), (1.10, 1.0), (0.20, 1.0)),
        polygon((0.0, 0.70), (1.30, 0.70), (1.265, 0.75), (0.035, 0.75), tone="dark"),
        *(ellipse(x, 0.86, 0.045, 0.045, "paper") for x in (0.42, 0.65, 0.88)),
    ]


def flower(rng: np.random.Generator) -> list[Part]:
    """Draws a flower."""
    count, turn = int(rng.integers(5, 8)), rng.uniform(0, 6)
    angles = turn + np.arange(count) * 2 * np.pi / count
    petals = [ellipse(0.32 + 0.19 * np.cos(a), 0.31 + 0.19 * np.sin(a), 0.135, 0.135) for a in angles]
    return [
        band([(0.32, 0.3), (0.34, 0.6), (0.31, 1.0)], 0.05, "leaf"),
        polygon((0.32, 0.86), (0.08, 0.62), (0.04, 0.72), tone="leaf"),
        polygon((0.32, 0.80), (0.56, 0.58), (0.60, 0.70), tone="leaf"),
        *petals,
        ellipse(0.32, 0.31, 0.11, 0.11, "wood"),
    ]


def tree(rng: np.random.Generator) -> list[Part]:
    """Draws a tree."""
    trunk = polygon((0.33, 0.55), (0.43, 0.55), (0.47, 1), (0.29, 1), tone="wood")
    if rng.random() < 0.35:
        tiers = [(0.42, 0.82, 0.38), (0.20, 0.60, 0.31), (0.0, 0.36, 0.22)]
        cones = [polygon((0.38, top), (0.38 + half, low), (0.38 - half, low)) for top, low, half in tiers]
        return [trunk, *cones]
    spots = [(0.38, 0.22), (0.18, 0.36), (0.58, 0.36), (0.30, 0.50), (0.50, 0.50), (0.38, 0.38)]
    leaves = [ellipse(x, y, *rng.uniform(0.17, 0.21, 2)) for x, y in spots]
    return [trunk, *leaves, ellipse(0.28, 0.25, 0.08, 0.07, "light"), ellipse(0.5, 0.55, 0.09, 0.06, "dark")]


def dog(rng: np.random.Generator) -> list[Part]:
    """Draws a dog."""
    tail = rng.uniform(0.1, 0.4)
    legs = [
        rounded(x, 0.6, x + 0.13, 1, 0.05, tone)
        for x, tone in ((0.34, "dark"), (0.82, "dark"), (0.22, "main"), (0.92, "main"))
    ]
    return [
        band([(0.25, 0.5), (0.1, 0.4), (0.02, tail)], 0.09),
        *legs,
        rounded(0.18, 0.38, 1.08, 0.78, 0.18),
        polygon((0.86, 0.5), (0.92, 0.2), (1.16, 0.2), (1.12, 0.62)),
        ellipse(1.06, 0.22, 0.2, 0.19),
        rounded(1.1, 0.2, 1.4, 0.38, 0.08),
        ellipse(0.94, 0.26, 0.08, 0.17, "dark"),
        ellipse(1.38, 0.24, 0.05, 0.045, "ink"),
        ellipse(1.13, 0.16, 0.035, 0.035, "paper"),
        ellipse(1.14, 0.16, 0.024, 0.024, "ink"),
        rectangle(0.97, 0.42, 1.16, 0.47, "metal"),
    ]


def cat(rng: np.random.Generator) -> list[Part]:
    """Draws a cat."""
    reach = rng.uniform(0.75, 0.88)
    return [
        bow(0.66, 0.72, reach - 0.64, 0.22, 100, -60, width=0.08),
        ellipse(0.42, 0.74, 0.27, 0.27),
        ellipse(0.33, 0.94, 0.1, 0.06, "light"),
        ellipse(0.51, 0.94, 0.1, 0.06, "light"),
        polygon((0.2, 0.26), (0.19, 0.0), (0.38, 0.13)),
        polygon((0.64, 0.26), (0.65, 0.0), (0.46, 0.13)),
        ellipse(0.42, 0.32, 0.25, 0.23),
        ellipse(0.33, 0.29, 0.05, 0.045, "leaf"),
        ellipse(0.51, 0.29, 0.05, 0.045, "leaf"),
        ellipse(0.33, 0.29, 0.018, 0.04, "ink"),
        ellipse(0.51, 0.29, 0.018, 0.04, "ink"),
        ellipse(0.42, 0.40, 0.09, 0.06, "light"),
        polygon((0.39, 0.37), (0.45, 0.37), (0.42, 0.41), tone="ink"),
        ellipse(0.42, 0.7, 0.12, 0.14, "light"),
    ]


def fish(rng: np.random.Generator) -> list[Part]:
    """Draws a fish."""
    return [
        polygon((0.42, 0.5), (0.0, 0.1), (0.10, 0.5), (0.0, 0.92), tone="dark"),
        polygon((0.6, 0.2), (0.95, -0.02), (1.15, 0.2), tone="dark"),
        polygon((0.75, 0.8), (0.85, 1.02), (1.05, 0.8), tone="dark"),
        ellipse(0.92, 0.5, 0.6, 0.38),
        *(bow(x, 0.5, 0.12, 0.3, -60, 60, width=0.05, tone="light") for x in (0.5, 0.7)[: int(rng.integers(1, 3))]),
        polygon((0.85, 0.52), (0.62, 0.42), (0.64, 0.68), tone="dark"),
        ellipse(1.28, 0.42, 0.085, 0.085, "paper"),
        ellipse(1.30, 0.42, 0.05, 0.05, "ink"),
        bow(1.42, 0.55, 0.1, 0.07, 90, 200, width=0.03, tone="ink"),
    ]


def star(rng: np.random.Generator) -> list[Part]:
    """Draws a star."""
    fat = rng.uniform(0.22, 0.28)
    parts = [spikes(0.5, 0.52, 0.52, fat, 5), spikes(0.5, 0.52, 0.34, fat * 0.62, 5, "light")]
    if rng.random() < 0.4:
        parts += [ellipse(x, 0.48, 0.035, 0.045, "ink") for x in (0.43, 0.57)]
    return parts


def apple(rng: np.random.Generator) -> list[Part]:
    """Draws an apple."""
    lean = rng.uniform(-0.08, 0.08)
    return [
        band([(0.5, 0.25), (0.5 + lean, 0.0)], 0.06, "wood"),
        polygon((0.52, 0.16), (0.66, 0.0), (0.82, 0.03), (0.70, 0.16), tone="leaf"),
        ellipse(0.33, 0.56, 0.33, 0.4),
        ellipse(0.67, 0.56, 0.33, 0.4),
        ellipse(0.5, 0.64, 0.36, 0.36),
        ellipse(0.5, 0.20, 0.12, 0.045, "dark"),
    ]


def bird(rng: np.random.Generator) -> list[Part]:
    """Draws a bird."""
    lift = rng.uniform(-0.05, 0.25)
    return [
        polygon((0.40, 0.55), (0.0, 0.42), (0.05, 0.72), tone="dark"),
        ellipse(0.72, 0.62, 0.46, 0.30),
        ellipse(1.12, 0.42, 0.22, 0.21),
        polygon((1.30, 0.36), (1.55, 0.45), (1.30, 0.52), tone="beak"),
        polygon((0.50, 0.60), (0.98, 0.60), (0.62, 0.02 + lift), (0.34, 0.12 + lift), tone="dark"),
        ellipse(1.18, 0.38, 0.045, 0.045, "paper"),
        ellipse(1.19, 0.38, 0.03, 0.03, "ink"),
        band([(0.68, 0.9), (0.66, 1.0)], 0.04, "beak"),
        band([(0.80, 0.9), (0.80, 1.0)], 0.04, "beak"),
    ]
