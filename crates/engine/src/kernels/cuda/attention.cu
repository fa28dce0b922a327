// Attention over KV pages, for chunks of prompts and single tokens alike.
//
// A block computes a tile: up to ROWS rows of one KV head, where a row is one query head of one
// token. All query heads of a group share the KV head, so its keys and values are read once for
// them ("GQA packing"). The block walks its pages and keeps, for each row, the largest score so
// far, the sum of weights and the weighted sum of values: softmax in one pass
// (https://arxiv.org/abs/1805.02867) as in FlashAttention-2 (https://arxiv.org/abs/2307.08691). If
// a step has too few tiles to fill the GPU, the pages of a tile are split among several blocks
// (Flash-Decoding, "split K"), whose partial results `join_parts` combines.
#include "platform.cuh"

constexpr int WARPS = 4;
constexpr int THREADS = WARPS * WARP;
constexpr float NOTHING = -INFINITY;
/// The `part` of an item that writes its result to `out` directly.
constexpr unsigned NO_PART = 0xffffffffu;

/// The work of one block; `Item` in attention_plan.rs.
struct Item {
    /// The tile's first token: its index in q and out.
    unsigned first_token;
    unsigned tokens;
    /// The first token's position in its sequence.
    unsigned position;
    /// The index in `tables` of its sequence's first page.
    unsigned table;
    /// The range of pages to walk, counted in its sequence.
    unsigned page_begin, page_end;
    /// The index of its partial result in `parts`, or NO_PART.
    unsigned part;
};

