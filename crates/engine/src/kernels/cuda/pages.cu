// Stores the keys and values of a step's tokens in their pages ("reshape and cache" in vLLM,
// https://arxiv.org/abs/2309.06180).
#include "platform.cuh"

/// Stores keys and values [tokens, kv_heads, dim] in pages [pages, kv_heads, PAGE, dim]. slots
/// [tokens]: page times PAGE plus the place in the page. One block per token.
template <typename T>
static __device__ void write_pages(
    const float* keys, const float* values, const unsigned* slots, T* key_pages, T* value_pages,
    int kv_heads, int dim
) {
    const unsigned slot = slots[blockIdx.x];
    const size_t from = (size_t)blockIdx.x * kv_heads * dim;
    for (int at = threadIdx.x; at < kv_heads * dim; at += blockDim.x) {
        const size_t row = ((size_t)(slot / PAGE) * kv_heads + at / dim) * PAGE + slot % PAGE;
        key_pages[row * dim + at % dim] = Kept<T>::of(keys[from + at]);
        value_pages[row * dim + at % dim] = Kept<T>::of(values[from + at]);
    }
}

#define WRITE_PAGES(NAME, T) \
    extern "C" __global__ void NAME( \
        const float* keys, const float* values, const unsigned* slots, T* key_pages, T* value_pages, \
        int kv_heads, int dim \
    ) { \
        write_pages<T>(keys, values, slots, key_pages, value_pages, kv_heads, dim); \
    }

WRITE_PAGES(write_pages_f32, float)
WRITE_PAGES(write_pages_f16, __half)
