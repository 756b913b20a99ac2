// Vectors of WIDTH floats, and what is done with them. The vectors are those of GCC and Clang, for any processor;
// only where it pays an instruction is named.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

typedef float vf __attribute__((vector_size(4 * WIDTH), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * WIDTH), may_alias));
typedef float half __attribute__((vector_size(2 * WIDTH)));
typedef double vd __attribute__((vector_size(4 * WIDTH)));

constexpr int64_t W = WIDTH;
constexpr float NONE = -INFINITY;

inline vf all(float x) { return vf{} + x; }
inline vf& at(float* x) { return *reinterpret_cast<vf*>(x); }
inline vf get(const float* x) { return *reinterpret_cast<const vf*>(x); }

inline vf larger(vf a, vf b) {  // where b is no number, the answer is b
#if defined(__AVX512F__) && WIDTH == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__) && WIDTH == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}

inline bool any(vi mask) {
#if defined(__AVX512F__) && WIDTH == 16
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(__AVX2__) && WIDTH == 8
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int32_t joined = 0;
    for (int64_t lane = 0; lane < W; ++lane) joined |= mask[lane];
    return joined != 0;
#endif
}

inline float largest_of(vf x) {
    float best = x[0];
    for (int64_t lane = 1; lane < W; ++lane) best = x[lane] > best ? x[lane] : best;
    return best;
}

// Sums in float64, one a lane.
struct Wide {
    vd low{}, high{};
    void add(vf x, double factor = 1) {
        half a, b;
        memcpy(&a, &x, sizeof a);
        memcpy(&b, reinterpret_cast<const char*>(&x) + sizeof a, sizeof b);
        low += __builtin_convertvector(a, vd) * factor;
        high += __builtin_convertvector(b, vd) * factor;
    }
    double total() const {
        double sum = 0;
        for (int64_t lane = 0; lane < W / 2; ++lane) sum += low[lane] + high[lane];
        return sum;
    }
};

// e^x for x ≤ 0, within 1 unit in the last place (1.2 where a processor rounds products before it adds them); 0 below
// the smallest normal number. x is cut off there, so that 0·x is 0 and not NaN. What is no number stays none.
inline vf exponential(vf& x) {
    const vf least = all(-87.3f);
    x = larger(least, x);
    const vf magic = all(12582912.0f);  // 1.5·2²³: adding it rounds to a whole number, in the last bits
    const vf shifted = x * 1.44269504f + magic;
    const vf n = shifted - magic;
    // ln 2 in two parts (Cody and Waite): the first has so few digits that n times it is exact.
    const vf r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
    // Minimax on ±ln(2)/2 with 1 + r kept: relative error 3e-9.
    vf p = r * 0x1.6a2434p-10f + 0x1.1239e2p-7f;
    p = p * r + 0x1.5558f2p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
#if defined(__AVX512F__) && WIDTH == 16
    const vf raised = (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    const vf raised = p * (vf)(((vi)shifted << 23) + 0x3f800000);
#endif
    return x <= least ? vf{} : raised;
}

}  // namespace
