// Some rows of an attention matrix, all keys, every sum in one go.
//
// A few rows at a time are held in `room`, so few that they stay in the cache of a core:
//
//   scores       Q·Kᵀ by `multiply`, or copied from what PyTorch computed; -∞ where a query may not look
//   first sweep  over a row: its maximum m; ArgMax and TopK
//   second       p = exp(s - m) in place; Σ p, Σ p·(s - m), Σ p·distance
//   third        a few rows together: Σ over the rows of p/l into the columns
//
// The columns of all spans stand side by side, each span padded with -∞ to a whole number of panels, so that no
// sweep has a rest. Sums in float32 run over one chunk of columns, or the rows of one call; beyond, they are float64.
//
// Compiled once for each kind of processor (VARIANT, WIDTH); `choice.cpp` chooses between them.

#include <algorithm>
#include <vector>

#include "job.hpp"
#include "lanes.hpp"
#include "row.hpp"

namespace {

template <int TALL>
inline void micro(const float* q, int64_t D, const float* packed, float* out, int64_t stride) {
    vf sum[TALL][2] = {};
    for (int64_t d = 0; d < D; ++d) {
        const vf left = get(packed + d * PANEL), right = get(packed + d * PANEL + W);
#pragma GCC unroll 16
        for (int r = 0; r < TALL; ++r) {
            const vf factor = all(q[r * D + d]);
            sum[r][0] += factor * left;
            sum[r][1] += factor * right;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < TALL; ++r) {
        at(out + r * stride) = sum[r][0];
        at(out + r * stride + W) = sum[r][1];
    }
}

// scale·QKᵀ of some rows and one panel of columns.
void multiply(const float* q, int64_t rows, int64_t D, const float* packed, float* out, int64_t stride) {
    constexpr int TALL = WIDTH == 16 ? 12 : WIDTH == 8 ? 6 : 4;
    for (int64_t c = 0; c < PANEL; c += 2 * W) {
        int64_t r = 0;
        for (; r + TALL <= rows; r += TALL) micro<TALL>(q + r * D, D, packed + c, out + r * stride + c, stride);
        for (; r + 4 <= rows; r += 4) micro<4>(q + r * D, D, packed + c, out + r * stride + c, stride);
        for (; r < rows; ++r) micro<1>(q + r * D, D, packed + c, out + r * stride + c, stride);
    }
}

struct Head {
    const Job& job;
    int64_t b, h, L;
    Chunk* chunk;
    int64_t chunks;

    int64_t index() const { return b * job.H + h; }
    // From row to row. A multiple of a large power of two would bring all rows to one place of the cache.
    int64_t stride() const { return L + ODD; }
    float* lanes() const { return job.room + job.room_rows * stride(); }
    float* largest() const { return lanes() + chunks * W; }
    float* pooling() const { return largest() + padded(chunks); }  // the sums of one run of rows
    float* columns() const { return job.columns ? job.columns + index() * L : nullptr; }
    int32_t* hidden() const { return job.hidden + index() * L; }
    Row row(int64_t r) const { return Row{job.room + r * stride(), lanes(), largest(), chunk, chunks}; }

    const uint8_t* seen(const Partial& partial, int64_t r) const {  // indexed by the columns of the span
        const int64_t start = b * partial.batch_stride + h * partial.head_stride;
        return partial.seen + start + r * (partial.stop - partial.start) - partial.start;
    }

    bool hides(const Span& span, int64_t first, int64_t last, int64_t r0, int64_t r1) const {
        for (int64_t i = 0; i < span.partials; ++i) {
            const Partial& partial = span.partial[i];
            if (first < partial.start || last > partial.stop) continue;
            uint8_t joined = 0;
            for (int64_t r = r0; r < r1 && !joined; ++r)
                for (int64_t j = first; j < last; ++j) joined |= seen(partial, r)[j];
            return !joined;
        }
        return false;
    }

    // Bring the scores of rows r0:r1 into the room; false where none of them sees any of the chunk.
    bool fill(const Chunk& here, int64_t r0, int64_t r1) const {
        const Span& span = *here.span;
        const int64_t from = here.first - span.first, count = smaller(here.width, span.count - from);
        float* const out = job.room + here.at;
        bool alive = span.scores != nullptr;
        if (span.scores) {
            for (int64_t r = r0; r < r1; ++r)
                memcpy(out + (r - r0) * stride(), span.scores + (index() * job.R + r) * span.count + from, 4 * count);
        } else {
            const float* q = job.q + (index() * job.R + r0) * job.D;
            const int64_t key_head = index() / job.heads_a_key_head;
            for (int64_t j = 0; j < here.width; j += PANEL) {
                if (hides(span, from + j, smaller(from + j + PANEL, span.count), r0, r1)) {
                    for (int64_t r = 0; r < r1 - r0; ++r) std::fill_n(out + r * stride() + j, PANEL, NONE);
                    continue;
                }
                const int64_t panel = key_head * job.panels + (here.first + j) / PANEL;
                multiply(q, r1 - r0, job.D, job.packed + panel * job.D * PANEL, out + j, stride());
                alive = true;
            }
        }
        for (int64_t i = 0; i < span.partials; ++i) {
            const Partial& partial = span.partial[i];
            const int64_t a = larger_of(partial.start, from), z = smaller(partial.stop, from + count);
            for (int64_t r = r0; r < r1 && a < z; ++r)
                hide(out + (r - r0) * stride() - from, hidden() + here.at - from, partial.seen ? seen(partial, r) : nullptr, a, z);
        }
        for (int64_t r = 0; r < r1 - r0; ++r) std::fill(out + r * stride() + count, out + r * stride() + here.width, NONE);
        return alive;
    }

    // What row r of the matrix, in the room, adds to everything but the columns. Returns 1/l, e^m taken out.
    float read_row(const Row& row, int64_t r) const {
        const int64_t at = index() * job.R + r;
        float maximum = find_maximum(row);
        if (job.peak) job.peak[at] = find_peak(row, maximum);
        if (job.k) find_top(row, job.k, job.top_scores + at * job.k, job.top_keys + at * job.k);
        const int64_t place = job.place + r;
        const Sums sums = job.behind    ? raise_row<true, true>(row, maximum, place)
                          : job.entropy ? raise_row<true, false>(row, maximum, place)
                                        : raise_row<false, false>(row, maximum, place);
        const bool empty = maximum == NONE && sums.total == 0;
        if (std::isnan(sums.total)) maximum = NAN;  // one score was no number: the row must not look well
        double log_sum = std::log(sums.total);
        if (job.sink) {
            const double sink = (double)job.sink[h] - maximum, most = std::fmax(sink, log_sum);
            log_sum = most + std::log(std::exp(sink - most) + std::exp(log_sum - most));
        }
        if (empty) log_sum = 0;
        const double factor = std::exp(-log_sum);
        job.maximum[at] = maximum;
        job.log_sum[at] = log_sum;
        // -Σ a·ln a with a = p·factor and ln a = (s - m) - log_sum; neither term is below 0.
        if (job.entropy) job.entropy[at] = (log_sum * sums.total - sums.tilt) * factor;
        if (job.behind) job.behind[at] = sums.behind * factor, job.ahead[at] = sums.ahead * factor;
        return empty ? 0.0f : (float)factor;
    }

    void add_columns(int64_t r0, int64_t r1, const float* factors, float* sums) const {
        int64_t r = r0;
        for (; r + 12 <= r1; r += 12) add_rows<12>(row(r), stride(), factors + r, sums);
        for (; r + 4 <= r1; r += 4) add_rows<4>(row(r), stride(), factors + r, sums);
        for (; r < r1; ++r) add_rows<1>(row(r), stride(), factors + r, sums);
    }

    // The rows of one run are summed: now their columns, segment by segment.
    void pool(int64_t run) const {
        double* const out = job.pooled + (index() * job.runs + run) * job.groups;
        const int64_t* const stop = job.segment_stop + b * job.segments;
        const int64_t* const group = job.segment_group + b * job.segments;
        int64_t at = 0;
        for (const Span* span = job.span; span < job.span + job.spans; at += padded(span++->count)) {
            const float* const sums = pooling() + at - span->first;
            int64_t j = span->first;
            for (int64_t s = std::upper_bound(stop, stop + job.segments, j) - stop; j < span->first + span->count; ++s) {
                const int64_t end = smaller(stop[s], span->first + span->count);
                double sum = 0;
                for (; j < end; ++j) sum += sums[j];
                out[group[s]] += sum;
            }
        }
        if (job.columns)
            for (int64_t j = 0; j < L; ++j) columns()[j] += pooling()[j];
        std::fill_n(pooling(), L, 0.0f);
    }

    void read() const {
        std::fill_n(hidden(), L, 0);
        if (job.columns) std::fill_n(columns(), L, 0.0f);
        if (job.pooled) {
            std::fill_n(pooling(), L, 0.0f);
            std::fill_n(job.pooled + index() * job.runs * job.groups, job.runs * job.groups, 0.0);
        }
        const int64_t* const run = job.pooled ? job.run + b * job.R : nullptr;
        float factors[ROWS];
        for (int64_t r0 = 0; r0 < job.R; r0 += job.room_rows) {
            const int64_t r1 = smaller(r0 + job.room_rows, job.R);
            for (int64_t c = 0; c < chunks; ++c) chunk[c].alive = fill(chunk[c], r0, r1);
            for (int64_t r = r0; r < r1; ++r) factors[r - r0] = read_row(row(r - r0), r);
            if (!run) {
                if (job.columns) add_columns(0, r1 - r0, factors, columns());
                continue;
            }
            for (int64_t r = r0, end; r < r1; r = end) {
                for (end = r + 1; end < r1 && run[end] == run[r];) ++end;
                add_columns(r - r0, end - r0, factors, pooling());
                if (end == job.R || run[end] != run[r]) pool(run[r]);
            }
        }
    }
};

}  // namespace

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

extern "C" __attribute__((visibility("default"))) void JOIN(limelight_read_, VARIANT)(const Job* job) {
    std::vector<Chunk> chunk;
    int64_t L = 0;
    for (const Span* span = job->span; span < job->span + job->spans; ++span)
        for (int64_t from = 0; from < span->count; from += CHUNK) {
            const int64_t width = smaller(CHUNK, padded(span->count - from));
            chunk.push_back(Chunk{L, width, span->first + from, span, true});
            L += width;
        }
    for (int64_t b = 0; b < job->B; ++b)
        for (int64_t h = 0; h < job->H; ++h) Head{*job, b, h, L, chunk.data(), (int64_t)chunk.size()}.read();
}

