// Runs one kernel on the CPU with the shim: reads the call from standard input and writes the
// buffers' contents after the run to standard output. host.rs is the other end and defines the
// format.
#include "../kernels.cu"

#include <map>
#include <string>

namespace {

/// An argument as host.rs sends it: 'p' the index of a buffer from 1, 0 for null; 'i' an int; 'f' a
/// float.
struct Argument {
    char kind;
    uint64_t bits;
};

struct Call {
    std::vector<std::vector<unsigned char>> buffers;
    std::vector<Argument> arguments;
    size_t next = 0;

    uint64_t take(char kind) {
        if (next == arguments.size()) {
            shim::fail("is called with less than it takes");
        }
        const Argument argument = arguments[next++];
        if (argument.kind != kind) {
            shim::fail("is called with another kind of argument than it takes");
        }
        return argument.bits;
    }
};

/// Reads the next argument, of each kind.
template <typename T> struct Next;
template <typename T> struct Next<T*> {
    static T* of(Call& call) {
        const uint64_t buffer = call.take('p');
        return buffer == 0 ? nullptr : (T*)call.buffers.at(buffer - 1).data();
    }
};
template <> struct Next<int> {
    static int of(Call& call) { return (int)(uint32_t)call.take('i'); }
};
template <> struct Next<float> {
    static float of(Call& call) { return __uint_as_float((uint32_t)call.take('f')); }
};

using Kernel = std::function<std::function<void()>(Call&)>;

template <typename... A> Kernel of(void (*kernel)(A...)) {
    return [kernel](Call& call) -> std::function<void()> {
        // Braces, since only they evaluate the elements from left to right.
        std::tuple<A...> arguments{Next<A>::of(call)...};
        if (call.next != call.arguments.size()) {
            shim::fail("is called with more than it takes");
        }
        return [kernel, arguments] { std::apply(kernel, arguments); };
    };
}

#define KERNEL(name) {#name, of(name)}
#define ATTENTION(kind, dim) \
    KERNEL(attend_##kind##_##dim##_4), KERNEL(attend_##kind##_##dim##_8), KERNEL(attend_##kind##_##dim##_16)

const std::map<std::string, Kernel> KERNELS = {
    KERNEL(rms_norm), KERNEL(add_rms_norm), KERNEL(norm_and_turn), KERNEL(swiglu), KERNEL(add_bias),
    KERNEL(write_pages_f32), KERNEL(write_pages_f16), KERNEL(join_parts), KERNEL(choose_experts),
    KERNEL(mix_experts), KERNEL(open_gate), KERNEL(likeliest), KERNEL(low_rank_shrink), KERNEL(low_rank_expand),
    ATTENTION(f32, 16), ATTENTION(f32, 32), ATTENTION(f32, 64), ATTENTION(f32, 128),
    ATTENTION(f16, 16), ATTENTION(f16, 32), ATTENTION(f16, 64), ATTENTION(f16, 128),
    KERNEL(attend_f16_16_32), KERNEL(attend_f16_32_32), KERNEL(attend_f16_64_32), KERNEL(attend_f16_128_32),
};

template <typename T> T read() {
    T value;
    if (fread(&value, sizeof value, 1, stdin) != 1) {
        shim::fail("the call ends early");
    }
    return value;
}

} // namespace

int main() {
    std::string name(read<uint32_t>(), ' ');
    for (char& letter : name) {
        letter = read<char>();
    }
    const dim3 grid = {read<uint32_t>(), read<uint32_t>(), 1};
    const dim3 block = {read<uint32_t>(), 1, 1};
    const uint32_t shared = read<uint32_t>(), backwards = read<uint32_t>();
    Call call;
    call.buffers.resize(read<uint32_t>());
    for (auto& buffer : call.buffers) {
        // Sixteen more bytes, which the kernel must not change.
        const size_t len = read<uint64_t>();
        buffer.assign(len + 16, 0xa5);
        if (len != 0 && fread(buffer.data(), 1, len, stdin) != len) {
            shim::fail("the call ends early");
        }
    }
    call.arguments.resize(read<uint32_t>());
    for (Argument& argument : call.arguments) {
        argument.kind = read<char>();
        argument.bits = read<uint64_t>();
    }
    const auto kernel = KERNELS.find(name);
    if (kernel == KERNELS.end()) {
        shim::fail("there is no kernel of this name");
    }
    shim::launch(grid, block, shared, backwards, kernel->second(call));
    for (const auto& buffer : call.buffers) {
        const size_t len = buffer.size() - 16;
        for (size_t at = len; at < buffer.size(); at++) {
            if (buffer[at] != 0xa5) {
                shim::fail("wrote beyond a buffer");
            }
        }
        fwrite(buffer.data(), 1, len, stdout);
    }
    return 0;
}
