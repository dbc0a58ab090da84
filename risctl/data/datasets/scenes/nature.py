"""How plants, animals and stars are drawn. Each function returns the parts, back to front."""

from __future__ import annotations

import numpy as np

from risctl.data.datasets.scenes.outlines import Part, band, bow, ellipse, polygon, rectangle, rounded, spikes


def flower(rng: np.random.Generator) -> list[Part]:
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
    trunk = polygon((0.33, 0.55), (0.43, 0.55), (0.47, 1), (0.29, 1), tone="wood")
    if rng.random() < 0.35:
        tiers = [(0.42, 0.82, 0.38), (0.20, 0.60, 0.31), (0.0, 0.36, 0.22)]
        cones = [polygon((0.38, top), (0.38 + half, low), (0.38 - half, low)) for top, low, half in tiers]
        return [trunk, *cones]
    spots = [(0.38, 0.22), (0.18, 0.36), (0.58, 0.36), (0.30, 0.50), (0.50, 0.50), (0.38, 0.38)]
    leaves = [ellipse(x, y, *rng.uniform(0.17, 0.21, 2)) for x, y in spots]
    return [trunk, *leaves, ellipse(0.28, 0.25, 0.08, 0.07, "light"), ellipse(0.5, 0.55, 0.09, 0.06, "dark")]


def dog(rng: np.random.Generator) -> list[Part]:
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
    fat = rng.uniform(0.22, 0.28)
    parts = [spikes(0.5, 0.52, 0.52, fat, 5), spikes(0.5, 0.52, 0.34, fat * 0.62, 5, "light")]
    if rng.random() < 0.4:
        parts += [ellipse(x, 0.48, 0.035, 0.045, "ink") for x in (0.43, 0.57)]
    return parts


def apple(rng: np.random.Generator) -> list[Part]:
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
