// The platform that the kernels need: nvcc's, or host/shim.h when g++ compiles them for tests.
#pragma once

#ifdef __CUDACC__
#include <cuda_fp16.h>
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#include "host/shim.h"
#define DYNAMIC_SHARED(name) unsigned char* name = shim::shared()
#endif

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
/// Tokens per page: `PAGE_TOKENS` in kv/mod.rs.
constexpr int PAGE = 32;

/// The number type of pages: how many are in a word of 32 bits, and conversions from and to f32.
template <typename T> struct Kept;

template <> struct Kept<float> {
    static constexpr int PER_WORD = 1;
    static __device__ float of(float x) { return x; }
    static __device__ void unpack(unsigned word, float* to) { to[0] = __uint_as_float(word); }
};

template <> struct Kept<__half> {
    static constexpr int PER_WORD = 2;
    static __device__ __half of(float x) { return __float2half_rn(x); }
    static __device__ void unpack(unsigned word, float* to) {
        to[0] = __half2float(__ushort_as_half((unsigned short)(word & 0xffff)));
        to[1] = __half2float(__ushort_as_half((unsigned short)(word >> 16)));
    }
};

/// Returns the largest of a warp's numbers, in all lanes.
static __device__ float warp_largest(float x) {
    for (int far = WARP / 2; far > 0; far /= 2) {
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, far));
    }
    return x;
}

/// Returns the sum of a warp's numbers, in all lanes.
static __device__ float warp_sum(float x) {
    for (int far = WARP / 2; far > 0; far /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, far);
    }
    return x;
}
