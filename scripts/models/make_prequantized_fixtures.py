"""Writes matrices quantized by FP8, GPTQ and AWQ, with the numbers that they stand for.

    python make_prequantized_fixtures.py [folder of the engine's crate]

Each `tests/fixtures/prequantized/NAME.safetensors` has a matrix `m` as a published model has it, and `expected`, its
numbers as float32. The integers, zeros and scales are drawn first, `expected` is computed from them, and only then they
are packed as the formats say: AutoGPTQ's QuantLinear (its first format stores zeros less one), AutoAWQ's WQLinear_GEMM,
and FP8 with `weight_scale_inv` as Qwen and DeepSeek publish it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

OUTPUTS, INPUTS, GROUP = 48, 96, 32


def pack(integers, bits, order=None):
    """Packs the last dimension into words of 32 bits, the first integer in the lowest bits."""
    count = 32 // bits
    order = order or range(count)
    cut = integers.reshape(*integers.shape[:-1], -1, count).astype(np.uint64)
    words = sum(cut[..., number] << np.uint64(bits * place) for place, number in enumerate(order))
    return torch.from_numpy(words.astype(np.uint32).view(np.int32).copy())


def draw(random, bits, groups):
    """Returns integers [outputs, inputs], zeros and scales [groups, outputs], and the numbers."""
    q = random.integers(0, 1 << bits, (OUTPUTS, INPUTS))
    zeros = random.integers(1, 1 << bits, (INPUTS // GROUP, OUTPUTS))
    scales = random.uniform(0.001, 0.02, (INPUTS // GROUP, OUTPUTS)).astype(np.float16)
    numbers = (q - zeros[groups].T).astype(np.float32) * scales.astype(np.float32)[groups].T
    return q, zeros, scales, numbers


def gptq(random, bits, less_one, groups=None):
    plain = np.arange(INPUTS) // GROUP
    groups = plain if groups is None else groups
    q, zeros, scales, numbers = draw(random, bits, groups)
    return {
        "m.qweight": pack(q, bits).T.contiguous(),
        "m.qzeros": pack(zeros - less_one, bits),
        "m.scales": torch.from_numpy(scales),
        "m.g_idx": torch.from_numpy(groups.astype(np.int32)),
        "m.bias": torch.zeros(OUTPUTS, dtype=torch.float16),
        "expected": torch.from_numpy(np.ascontiguousarray(numbers)),
    }


def awq(random):
    q, zeros, scales, numbers = draw(random, 4, np.arange(INPUTS) // GROUP)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return {
        "m.qweight": pack(np.ascontiguousarray(q.T), 4, order),
        "m.qzeros": pack(zeros, 4, order),
        "m.scales": torch.from_numpy(scales),
        "expected": torch.from_numpy(np.ascontiguousarray(numbers)),
    }


def fp8():
    # All bytes but the two of NaN, and blocks that do not divide the matrix.
    block = (16, 32)
    rows, columns = 40, 72
    numbers = torch.arange(rows * columns, dtype=torch.int64) * 37 % 256
    numbers[(numbers & 127) == 127] = 1
    weight = numbers.to(torch.uint8).view(torch.float8_e4m3fn).reshape(rows, columns)
    scales = torch.rand((3, 3), generator=torch.Generator().manual_seed(1)) * 0.01
    of_all = scales.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[:rows, :columns]
    expected = (weight.to(torch.float32) * of_all).contiguous()
    return {"m.weight": weight, "m.weight_scale_inv": scales, "expected": expected}


def main():
    crate = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "crates" / "engine")
    folder = crate / "tests" / "fixtures" / "prequantized"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(21)
    files = {"gptq": gptq(random, 4, 1)}
    files["gptq"]["m.bias"][3] = 0.5
    files["gptq-v2"] = gptq(random, 4, 0)
    files["gptq-order"] = gptq(random, 4, 1, random.permutation(np.arange(INPUTS) // GROUP))
    files["gptq-8bit"] = gptq(random, 8, 1)
    del files["gptq-8bit"]["m.g_idx"]
    files["awq"] = awq(random)
    files["fp8"] = fp8()
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
