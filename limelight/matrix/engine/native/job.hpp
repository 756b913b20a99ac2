// What one call reads: the strip that `loop.py` describes, and where the answers go. `library.py` holds the
// other side of these structs, field by field.

#pragma once

#include <cstdint>

struct Partial {  // columns start:stop of a span that not every row sees
    int64_t start, stop;
    const uint8_t* seen;  // (B or 1, H or 1, R, stop - start), or null where the scores themselves tell
    int64_t batch_stride, head_stride;
};

struct Span {  // neighbouring keys
    int64_t first, count;
    const float* scores;  // (B, H, R, count), or null where they are still to be multiplied
    int64_t partials;
    const Partial* partial;
};

struct Job {
    int64_t B, H, R, D, heads_a_key_head;
    const float* q;       // (B, H, R, D), scaled
    const float* packed;  // (B, G, panels, D, PANEL): see limelight_pack
    int64_t panels;
    int64_t spans;
    const Span* span;
    const float* sink;  // (H) or null
    int64_t place;      // the key position beside which the first row stands
    // What is asked for; null where it is not.
    float* maximum;   // (B, H, R), always
    double* log_sum;  // (B, H, R), always
    double* entropy;  // (B, H, R)
    double* behind;   // (B, H, R), with `ahead`
    double* ahead;
    int64_t* peak;  // (B, H, R)
    int64_t k;
    float* top_scores;  // (B, H, R, k)
    int64_t* top_keys;
    float* columns;   // (B, H, L): sums over the rows; L columns, padded
    int32_t* hidden;  // (B, H, L): how many rows do not see a key, always
    const int64_t* run;  // (B, R): rows of one number are pooled together, neighbours only
    int64_t runs, segments, groups;
    const int64_t* segment_stop;   // (B, segments): where neighbours of one group end
    const int64_t* segment_group;  // (B, segments)
    double* pooled;                // (B, H, runs, groups)
    float* room;                   // so many numbers as `limelight_room` says
    int64_t room_rows;             // how many rows it holds, at most ROWS
};

constexpr int64_t PANEL = 32;   // columns that are packed together
constexpr int64_t CHUNK = 256;  // columns that float32 sums run over
constexpr int64_t ODD = 16;     // numbers between the rows of a room
constexpr int64_t ROWS = 48;    // rows that a room may hold
