// Continues prompts greedily with llama.cpp's library: `llama_greedy MODEL f32|f16 COUNT`, where f32 or f16
// is the type of the KV cache and COUNT the number of tokens to generate. Reads one prompt per line (token
// ids separated by spaces) and writes one line for each: the generated ids, then the smallest gap between
// the best and the second-best logit. No token ends the text.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

#define MOST_TOKENS 1024

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int die(const char *what) {
    fprintf(stderr, "llama_greedy: %s\n", what);
    exit(1);
}

// Returns the argmax of the logits. Lowers `gap` to the distance from the second-best logit if that is smaller.
static llama_token best(const float *logits, int vocab, float *gap) {
    int first = 0, second = -1;
    for (int token = 1; token < vocab; token++) {
        if (logits[token] > logits[first]) {
            second = first;
            first = token;
        } else if (second < 0 || logits[token] > logits[second]) {
            second = token;
        }
    }
    float distance = logits[first] - logits[second];
    if (distance < *gap) *gap = distance;
    return first;
}

// Returns the value of a `rope.scaling` key of the file, or -1 (unset) if the file does not have it. llama.cpp
// reads these keys only for some architectures, not for Qwen, so the caller passes the values on.
static float yarn(const struct llama_model *model, const char *key) {
    char architecture[64], name[128], value[64];
    if (llama_model_meta_val_str(model, "general.architecture", architecture, sizeof architecture) < 0)
        return -1;
    snprintf(name, sizeof name, "%s.rope.scaling.%s", architecture, key);
    return llama_model_meta_val_str(model, name, value, sizeof value) < 0 ? -1 : atof(value);
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: llama_greedy MODEL f32|f16 COUNT < PROMPTS");
    int count = atoi(argv[3]);
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model =
        llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) die("the model cannot be loaded");
    int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));

    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = MOST_TOKENS;
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = strcmp(argv[2], "f32") ? GGML_TYPE_F16 : GGML_TYPE_F32;
    params.yarn_beta_fast = yarn(model, "yarn_beta_fast");
    params.yarn_beta_slow = yarn(model, "yarn_beta_slow");
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *context = llama_init_from_model(model, params);
    if (!context) die("the context cannot be created");

    char line[16 * MOST_TOKENS];
    while (fgets(line, sizeof line, stdin)) {
        llama_token tokens[MOST_TOKENS];
        int len = 0;
        for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
            if (len == MOST_TOKENS) die("a prompt is too long");
            tokens[len++] = atoi(word);
        }
        float gap = 1e30f;
        llama_memory_clear(llama_get_memory(context), true);
        for (int made = 0; made < count; made++) {
            if (llama_decode(context, llama_batch_get_one(tokens, len))) die("llama_decode failed");
            tokens[0] = best(llama_get_logits_ith(context, -1), vocab, &gap);
            len = 1;
            printf("%d ", tokens[0]);
        }
        printf("%f\n", gap);
    }
    llama_free(context);
    llama_model_free(model);
    return 0;
}
