// A subset of CUDA for g++: compiles the kernels and runs their blocks one after the other, so that
// their logic is tested without a GPU. Each thread of a block is a fiber, which runs until it meets
// a barrier (a shuffle is a barrier of its warp). Memory order between barriers, occupancy and
// coalescing are not simulated. Barriers that some threads never reach are detected; many missing
// barriers are, by running the fibers in both orders.
#pragma once

#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(threads)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct uint4 {
    unsigned x, y, z, w;
};
struct __half {
    uint16_t bits;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }

inline float __half2float(__half half) {
    const unsigned exponent = half.bits >> 10 & 31, mantissa = half.bits & 1023;
    const float sign = half.bits >> 15 ? -1.0f : 1.0f;
    if (exponent == 31) {
        return mantissa ? NAN : sign * INFINITY;
    }
    return sign * (exponent ? std::ldexp(1024.0f + mantissa, (int)exponent - 25) : std::ldexp((float)mantissa, -24));
}

/// Rounds to nearest, ties to even.
inline __half __float2half_rn(float x) {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const float size = std::fabs(x);
    if (std::isnan(x)) {
        return {0x7fff};
    }
    if (size >= 65520.0f) {
        return {(uint16_t)(sign | 0x7c00)};
    }
    if (size == 0.0f) {
        return {sign};
    }
    int exponent = 0;
    std::frexp(size, &exponent);
    // The distance between neighbours: 2^-24 for subnormals.
    const int step = exponent < -13 ? -24 : exponent - 11;
    const unsigned steps = (unsigned)std::nearbyint(std::ldexp(size, -step));
    return {(uint16_t)(sign | (((step + 24) << 10) + steps))};
}

template <typename T> T min(T a, T b) { return b < a ? b : a; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace shim {

constexpr int WARP = 32;
enum class Waits { no, for_warp, for_block, ended };

struct Fiber {
    /// The entry point. Later switches use `_setjmp` and `_longjmp`, since switching contexts costs
    /// system calls.
    ucontext_t context;
    jmp_buf place;
    bool began = false;
    std::vector<char> stack = std::vector<char>(64 << 10);
    Waits waits = Waits::no;
    /// The last two words it gave to its warp: while some lanes read one, others may already give
    /// the next.
    uint32_t given[2] = {};
    unsigned gifts = 0;
};

inline std::vector<Fiber> fibers;
inline jmp_buf scheduler;
inline unsigned current;
inline std::vector<unsigned char> shared_memory;
inline std::function<void()> body;

inline unsigned char* shared() { return shared_memory.data(); }

[[noreturn]] inline void fail(const char* problem) {
    fprintf(stderr, "block %u, %u: %s\n", blockIdx.x, blockIdx.y, problem);
    exit(1);
}

inline void wait(Waits what) {
    fibers[current].waits = what;
    if (_setjmp(fibers[current].place) == 0) {
        _longjmp(scheduler, 1);
    }
}

inline void enter() {
    body();
    fibers[current].waits = Waits::ended;
    _longjmp(scheduler, 1);
}

/// Runs the current fiber until it waits. A function of its own, since a jump does not preserve its
/// caller's locals.
[[gnu::noinline]] inline void go_on() {
    if (_setjmp(scheduler) == 0) {
        if (!fibers[current].began) {
            fibers[current].began = true;
            setcontext(&fibers[current].context);
        }
        _longjmp(fibers[current].place, 1);
    }
}

/// Lets the fibers in `[from, to)` continue if all of them wait for `what`. Returns whether any
/// does.
inline bool release(unsigned from, unsigned to, Waits what) {
    bool any = false;
    for (unsigned i = from; i < to; i++) {
        const Waits waits = fibers[i].waits;
        // Includes threads that have ended: they never reach the barrier.
        if (waits != what) {
            return false;
        }
        any = true;
    }
    for (unsigned i = from; i < to; i++) {
        fibers[i].waits = Waits::no;
    }
    return any;
}

inline void run_block(bool backwards) {
    const unsigned threads = fibers.size();
    // Shared memory starts undefined: as f32, every word is NaN.
    std::fill(shared_memory.begin(), shared_memory.end(), 0xff);
    for (Fiber& fiber : fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        fiber.waits = Waits::no;
        fiber.began = false;
        makecontext(&fiber.context, enter, 0);
    }
    for (;;) {
        for (unsigned i = 0; i < threads; i++) {
            current = backwards ? threads - 1 - i : i;
            if (fibers[current].waits == Waits::no) {
                threadIdx = {current, 0, 0};
                go_on();
            }
        }
        bool goes_on = release(0, threads, Waits::for_block);
        bool ended = true;
        for (unsigned warp = 0; warp < threads; warp += WARP) {
            goes_on |= release(warp, min(warp + WARP, threads), Waits::for_warp);
        }
        for (const Fiber& fiber : fibers) {
            ended &= fiber.waits == Waits::ended;
        }
        if (ended) {
            return;
        }
        if (!goes_on) {
            fail("some threads wait at a barrier that others never reach");
        }
    }
}

/// Runs all blocks of a grid, one after the other.
inline void launch(dim3 grid, dim3 block, unsigned shared_bytes, bool backwards, std::function<void()> kernel) {
    gridDim = grid;
    blockDim = block;
    body = std::move(kernel);
    fibers = std::vector<Fiber>(block.x);
    // Sixteen more bytes, which the kernel must not change.
    shared_memory.assign(shared_bytes + 16, 0xff);
    for (unsigned y = 0; y < grid.y; y++) {
        for (unsigned x = 0; x < grid.x; x++) {
            blockIdx = {x, y, 0};
            run_block(backwards);
            for (unsigned i = shared_bytes; i < shared_bytes + 16; i++) {
                if (shared_memory[i] != 0xff) {
                    fail("wrote beyond its shared memory");
                }
            }
        }
    }
}

/// Returns the word given by the lane whose index differs by XOR with `far`, once all lanes of the
/// warp gave theirs.
inline uint32_t exchange(uint32_t mine, unsigned far) {
    const unsigned me = current;
    const unsigned gift = fibers[me].gifts++ % 2;
    fibers[me].given[gift] = mine;
    wait(Waits::for_warp);
    return fibers[me ^ far].given[gift];
}

} // namespace shim

inline void __syncthreads() { shim::wait(shim::Waits::for_block); }
inline void __syncwarp() { shim::wait(shim::Waits::for_warp); }
inline float __shfl_xor_sync(unsigned, float x, int far) {
    return __uint_as_float(shim::exchange(__float_as_uint(x), far));
}
inline int __shfl_xor_sync(unsigned, int x, int far) {
    return (int)shim::exchange((uint32_t)x, far);
}
