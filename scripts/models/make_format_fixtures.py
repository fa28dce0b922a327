"""Writes the tables of the grid formats, and blocks of every format that only the engine's own reader knows.

    python make_format_fixtures.py [folder of the engine's crate]

- src/kernels/grids/grids.bin: the grids of IQ1, IQ2 and IQ3. The formats are defined by these tables, which cannot
  be computed. An entry has 16 bits: eight numbers of 2 bits (IQ1, IQ2) or four of 4 bits (IQ3), each the index of a
  value, the first number in the lowest bits.
- tests/fixtures/formats/NAME.bin: random blocks, then their numbers as f32, as llama.cpp dequantizes them.

The source of both is the package `gguf` of llama.cpp, whose tests compare it with llama.cpp's own code bit for bit.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf import quants

# The order of the tables in grids.bin.
GRIDS = [quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ1_S, quants.IQ3_XXS, quants.IQ3_S]
# Offsets of a block's f16 scales; IQ1_M has the bits of its scale in the top bits of four numbers.
FORMATS = {
    Type.IQ4_NL: 0, Type.IQ4_XS: 0, Type.MXFP4: None, Type.IQ3_XXS: 0, Type.IQ3_S: 0,
    Type.IQ2_XXS: 0, Type.IQ2_XS: 0, Type.IQ2_S: 0, Type.IQ1_S: 0, Type.IQ1_M: None,
}
NUMBERS = 1024


def entries(quant):
    """Returns the entries of a grid, 16 bits each."""
    quant.init_grid()
    grid = np.asarray(quant.grid).reshape(quant.grid_shape).astype(int)
    values = list(quant.grid_map)
    bits = 16 // quant.grid_shape[1]
    return [sum(values.index(number) << (bits * at) for at, number in enumerate(row)) for row in grid.tolist()]


def blocks(kind, scale_at, random):
    """Returns random blocks with scales of the size that weights have."""
    numbers, size = GGML_QUANT_SIZES[kind]
    count = NUMBERS // numbers
    data = random.integers(0, 256, (count, size), dtype=np.uint8)
    scales = random.uniform(-0.01, 0.01, count).astype(np.float16)
    # The smallest scales too.
    scales[-1] = np.float16(6e-8)
    if scale_at is not None:
        data[:, scale_at:scale_at + 2] = scales.view(np.uint8).reshape(count, 2)
    elif kind == Type.MXFP4:
        # The first two are subnormal numbers; the largest would be infinite as f32.
        data[:, 0] = np.concatenate([[0, 1, 2, 250], random.integers(110, 130, count - 4)])
    else:
        high = data[:, -8:].copy().view(np.uint16)
        for at in range(4):
            nibble = (scales.view(np.uint16) >> (4 * at)) & 15
            high[:, at] = (high[:, at] & 0x0FFF) | (nibble << 12)
        data[:, -8:] = high.view(np.uint8)
    return data


def main():
    crate = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "crates" / "engine")
    grids = np.array([entry for quant in GRIDS for entry in entries(quant)], dtype="<u2")
    (crate / "src" / "kernels" / "grids" / "grids.bin").write_bytes(grids.tobytes())
    folder = crate / "tests" / "fixtures" / "formats"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20)
    for kind, scale_at in FORMATS.items():
        data = blocks(kind, scale_at, random)
        numbers = quants.dequantize(data.reshape(-1), kind).astype("<f4").reshape(-1)
        assert numbers.size == NUMBERS and np.isfinite(numbers).all(), kind
        (folder / f"{kind.name}.bin").write_bytes(data.tobytes() + numbers.tobytes())


if __name__ == "__main__":
    main()