/// Computes one item. q and out [tokens, heads, DIM]; keys and values [pages, kv_heads, PAGE, DIM];
/// parts [parts, kv_heads, ROWS, DIM + 2], of each row the sum of values, the largest score and the
/// sum of weights. Grid: items, kv_heads.
template <typename T, int DIM, int ROWS>
static __device__ void attend(
    const float* q, const T* keys, const T* values, const unsigned* tables, const unsigned* items,
    float* out, float* parts, int heads, int kv_heads, float scale
) {
    constexpr int PER_WORD = Kept<T>::PER_WORD;
    constexpr int WORDS = DIM / PER_WORD;
    // Odd, so that the lanes of a warp, each reading another key, access 32 different banks.
    constexpr int STRIDE = WORDS + 1;
    constexpr int ROWS_OF_WARP = ROWS / WARPS;
    // A thread sums the numbers of one word for every STEP-th row.
    constexpr int STEP = THREADS / WORDS;
    constexpr int SUMS = ROWS > STEP ? ROWS / STEP : 1;
    static_assert(THREADS % WORDS == 0 && ROWS % WARPS == 0 && WORDS % 4 == 0, "unsupported shape");

    DYNAMIC_SHARED(dynamic_shared);
    float* queries = (float*)dynamic_shared;                     // [ROWS, DIM]
    float* weights = queries + ROWS * DIM;               // [ROWS, PAGE]
    float* shrink = weights + ROWS * PAGE;               // [ROWS]
    unsigned* page_values = (unsigned*)(shrink + ROWS);  // [PAGE, WORDS]
    unsigned* page_keys = page_values + PAGE * WORDS;    // [PAGE, STRIDE]

    const Item item = ((const Item*)items)[blockIdx.x];
    const int kv_head = blockIdx.y;
    const int group = heads / kv_heads;
    const int rows = item.tokens * group;
    const int thread = threadIdx.x;
    const int warp = thread / WARP;
    const int lane = thread % WARP;

    for (int at = thread; at < ROWS * DIM; at += THREADS) {
        const int row = at / DIM;
        float x = 0.0f;
        if (row < rows) {
            const size_t token = item.first_token + row / group;
            const int head = kv_head * group + row % group;
            x = q[(token * heads + head) * DIM + at % DIM] * scale;
        }
        queries[at] = x;
    }

    float largest[ROWS_OF_WARP], total[ROWS_OF_WARP];
    for (int i = 0; i < ROWS_OF_WARP; i++) {
        largest[i] = NOTHING;
        total[i] = 0.0f;
    }
    float sums[SUMS][PER_WORD];
    for (int i = 0; i < SUMS; i++) {
        for (int part = 0; part < PER_WORD; part++) {
            sums[i][part] = 0.0f;
        }
    }
    const int word = thread % WORDS;
    const int first_row = thread / WORDS;
    // Tokens up to the tile's last. Slots of a page beyond them may hold anything.
    const unsigned seen = item.position + item.tokens;

    for (unsigned page = item.page_begin; page < item.page_end; page++) {
        const size_t place = ((size_t)tables[item.table + page] * kv_heads + kv_head) * PAGE * DIM;
        const uint4* from_keys = (const uint4*)(keys + place);
        const uint4* from_values = (const uint4*)(values + place);
        for (int at = thread; at < PAGE * WORDS / 4; at += THREADS) {
            const uint4 key = from_keys[at];
            unsigned* to = page_keys + at * 4 / WORDS * STRIDE + at * 4 % WORDS;
            to[0] = key.x;
            to[1] = key.y;
            to[2] = key.z;
            to[3] = key.w;
            ((uint4*)page_values)[at] = from_values[at];
        }
        __syncthreads();

        // Scores: each lane computes one token of the page, each warp its rows.
        float scores[ROWS_OF_WARP];
        for (int i = 0; i < ROWS_OF_WARP; i++) {
            scores[i] = 0.0f;
        }
        const float* my_queries = queries + warp * ROWS_OF_WARP * DIM;
#pragma unroll 8
        for (int at = 0; at < WORDS; at++) {
            float key[PER_WORD];
            Kept<T>::unpack(page_keys[lane * STRIDE + at], key);
#pragma unroll
            for (int i = 0; i < ROWS_OF_WARP; i++) {
                for (int part = 0; part < PER_WORD; part++) {
                    scores[i] += my_queries[i * DIM + at * PER_WORD + part] * key[part];
                }
            }
        }
        const unsigned token = page * PAGE + lane;
#pragma unroll
        for (int i = 0; i < ROWS_OF_WARP; i++) {
            const int row = warp * ROWS_OF_WARP + i;
            const bool visible = row < rows && token <= item.position + row / group;
            const float score = visible ? scores[i] : NOTHING;
            const float most = fmaxf(largest[i], warp_largest(score));
            // Guards against inf - inf in rows that have seen no token yet.
            const float weight = visible ? expf(score - most) : 0.0f;
            const float kept = largest[i] == NOTHING ? 0.0f : expf(largest[i] - most);
            total[i] = total[i] * kept + warp_sum(weight);
            largest[i] = most;
            weights[row * PAGE + lane] = weight;
            if (lane == 0) {
                shrink[row] = kept;
            }
        }
        __syncthreads();

        // Values: each thread sums the numbers of one word for its rows.
        const int filled = min((int)(seen - page * PAGE), PAGE);
#pragma unroll
        for (int i = 0; i < SUMS; i++) {
            const int row = first_row + i * STEP;
            for (int part = 0; part < PER_WORD; part++) {
                sums[i][part] *= row < ROWS ? shrink[row] : 0.0f;
            }
        }
        for (int token = 0; token < filled; token++) {
            float value[PER_WORD];
            Kept<T>::unpack(page_values[token * WORDS + word], value);
#pragma unroll
            for (int i = 0; i < SUMS; i++) {
                const int row = first_row + i * STEP;
                const float weight = row < ROWS ? weights[row * PAGE + token] : 0.0f;
                for (int part = 0; part < PER_WORD; part++) {
                    sums[i][part] += weight * value[part];
                }
            }
        }
        __syncthreads();
    }

    // Shares the totals, which the rows' warps hold, with the threads that hold the sums. Reuses
    // the weights.
    float* totals = weights;
    float* largests = weights + ROWS;
    for (int i = 0; i < ROWS_OF_WARP; i++) {
        if (lane == 0) {
            totals[warp * ROWS_OF_WARP + i] = total[i];
            largests[warp * ROWS_OF_WARP + i] = largest[i];
        }
    }
    __syncthreads();
    for (int i = 0; i < SUMS; i++) {
        const int row = first_row + i * STEP;
        if (row >= rows) {
            continue;
        }
        if (item.part == NO_PART) {
            const size_t token = item.first_token + row / group;
            const int head = kv_head * group + row % group;
            float* to = out + (token * heads + head) * DIM + word * PER_WORD;
            for (int part = 0; part < PER_WORD; part++) {
                to[part] = sums[i][part] / totals[row];
            }
        } else {
            const size_t at = ((size_t)item.part * kv_heads + kv_head) * ROWS + row;
            float* to = parts + at * (DIM + 2);
            for (int part = 0; part < PER_WORD; part++) {
                to[word * PER_WORD + part] = sums[i][part];
            }
            if (word == 0) {
                to[DIM] = largests[row];
                to[DIM + 1] = totals[row];
            }
        }
    }
}

