// Includes all kernels of the engine, to compile them as one module.
#include "attention.cu"
#include "experts.cu"
#include "likeliest.cu"
#include "low_rank.cu"
#include "pages.cu"
#include "rows.cu"
