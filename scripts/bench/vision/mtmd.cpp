// Measures with llama.cpp's libmtmd what `cargo bench --bench vision -- image` measures with the engine, and prints the
// same lines:  mtmd TEXT MMPROJ THREADS TOKENS...
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/resource.h>
#include <vector>

#include "llama.h"
#include "mtmd-helper.h"
#include "mtmd.h"

struct seconds {
    double wall, cpu;
};

static seconds now() {
    rusage use;
    getrusage(RUSAGE_SELF, &use);
    auto of = [](timeval time) { return time.tv_sec + time.tv_usec / 1e6; };
    std::chrono::duration<double> wall = std::chrono::steady_clock::now().time_since_epoch();
    return {wall.count(), of(use.ru_utime) + of(use.ru_stime)};
}

static void print(const char * what, size_t tokens, seconds begin, seconds end) {
    printf("{\"what\": \"%s\", \"tokens\": %zu, \"wall\": %.4f, \"cpu\": %.4f}\n", what, tokens, end.wall - begin.wall,
           end.cpu - begin.cpu);
    fflush(stdout);
}

static void check(bool ok, const char * what) {
    if (!ok) {
        fprintf(stderr, "mtmd: %s failed\n", what);
        exit(1);
    }
}

int main(int argc, char ** argv) {
    check(argc > 4, "reading the arguments");
    const int threads = atoi(argv[3]);
    auto quiet = [](ggml_log_level level, const char * text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    };
    llama_log_set(quiet, nullptr);
    mtmd_helper_log_set(quiet, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    check(model, "loading the text model");
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 4096;
    params.n_batch = 2048;
    params.n_threads = params.n_threads_batch = threads;
    llama_context * context = llama_init_from_model(model, params);
    check(context, "making a context");
    mtmd_context_params vision = mtmd_context_params_default();
    vision.use_gpu = false;
    vision.print_timings = false;
    vision.n_threads = threads;
    vision.warmup = false;
    vision.image_min_tokens = 4;
    vision.image_max_tokens = 4096;
    mtmd_context * tower = mtmd_init_from_file(argv[2], model, vision);
    check(tower, "loading the projector");
    std::vector<int> sizes = {atoi(argv[4])}; // the first warms up
    for (int at = 4; at < argc; at++) sizes.push_back(atoi(argv[at]));
    for (size_t index = 0; index < sizes.size(); index++) {
        const uint32_t side = 32 * (uint32_t) std::lround(std::sqrt(sizes[index]));
        std::vector<unsigned char> rgb(3 * side * side);
        for (size_t n = 0; n < rgb.size(); n++) rgb[n] = ((uint32_t) n * 2654435761u) >> 24;
        mtmd_bitmap * bitmap = mtmd_bitmap_init(side, side, rgb.data());
        mtmd_input_chunks * chunks = mtmd_input_chunks_init();
        mtmd_input_text text = {mtmd_default_marker(), 0, false, true};
        while (text.text[text.text_len]) text.text_len++;
        const mtmd_bitmap * bitmaps[] = {bitmap};
        check(mtmd_tokenize(tower, chunks, &text, bitmaps, 1) == 0, "preparing the image");
        for (size_t at = 0; at < mtmd_input_chunks_size(chunks); at++) {
            const mtmd_input_chunk * chunk = mtmd_input_chunks_get(chunks, at);
            if (mtmd_input_chunk_get_type(chunk) != MTMD_INPUT_CHUNK_TYPE_IMAGE) continue;
            const size_t tokens = mtmd_input_chunk_get_n_tokens(chunk);
            seconds begin = now();
            check(mtmd_encode_chunk(tower, chunk) == 0, "encoding");
            seconds encoded = now();
            llama_memory_clear(llama_get_memory(context), true);
            llama_pos past = 0;
            seconds ready = now();
            int failed = mtmd_helper_decode_image_chunk(tower, context, chunk, mtmd_get_output_embd(tower), 0, 0, 2048,
                                                        &past, nullptr, nullptr);
            check(failed == 0, "processing the rows");
            llama_synchronize(context);
            seconds end = now();
            if (index > 0) {
                print("encode", tokens, begin, encoded);
                print("prefill", tokens, ready, end);
            }
        }
        mtmd_input_chunks_free(chunks);
        mtmd_bitmap_free(bitmap);
    }
    mtmd_free(tower);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
