/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles the files LEVEL_FIRST and LEVEL_SECOND once per CPU level: KERNEL(name) gives each of their functions its level's
 * name, name_baseline, name_avx2 or name_avx512. KERNEL_AVX2 and KERNEL_AVX512 say which instructions a level has.
 */
#define KERNEL(name) name##_baseline
#include LEVEL_FIRST
#include LEVEL_SECOND
#undef KERNEL

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define KERNEL(name) name##_avx2
#define KERNEL_AVX2
#include LEVEL_FIRST
#include LEVEL_SECOND
#undef KERNEL
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#define KERNEL(name) name##_avx512
#define KERNEL_AVX512
#include LEVEL_FIRST
#include LEVEL_SECOND
#undef KERNEL_AVX512
#undef KERNEL_AVX2
#undef KERNEL
#pragma clang attribute pop
#endif

#undef LEVEL_FIRST
#undef LEVEL_SECOND
