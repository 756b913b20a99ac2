// Which variant of `strip.cpp` this processor runs, and what needs no variants.

#include <cstring>

#include "job.hpp"

#define EXPORT extern "C" __attribute__((visibility("default")))

// Both sides must mean the same: `library.py` compares.
EXPORT const char* limelight_source() { return SOURCE; }
EXPORT int64_t limelight_size_of_job() { return sizeof(Job); }

// The quickest variant that this processor runs.
EXPORT const char* limelight_variant() {
#if HAS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return "avx512";
#endif
#if HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
    return "plain";
}

extern "C" void limelight_read_avx512(const Job*);
extern "C" void limelight_read_avx2(const Job*);
extern "C" void limelight_read_plain(const Job*);

EXPORT void limelight_read(const Job* job) {
#if HAS_AVX512
    if (!strcmp(limelight_variant(), "avx512")) return limelight_read_avx512(job);
#endif
#if HAS_AVX2
    if (!strcmp(limelight_variant(), "avx2")) return limelight_read_avx2(job);
#endif
    limelight_read_plain(job);
}

// How many numbers a room must hold for so many rows and (padded) columns in so many spans.
EXPORT int64_t limelight_room(int64_t rows, int64_t columns, int64_t spans) {
    const int64_t chunks = columns / CHUNK + spans;
    return rows * (columns + ODD) + columns + chunks * 16 + (chunks / PANEL + 1) * PANEL;
}

// Keys (M, D) as `multiply` reads them: (panels, D, PANEL), 0 beyond the last key.
EXPORT void limelight_pack(const float* k, int64_t M, int64_t D, float* packed) {
    for (int64_t j0 = 0; j0 < M; j0 += PANEL, packed += D * PANEL)
        for (int64_t d = 0; d < D; ++d)
            for (int64_t c = 0; c < PANEL; ++c) packed[d * PANEL + c] = j0 + c < M ? k[(j0 + c) * D + d] : 0.0f;
}
