// The argmax of each row of logits; the twin is kernels/likeliest.rs.
#include "platform.cuh"

/// The index returned if there is no largest.
constexpr unsigned NOWHERE = 0xffffffffu;

/// Replaces the best by `other` at `other_place` if that is larger, or equal and earlier.
static __device__ void take_larger(float& most, unsigned& place, float other, unsigned other_place) {
    if (other > most || (other == most && other_place < place)) {
        most = other;
        place = other_place;
    }
}

/// Computes the largest of a warp's numbers and its place, in all lanes.
static __device__ void warp_likeliest(float& most, unsigned& place) {
    for (int far = WARP / 2; far > 0; far /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, most, far);
        const unsigned other_place = (unsigned)__shfl_xor_sync(ALL_LANES, (int)place, far);
        take_larger(most, place, other, other_place);
    }
}

/// Finds the index of the largest logit of each row, the first of equal ones; NOWHERE if no logit
/// is above minus infinity. NaN counts as minus infinity. logits [rows, width], places [rows]. One
/// block of up to 32 warps per row, with shared memory for a number and an index per warp.
extern "C" __global__ void likeliest(const float* logits, unsigned* places, int width) {
    DYNAMIC_SHARED(dynamic_shared);
    const int warps = blockDim.x / WARP;
    float* largest = (float*)dynamic_shared;
    unsigned* largest_places = (unsigned*)(largest + warps);
    const float* row = logits + (size_t)blockIdx.x * width;
    float most = -INFINITY;
    unsigned place = NOWHERE;
#pragma unroll 4
    for (int at = threadIdx.x; at < width; at += blockDim.x) {
        const float logit = row[at];
        if (logit > most) {
            most = logit;
            place = at;
        }
    }
    warp_likeliest(most, place);
    const int lane = threadIdx.x % WARP;
    if (lane == 0) {
        largest[threadIdx.x / WARP] = most;
        largest_places[threadIdx.x / WARP] = place;
    }
    __syncthreads();
    if (threadIdx.x >= WARP) {
        return; // as does its whole warp
    }
    most = lane < warps ? largest[lane] : -INFINITY;
    place = lane < warps ? largest_places[lane] : NOWHERE;
    warp_likeliest(most, place);
    if (lane == 0) {
        places[blockIdx.x] = place;
    }
}
