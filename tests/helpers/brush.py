"""Reads Label Studio's run lengths, bit by bit."""

from __future__ import annotations


def decoded_brush(data: list[int]) -> list[int]:
    """Return the values of Label Studio's run lengths."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    count, size = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        equal = take(1)
        length = take(sizes[take(2)]) + 1
        values += [take(size)] * length if equal else [take(size) for _ in range(length)]
    return values
