// All kernels of the engine, as one module.
#include "attention.cu"
#include "experts.cu"
#include "pages.cu"
#include "rows.cu"
