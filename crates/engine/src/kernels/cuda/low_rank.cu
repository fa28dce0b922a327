// LoRA products, `y += b · (scale · a · x)` in f32, for rows of several adapters in one launch
// ("SGMV" in Punica, https://arxiv.org/abs/2310.18547). The twin is kernels/low_rank.rs. The order
// in which a row's numbers are summed does not depend on the other rows.
#include "platform.cuh"

/// The most rows of a tile, as in low_rank_plan.rs.
constexpr int TILE = 8;

/// Some rows of one adapter: a range of the list of adapted rows; `Tile` in low_rank_plan.rs.
struct Tile {
    unsigned adapter;
    unsigned first, rows;
};

/// One adapter's matrices for a projection: the offsets in the weights of a [rank, inputs] and b
/// [rank, outputs], the rank, and the scale's bits; `Delta` in low_rank_plan.rs. Rank 0 adds
/// nothing.
struct Delta {
    unsigned a, b, rank, scale;
};

/// Computes `between = scale · a · x` for adapted rows. x [tokens, inputs], rows [adapted], between
/// [adapted, stride], of which the first `rank` numbers are written. One warp computes one number
/// for all rows of a tile. Grid: tiles, parts of `stride`.
extern "C" __global__ void low_rank_shrink(
    const float* x, const float* weights, const unsigned* deltas, const unsigned* tiles,
    const unsigned* rows, float* between, int inputs, int stride
) {
    const Tile tile = ((const Tile*)tiles)[blockIdx.x];
    const Delta delta = ((const Delta*)deltas)[tile.adapter];
    const int warps = blockDim.x / WARP;
    const unsigned number = blockIdx.y * warps + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (number >= delta.rank) {
        return; // as does its whole warp
    }
    const float* a = weights + (size_t)delta.a + (size_t)number * inputs;
    const float* from[TILE];
    float sums[TILE];
#pragma unroll
    for (int i = 0; i < TILE; i++) {
        // Pads the tile with its first row; the results of the padding are not written.
        const unsigned row = rows[tile.first + (i < (int)tile.rows ? i : 0)];
        from[i] = x + (size_t)row * inputs;
        sums[i] = 0.0f;
    }
    for (int at = lane; at < inputs; at += WARP) {
        const float weight = a[at];
#pragma unroll
        for (int i = 0; i < TILE; i++) {
            sums[i] += weight * from[i][at];
        }
    }
#pragma unroll
    for (int i = 0; i < TILE; i++) {
        const float sum = warp_sum(sums[i]);
        if (lane == 0 && i < (int)tile.rows) {
            between[(size_t)(tile.first + i) * stride + number] = __uint_as_float(delta.scale) * sum;
        }
    }
}

/// Computes `y += bᵀ · between` for adapted rows. y [tokens, outputs], the others as above. One
/// thread computes one output for all rows of a tile, with shared memory for the tile's `between`.
/// Grid: tiles, parts of the outputs.
extern "C" __global__ void low_rank_expand(
    const float* between, const float* weights, const unsigned* deltas, const unsigned* tiles,
    const unsigned* rows, float* y, int outputs, int stride
) {
    DYNAMIC_SHARED(dynamic_shared);
    float* factors = (float*)dynamic_shared; // [rank, TILE]
    const Tile tile = ((const Tile*)tiles)[blockIdx.x];
    const Delta delta = ((const Delta*)deltas)[tile.adapter];
    if (delta.rank == 0) {
        return; // as does its whole block
    }
    for (unsigned at = threadIdx.x; at < delta.rank * TILE; at += blockDim.x) {
        const unsigned i = at % TILE;
        const size_t row = (size_t)(tile.first + i) * stride;
        factors[at] = i < tile.rows ? between[row + at / TILE] : 0.0f;
    }
    __syncthreads();
    const int at = blockIdx.y * blockDim.x + threadIdx.x;
    if (at >= outputs) {
        return;
    }
    const float* b = weights + (size_t)delta.b + at;
    float sums[TILE];
#pragma unroll
    for (int i = 0; i < TILE; i++) {
        sums[i] = 0.0f;
    }
    for (unsigned number = 0; number < delta.rank; number++) {
        const float weight = b[(size_t)number * outputs];
#pragma unroll
        for (int i = 0; i < TILE; i++) {
            sums[i] += factors[number * TILE + i] * weight;
        }
    }
#pragma unroll
    for (int i = 0; i < TILE; i++) {
        if (i < (int)tile.rows) {
            y[(size_t)rows[tile.first + i] * outputs + at] += sums[i];
        }
    }
}
