"""Writes numbers and what GGML's quantisers make of them, by the Python package gguf.

    python make.py            (needs numpy, gguf; versions used: see versions.json)

values.f32 holds blocks of 32 float32; q8_0.bin and q4_0.bin the same blocks in GGML's formats.
Little-endian all.
"""

import json
import pathlib
from importlib.metadata import version

import gguf
import numpy

HERE = pathlib.Path(__file__).parent
BLOCK = 32


def blocks():
    rng = numpy.random.default_rng(1)
    # Ordinary weights, of sizes from below the smallest half-precision scale to near the largest.
    for exponent in range(-30, 17, 2):
        yield rng.standard_normal(BLOCK) * 2.0**exponent
    # Zeros; one number alone; the largest twice, with either sign first.
    yield numpy.zeros(BLOCK)
    for first, second in ((1, 0), (-1, 0), (3, -3), (-3, 3)):
        block = rng.uniform(-1, 1, BLOCK) if second else numpy.zeros(BLOCK)
        block[5], block[20] = first, second
        yield block
    # Halves between stored integers: d is 1 for Q8_0, and for Q4_0 with either sign.
    for largest in (127, -8, 8):
        block = numpy.arange(BLOCK) / 2 - 7.5
        block[31] = largest
        yield block
    # Just below halves, where another order of rounding returns another integer.
    found = {"fused": 0, "divided": 0}
    while min(found.values()) < 6:
        block = (rng.integers(-8, 8, BLOCK) + 0.5) * (1 - rng.uniform(-1, 1, BLOCK) * 2.0**-20)
        block[0] = -8
        block = (block * rng.uniform(0.5, 2)).astype(numpy.float32)
        for name, other in other_roundings(block).items():
            if found[name] < 6 and (other != integers(block)).any():
                found[name] += 1
                yield block


def integers(block):
    """Q4_0's integers of a block, as the package computes them."""
    packed = gguf.quants.quantize(block, gguf.GGMLQuantizationType.Q4_0)[2:]
    return numpy.concatenate([packed & 15, packed >> 4])


def other_roundings(block):
    """The same with x / d + 8.5 rounded once, and with a division for the product."""
    d = block[abs(block).argmax()] / numpy.float32(-8)
    wide = block.astype(numpy.float64) * (numpy.float32(1) / d) + 8.5
    sums = {"fused": wide.astype(numpy.float32), "divided": block / d + numpy.float32(8.5)}
    return {name: numpy.trunc(sum).clip(0, 15).astype(numpy.uint8) for name, sum in sums.items()}


def main():
    values = numpy.stack(list(blocks())).astype("<f4")
    values.tofile(HERE / "values.f32")
    for name in ("Q8_0", "Q4_0"):
        kind = gguf.GGMLQuantizationType[name]
        stored = gguf.quants.quantize(values, kind)
        stored.tofile(HERE / f"{name.lower()}.bin")
        print(name, stored.shape, "worst", abs(gguf.quants.dequantize(stored, kind) - values).max())
    versions = {name: version(name) for name in ("gguf", "numpy")}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()
