// Kernels that work on rows of f32: norms, activation, rotary embedding. The twins in
// kernels/rows.rs describe what each computes.
#include "platform.cuh"

/// Returns the sum over a block of whole warps, in all its threads. `scratch` has room for a number
/// per warp.
static __device__ float block_sum(float x, float* scratch) {
    x = warp_sum(x);
    const int warps = blockDim.x / WARP;
    __syncthreads(); // all threads have read the previous sum
    if (threadIdx.x % WARP == 0) {
        scratch[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    float sum = 0.0f;
    for (int warp = 0; warp < warps; warp++) {
        sum += scratch[warp];
    }
    return sum;
}

/// Computes `out = x / sqrt(mean(x²) + eps) * weight`. x and out [rows, width]; one block per row.
extern "C" __global__ void rms_norm(
    const float* x, const float* weight, float* out, int width, float eps
) {
    DYNAMIC_SHARED(dynamic_shared);
    const size_t row = (size_t)blockIdx.x * width;
    float squares = 0.0f;
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        squares += x[row + at] * x[row + at];
    }
    const float scale = rsqrtf(block_sum(squares, (float*)dynamic_shared) / width + eps);
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        out[row + at] = x[row + at] * scale * weight[at];
    }
}

/// Computes `x += added`, then `out` as the norm of `x`. All [rows, width]; one block per row.
extern "C" __global__ void add_rms_norm(
    float* x, const float* added, const float* weight, float* out, int width, float eps
) {
    DYNAMIC_SHARED(dynamic_shared);
    const size_t row = (size_t)blockIdx.x * width;
    float squares = 0.0f;
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        const float sum = x[row + at] + added[row + at];
        x[row + at] = sum;
        squares += sum * sum;
    }
    const float scale = rsqrtf(block_sum(squares, (float*)dynamic_shared) / width + eps);
    // Needs no barrier: each thread reads what it wrote itself.
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        out[row + at] = x[row + at] * scale * weight[at];
    }
}

/// For every head of every token: applies the norm if there is a weight, then rotates the pairs
/// `(i, i + half)`. x [tokens, heads, 2 half], cos and sin [tokens, half]; one warp per head.
extern "C" __global__ void norm_and_turn(
    float* x, const float* weight, const float* cos, const float* sin, int heads, int half, float eps
) {
    const int warps = blockDim.x / WARP;
    const int head = blockIdx.y * warps + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (head >= heads) {
        return; // as does its whole warp
    }
    float* mine = x + ((size_t)blockIdx.x * heads + head) * 2 * half;
    const size_t angles = (size_t)blockIdx.x * half;
    float scale = 1.0f;
    if (weight != nullptr) {
        float squares = 0.0f;
        for (int at = lane; at < 2 * half; at += WARP) {
            squares += mine[at] * mine[at];
        }
        scale = rsqrtf(warp_sum(squares) / (2 * half) + eps);
    }
    for (int at = lane; at < half; at += WARP) {
        float a = mine[at] * scale;
        float b = mine[at + half] * scale;
        if (weight != nullptr) {
            a *= weight[at];
            b *= weight[at + half];
        }
        const float c = cos[angles + at];
        const float s = sin[angles + at];
        mine[at] = a * c - b * s;
        mine[at + half] = b * c + a * s;
    }
}

/// Computes `gate = gate / (1 + exp(-gate)) * up`. Both [len].
extern "C" __global__ void swiglu(float* gate, const float* up, int len) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < len) {
        gate[at] = gate[at] / (1.0f + expf(-gate[at])) * up[at];
    }
}

/// Computes `x += bias` for every row. x [len] in rows of `width`, bias [width].
extern "C" __global__ void add_bias(float* x, const float* bias, int len, int width) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < len) {
        x[at] += bias[at % width];
    }
}