/// A token whose tile was split; `Join` in attention_plan.rs.
struct Join {
    unsigned token;
    unsigned first_part, parts;
    /// The token's first row in its tile.
    unsigned first_row;
};

/// Combines the partial results of split tiles. parts [parts, kv_heads, rows, dim + 2], out
/// [tokens, heads, dim]. Grid: joins, heads.
extern "C" __global__ void join_parts(
    const float* parts, const unsigned* joins, float* out, int heads, int kv_heads, int rows, int dim
) {
    const Join join = ((const Join*)joins)[blockIdx.x];
    const int head = blockIdx.y;
    const int group = heads / kv_heads;
    const size_t row = (size_t)(head / group) * rows + join.first_row + head % group;
    const size_t stride = (size_t)kv_heads * rows * (dim + 2);
    const float* first = parts + join.first_part * stride + row * (dim + 2);
    float most = NOTHING;
    for (unsigned part = 0; part < join.parts; part++) {
        most = fmaxf(most, first[part * stride + dim]);
    }
    float total = 0.0f;
    for (unsigned part = 0; part < join.parts; part++) {
        const float largest = first[part * stride + dim];
        // A part in which the row saw no token has weight zero.
        total += largest == NOTHING ? 0.0f : first[part * stride + dim + 1] * expf(largest - most);
    }
    for (int at = threadIdx.x; at < dim; at += blockDim.x) {
        float sum = 0.0f;
        for (unsigned part = 0; part < join.parts; part++) {
            const float largest = first[part * stride + dim];
            sum += largest == NOTHING ? 0.0f : first[part * stride + at] * expf(largest - most);
        }
        out[((size_t)join.token * heads + head) * dim + at] = sum / total;
    }
}

#define ATTEND(NAME, T, DIM, ROWS) \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME( \
        const float* q, const T* keys, const T* values, const unsigned* tables, const unsigned* items, \
        float* out, float* parts, int heads, int kv_heads, float scale \
    ) { \
        attend<T, DIM, ROWS>(q, keys, values, tables, items, out, parts, heads, kv_heads, scale); \
    }
#define ATTEND_ROWS(KIND, T, DIM) \
    ATTEND(attend_##KIND##_##DIM##_4, T, DIM, 4) \
    ATTEND(attend_##KIND##_##DIM##_8, T, DIM, 8) \
    ATTEND(attend_##KIND##_##DIM##_16, T, DIM, 16)
#define ATTEND_DIMS(KIND, T) \
    ATTEND_ROWS(KIND, T, 16) \
    ATTEND_ROWS(KIND, T, 32) \
    ATTEND_ROWS(KIND, T, 64) \
    ATTEND_ROWS(KIND, T, 128)

ATTEND_DIMS(f32, float)
ATTEND_DIMS(f16, __half)
// With pages of f16, 48 KiB of shared memory hold tiles of 32 rows.
ATTEND(attend_f16_16_32, __half, 16, 32)
ATTEND(attend_f16_32_32, __half, 32, 32)
ATTEND(attend_f16_64_32, __half, 64, 32)
ATTEND(attend_f16_128_32, __half, 128, 32)
