// Mixture of experts: choosing the experts of each token, and mixing their results.
#include "platform.cuh"

/// Chooses the `used` experts with the largest logits (of equal ones the first) and their weights:
/// softmax over the chosen experts if `normalized`, else over all. logits [tokens, experts]; chosen
/// and weights [tokens, used]. One warp per token, with shared memory for a row of logits.
extern "C" __global__ void choose_experts(
    const float* logits, unsigned* chosen, float* weights, int experts, int used, int normalized
) {
    DYNAMIC_SHARED(dynamic_shared);
    float* left = (float*)dynamic_shared;
    const int lane = threadIdx.x;
    const float* mine = logits + (size_t)blockIdx.x * experts;
    float largest = -INFINITY;
    for (int at = lane; at < experts; at += WARP) {
        left[at] = mine[at];
        largest = fmaxf(largest, mine[at]);
    }
    largest = warp_largest(largest);
    float total = 0.0f;
    for (int at = lane; at < experts; at += WARP) {
        total += expf(mine[at] - largest);
    }
    total = warp_sum(total);
    __syncwarp();
    float total_of_chosen = 0.0f;
    for (int choice = 0; choice < used; choice++) {
        float most = -INFINITY;
        int best = experts;
        for (int at = lane; at < experts; at += WARP) {
            if (left[at] > most) {
                most = left[at];
                best = at;
            }
        }
        for (int far = WARP / 2; far > 0; far /= 2) {
            const float other = __shfl_xor_sync(ALL_LANES, most, far);
            const int other_best = __shfl_xor_sync(ALL_LANES, best, far);
            if (other > most || (other == most && other_best < best)) {
                most = other;
                best = other_best;
            }
        }
        // If no logit is a number, any expert will do: the result is not a number in any case.
        best = best < experts ? best : choice;
        const float weight = expf(mine[best] - largest);
        total_of_chosen += weight;
        if (lane == 0) {
            left[best] = -INFINITY;
            chosen[(size_t)blockIdx.x * used + choice] = best;
            weights[(size_t)blockIdx.x * used + choice] = weight;
        }
        __syncwarp();
    }
    const float by = normalized ? total_of_chosen : total;
    for (int choice = lane; choice < used; choice += WARP) {
        weights[(size_t)blockIdx.x * used + choice] /= by;
    }
}

/// Computes `out += Σ weight · made` over a token's experts. made [tokens, used, width], weights
/// [tokens, used], out [tokens, width]. Grid: tokens, parts of a row.
extern "C" __global__ void mix_experts(
    const float* made, const float* weights, float* out, int used, int width
) {
    const int at = blockIdx.y * blockDim.x + threadIdx.x;
    if (at >= width) {
        return;
    }
    const size_t token = blockIdx.x;
    float sum = out[token * width + at];
    for (int choice = 0; choice < used; choice++) {
        sum += weights[token * used + choice] * made[(token * used + choice) * width + at];
    }
    out[token * width + at] = sum;
}

/// Computes `x *= 1 / (1 + exp(-gate))` for every row. x [rows, width], gate [rows]. Grid: rows,
/// parts of a row.
extern "C" __global__ void open_gate(float* x, const float* gate, int width) {
    const int at = blockIdx.y * blockDim.x + threadIdx.x;
    if (at < width) {
        x[(size_t)blockIdx.x * width + at] *= 1.0f / (1.0f + expf(-gate[blockIdx.x]));
    }
}
