// What Benchmarks/Products gives to C.
#ifndef PRODUCTS_H
#define PRODUCTS_H
#include <stdbool.h>
#include <stdint.h>

void bench_multiply_int(const int32_t *a, const int32_t *b, int32_t *c, long size);
void bench_multiply_double(const double *a, const double *b, double *c, long size);
// `panel` has room for 1024 doubles, on a multiple of 32.
void bench_multiply_vectors(const double *a, const double *b, double *c, void *panel, long size);
bool bench_is_product_int(const int32_t *c, const int32_t *a, const int32_t *b, long size);
bool bench_is_product_double(const double *c, const double *a, const double *b, long size);
#endif
