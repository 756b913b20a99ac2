// The sweeps over one row of scores: its maximum, ArgMax and TopK, its exponentials and their sums; and the one sweep
// over several rows, which sums columns.

#pragma once

#include "job.hpp"
#include "lanes.hpp"

namespace {

struct Chunk {  // at most CHUNK columns of one span
    int64_t at, width, first;  // where in the room, how wide with padding, and which key comes first
    const Span* span;
    bool alive;  // whether any of the rows in the room sees any of it
};

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t padded(int64_t count) { return (count + PANEL - 1) / PANEL * PANEL; }

// Take away what a row does not see of columns a:z, and count it.
void hide(float* scores, int32_t* hidden, const uint8_t* seen, int64_t a, int64_t z) {
    if (seen)
        for (int64_t j = a; j < z; ++j) scores[j] = seen[j] ? scores[j] : NONE;
    for (int64_t j = a; j < z; ++j) hidden[j] += scores[j] == NONE;
}

struct Row {
    float* scores;
    float* lanes;          // (chunks, W): the largest of each lane of a chunk
    float* largest;        // (chunks)
    const Chunk* chunk;
    int64_t chunks;
};

float find_maximum(const Row& row) {
    float best = NONE;
    for (int64_t c = 0; c < row.chunks; ++c) {
        if (!row.chunk[c].alive) continue;
        const float* s = row.scores + row.chunk[c].at;
        vf a = all(NONE), b = a;
        for (int64_t j = 0; j < row.chunk[c].width; j += 2 * W) {
            a = larger(get(s + j), a);
            b = larger(get(s + j + W), b);
        }
        a = larger(a, b);
        at(row.lanes + c * W) = a;
        row.largest[c] = largest_of(a);
        best = row.largest[c] > best ? row.largest[c] : best;
    }
    return best;
}

int64_t find_peak(const Row& row, float maximum) {
    if (maximum == NONE) return -1;
    for (int64_t c = 0; c < row.chunks; ++c) {
        if (!row.chunk[c].alive || row.largest[c] != maximum) continue;
        const float* s = row.scores + row.chunk[c].at;
        for (int64_t j = 0; j < row.chunk[c].width; ++j)
            if (s[j] == maximum) return row.chunk[c].first + j;
    }
    return -1;
}

// The k largest, the largest first, of equals the lower key: keys come in rising order, so a later one wins
// only if it is larger.
struct Best {
    int64_t k, found;
    float* scores;
    int64_t* keys;
    bool full() const { return found == k; }
    float least() const { return scores[k - 1]; }
    void insert(float score, int64_t key) {
        int64_t place = found < k ? found++ : k - 1;
        for (; place > 0 && scores[place - 1] < score; --place) {
            scores[place] = scores[place - 1];
            if (keys) keys[place] = keys[place - 1];
        }
        scores[place] = score;
        if (keys) keys[place] = key;
    }
};

void find_top(const Row& row, int64_t k, float* scores, int64_t* keys) {
    // The k-th largest of the lanes' maxima: k entries are at least as large, so no smaller one is needed.
    Best bound{k, 0, scores, nullptr};
    for (int64_t c = 0; c < row.chunks; ++c) {
        if (!row.chunk[c].alive || (bound.full() && row.largest[c] <= bound.least())) continue;
        for (int64_t lane = 0; lane < W; ++lane) {
            const float x = row.lanes[c * W + lane];
            if (x > NONE && (!bound.full() || x > bound.least())) bound.insert(x, 0);
        }
    }
    const float threshold = bound.full() ? bound.least() : NONE;
    Best best{k, 0, scores, keys};
    for (int64_t c = 0; c < row.chunks; ++c) {
        if (!row.chunk[c].alive || row.largest[c] < threshold) continue;
        const float* s = row.scores + row.chunk[c].at;
        for (int64_t j = 0; j < row.chunk[c].width; j += W) {
            const float bar = best.full() ? best.least() : threshold;
            if (!any(best.full() ? get(s + j) > all(bar) : get(s + j) >= all(bar))) continue;
            for (int64_t lane = 0; lane < W; ++lane) {
                const float x = s[j + lane];
                if (x > NONE && (best.full() ? x > best.least() : x >= threshold))
                    best.insert(x, row.chunk[c].first + j + lane);
            }
        }
    }
    for (int64_t rest = best.found; rest < k; ++rest) scores[rest] = NONE, keys[rest] = -1;
}

struct Sums {
    double total = 0, tilt = 0, behind = 0, ahead = 0;  // tilt: Σ p·(s - m)
};

// p = exp(s - m) in place, and its sums. Keys behind one's own place and keys ahead are summed apart, so that no
// term of a sum is negative.
template <bool TILT, bool REACH>
Sums raise_row(const Row& row, float maximum, int64_t place) {
    const vf m = all(maximum == NONE ? 0.0f : maximum);
    vf counting;
    for (int64_t lane = 0; lane < W; ++lane) counting[lane] = (float)lane;
    Wide total, tilt;
    Wide reach[2];  // behind, ahead
    for (int64_t c = 0; c < row.chunks; ++c) {
        const Chunk& chunk = row.chunk[c];
        if (!chunk.alive) continue;
        float* s = row.scores + chunk.at;
        const int64_t last = chunk.first + chunk.width - 1;
        const bool ahead = chunk.first >= place, mixed = !ahead && last > place;
        // Distances within the chunk, from its end nearest to the place.
        vf step = ahead ? counting : all((float)(chunk.width - 1)) - counting;
        const vf more = all(ahead ? (float)W : -(float)W);
        vf sum{}, tilted{}, stepped{};
        for (int64_t j = 0; j < chunk.width; j += W) {
            vf x = get(s + j) - m;
            const vf p = exponential(x);
            at(s + j) = p;
            sum += p;
            if (TILT) tilted += p * x;
            if (REACH) stepped += p * step, step += more;
        }
        total.add(sum);
        if (TILT) tilt.add(tilted);
        if (!REACH) continue;
        if (!mixed) {
            reach[ahead].add(stepped);
            reach[ahead].add(sum, (double)(ahead ? chunk.first - place : place - last));
            continue;
        }
        vf sides[2] = {};
        vf distance = counting + (float)(chunk.first - place);
        for (int64_t j = 0; j < chunk.width; j += W, distance += (float)W) {
            const vf zero{};
            sides[0] += get(s + j) * larger(-distance, zero);
            sides[1] += get(s + j) * larger(distance, zero);
        }
        reach[0].add(sides[0]);
        reach[1].add(sides[1]);
    }
    return Sums{total.total(), tilt.total(), reach[0].total(), reach[1].total()};
}

// sums += Σ over some rows of factor·p, in the columns of the living chunks. The rows are added to each other first:
// beside a large sum each small term would lose the same digits again.
template <int TALL>
void add_rows(const Row& first, int64_t stride, const float* factors, float* sums) {
    for (int64_t c = 0; c < first.chunks; ++c) {
        if (!first.chunk[c].alive) continue;
        const int64_t start = first.chunk[c].at, stop = start + first.chunk[c].width;
        for (int64_t j = start; j < stop; j += W) {
            vf sum = get(first.scores + j) * factors[0];
#pragma GCC unroll 16
            for (int r = 1; r < TALL; ++r) sum += get(first.scores + r * stride + j) * factors[r];
            at(sums + j) += sum;
        }
    }
}

}  // namespace
