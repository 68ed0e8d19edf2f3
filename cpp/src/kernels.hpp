// The seam: what the code compiled once per ISA level offers to the code compiled once. Plain structs, no inline code.
//
// A kernel works on a group of rows, given by one pointer each, and on a run of blocks of 1024 classes. Nothing here
// knows about shapes, axes or threads, and nothing above knows about vectors.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

constexpr index block_classes = 1024;
constexpr index group_rows = 64;   // rows of a group, at most
constexpr index pack_rows = 16;    // per-row arrays of doubles are padded to a multiple of this
constexpr index across_classes = 128;   // contiguous rows of up to this many classes are turned, one row per lane
constexpr index tile_bytes = block_classes * 64;   // of a block of as many rows as a pack has lanes
constexpr index row_sums_bytes = 256;   // what is summed so far of a row, where its blocks are summed in order

// What arrays of the dtype are computed in.
constexpr dtype arithmetic(dtype type) { return type == dtype::float64 ? dtype::float64 : dtype::float32; }

// Rows to read, of any dtype: they are converted as they are loaded. Lanes run along the classes of one row, or across
// rows: then `rows` is padded to a multiple of pack_rows with copies of its last pointer. Along, a row that is nullptr is
// not read, and written as zeros.
struct source {
  const char* const* rows;
  index count;
  index classes;
  index class_stride;   // bytes
  dtype type;
  bool across;
  bool single = false;  // for kernels of float64: rounded to float32 first
};

struct sink {
  char* const* rows;
  index class_stride;   // bytes
  dtype type;
  bool stream;          // write around the caches
};

// Logits are multiplied by 1/T = high + low in the arithmetic type.
struct scaling {
  double high = 1, low = 0;
  bool is_one = true;
};

// What one pass over a block tells, one entry per (row, block), at [row * blocks + block].
//   e_c = exp((x_c - offset)/T) 2^(bias - shift): the terms
struct block_statistics {
  double* max;        // of the block; -inf where all are
  double* offset;     // subtracted from the logits first: 0, or the maximum where that is far from 0
  double* shift;      // the exponent of the largest term
  double* plain;      // sum of the terms; not written where a row is one block
  double* excluded;   // the same without the terms equal to the maximum in the first group of classes that holds it
  double* ties;       // how many those are; both only of a block whose maximum is above those of the blocks before it
  void* terms = nullptr;   // across, of rows of one block: where e_c is to be left, a pack per class of each tile
  void* tile = nullptr;    // across, of rows of more than across_classes: room for tile_bytes, at a line of memory
};

// What a row comes to: p_c = exp((x_c - offset)/T) 2^-shift unit / (1 + tail).
struct row_state {
  double* max;
  double* tail;   // sum of exp((x_c - max)/T) without one instance of the maximum
  double* offset;
  double* shift;
  double* unit;
  double* block;  // the first block that holds the maximum
  double* tail_low = nullptr;   // what the numbers of float64 rows leave out; nullptr: nothing is known of it
  double* unit_low = nullptr;
  double* scaled_tail = nullptr;   // 2^128 times the tail of float64 rows of which the maximum stands alone
};

// out_c = e_c * factor - weight_c * (beta + gamma * q_c), with e_c as above for `shift`; rows with factor 0 become zero.
struct row_scale {
  const double* offset = nullptr;
  const double* shift = nullptr;
  const double* factor = nullptr;
  const double* beta = nullptr;    // absent: no second term
  const double* gamma = nullptr;   // with class probabilities q
  const void* weight = nullptr;    // (classes,) in the arithmetic dtype; absent: ones
  // Across, without a second term: one entry of each row as it is to be. Absent: all are as above.
  const index* target = nullptr;
  const double* target_gradient = nullptr;
};

// Sums over a block with the coefficients b_c = weight_c q_c.
struct probability_statistics {
  double* deviation;   // sum b (max - x)
  double* mass;        // sum b
  double* others;      // the same without the classes whose logit is the maximum
};

// What a loss in -log p comes to, for rows of class indices or, where `mass` is given, of class probabilities.
struct cross_entropy_rows {
  index count;
  bool precise;   // float64 rows: coefficients are rounded once, at the end
  row_state state;
  double label_smoothing, classes, weight_sum, weight_sum_low, divisor;
  const double* row_weight;         // v; 0: the row is not there
  const double* upstream;           // gradient with respect to v * loss * divisor; 0: none
  const double* deviation;          // sum w (max - x); nullptr without smoothing
  const double* top_weight;         // w of the class of the maximum
  // Class indices.
  const double* target;             // x[y]
  const double* class_weight;       // w[y]
  // Class probabilities.
  const double* target_deviation;   // sum w q (max - x)
  const double* mass;               // sum w q
  const double* others;             // the same without the class of the maximum
  const double* top_probability;    // q of that class
  double* loss;
  double* loss_low;                 // what `loss` leaves out; nullptr: not wanted
  double* factor;                   // for row_scale; nullptr: no gradient is wanted
  double* beta;
  double* gamma;
  double* target_gradient;          // class indices: of the class y
  double* top_gradient;             // of the class of the maximum, with smoothing or class probabilities
};

// upstream * weight * multiplier / divisor, rounded once; 0 where upstream or weight is.
struct row_coefficient {
  const double* upstream = nullptr;   // nullptr: ones
  const double* weight = nullptr;     // nullptr: ones
  double multiplier[3] = {1, 1, 1}, divisor[2] = {1, 1};
};

// One of the two rows of a divergence: p_c = e_c exp(rest) factor, rest being what the rounding of the factor has left out.
struct distribution_rows {
  const double* max = nullptr;
  const double* offset = nullptr;
  const double* shift = nullptr;
  const double* factor = nullptr;
  const double* rest = nullptr;
};

struct divergence_rows {
  divergence_kind kind = divergence_kind::forward;
  double beta = 0.5;
  scaling t;
  distribution_rows student, teacher;
  const double* gap = nullptr;     // log_sum of the teacher - that of the student
  const double* gap_low = nullptr; // what that leaves out
  const double* scaled_gap = nullptr;   // of float64 rows with tails near the end of the range, 2^128 times what `gap` leaves out
  const double* inner = nullptr;   // of a gradient: sum s log(s/t) (reverse), sum s log(s/m) (js)
  const double* inner_low = nullptr;
  // Of forward_divergence, the student's factor is the ratio of both and the teacher's that of the gradient, beside which its
  // rest is added; and so is e_c unit small, where the gap is too small for the other numbers.
  const double* unit = nullptr;
  const double* small = nullptr;
};

enum class information : std::uint8_t { entropy, cross_entropy, kl_divergence, js_divergence, kl_div, kl_div_log };

// Up to 1024 elements of a loss without a class axis, contiguous and in the arithmetic dtype.
struct element_block {
  static constexpr int arrays = 5;
  const void* input[arrays] = {};   // the last one is the upstream gradient; nullptr: ones
  index n = 0;
  void* loss = nullptr;             // either may be absent
  void* grad = nullptr;             // may be an input
  double* sum = nullptr;            // of the losses
  bool* outside = nullptr;          // of binary_cross_entropy_with_logits: set if a target may be outside [0, 1]
  bool stream = false;              // write the gradient around the caches
  double scale = 1;                 // of the gradient
  double log_floor = 0, label_smoothing = 0;
};
using element_kernel = void (*)(const element_block&);

struct dtype_kernels {
  int lanes;
  scaling (*inverse_of)(double temperature);
  void (*statistics)(const source&, index block_begin, index block_end, const scaling&, const block_statistics&);
  // sum w (max - x) of each block; max = 0 for blocks of -inf. weight: (classes,) in the dtype, or nullptr for ones.
  void (*deviation)(const source&, const void* weight, index block_begin, index block_end, const double* max,
                    double* out);
  // The class of the maximum.
  void (*locate)(const source&, const row_state&, double* out);
  void (*probability_sums)(const source&, const source& q, const void* weight, index block_begin, index block_end,
                           const double* max, const probability_statistics&);
  // q: nullptr, or class probabilities (with T = 1)
  void (*write_exp)(const source&, const source* q, const sink&, index block_begin, index block_end, const scaling&,
                    const row_scale&);
  // The same from terms that are there, with factors from `scale_terms`: `offset` and `shift` are not read.
  void (*write_terms)(const source& terms, const sink&, const row_scale&);
  // out_c = (x_c - max)/T - log_sum
  void (*write_log)(const source&, const sink&, index block_begin, index block_end, const scaling&, const double* max,
                    const double* log_sum);
  // Block statistics to row states; rows * blocks entries, the arrays padded to pack_rows.
  void (*fold)(index rows, index blocks, const scaling&, const block_statistics&, const row_state&);
  // A factor of any size as 2^k times one that keeps the terms in range; `shift` in and out.
  void (*spread)(index rows, double* factor, double* shift);
  // A factor of terms that `statistics` has left; false, and as it was, if it could take them out of range.
  bool (*scale_terms)(index rows, double* factor);
  // The divergence of each block, and what its gradient needs of it (see divergence_rows::inner).
  void (*divergence_sums)(const source& student, const source& teacher, index block_begin, index block_end,
                          const divergence_rows&, double* value, double* inner);
  // Its gradient in the student's logits, plus what write_exp writes for `hard` (nullptr: nothing).
  void (*write_divergence)(const source& student, const source& teacher, const source* q, const sink&, index block_begin,
                           index block_end, const divergence_rows&, const row_scale* hard);
  // Both of the forward divergence in one traversal, for float32 (nullptr for float64). to.rows == nullptr: only the sums, to
  // be multiplied by the teacher's factor.
  void (*forward_divergence)(const source& student, const source& teacher, const source* q, const sink&, index block_begin,
                             index block_end, const divergence_rows&, const row_scale* hard, double* value);
  // Of the softmax of each row; out is padded to pack_rows. Its blocks are summed in order: in one call, or in several, between
  // which `sums` keeps row_sums_bytes for each row, padded to pack_rows. `out` is written with the last block.
  void (*entropy)(const source&, const row_state&, index block_begin, index block_end, void* sums, double* out);
  element_kernel binary_cross_entropy, binary_cross_entropy_with_logits, kl_div, kl_div_log;
  bool (*in_range)(const void* x, index n, double low, double high);
  // n numbers `stride` bytes apart, from and to any dtype.
  void (*gather)(const char* from, index stride, dtype, index n, void* to);
  void (*scatter)(const void* from, index n, char* to, index stride, dtype);
  // sum of g p, or of g alone (probs == nullptr), of each row; its blocks in order, as those of `entropy`
  void (*sum_products)(const source& grad, const source* probs, index block_begin, index block_end, void* sums, double* out);
  // out_c = p_c (g_c - sum) scale
  void (*write_softmax_backward)(const source& grad, const source& probs, const sink&, index block_begin, index block_end,
                                 const double* sum, double scale);
  // out_c = (g_c - exp(log_p_c) sum) scale
  void (*write_log_softmax_backward)(const source& grad, const source& log_probs, const sink&, index block_begin,
                                     index block_end, const double* sum, double scale);
  // vmath over contiguous arrays; exp_sum: exp(x + error), error a rounding error of x
  void (*exp)(const void* x, void* out, index n);
  void (*exp_sum)(const void* x, const void* error, void* out, index n);
  void (*expm1)(const void* x, void* out, index n);
  void (*log)(const void* x, void* out, index n);
  void (*log1p)(const void* x, void* out, index n);
  void (*phi)(const void* x, void* out, index n);
  void (*phi_star)(const void* x, void* out, index n);
};

struct kernel_table {
  const char* name;
  dtype_kernels f32, f64;
  // Of each row: the factor of softmax times a coefficient (low: what `out` leaves out, or nullptr), log1p(tail), and logsumexp.
  void (*softmax_factor)(index rows, const row_state&, const row_coefficient&, double* out, double* low);
  void (*log_sum)(index rows, const row_state&, double* out);
  // log_sum of a - log_sum of b, accurate beside 1; low: what `out` leaves out, of float64 rows.
  // Where both tails may be subnormal, `scaled` gets 2^128 times the whole of it, and the others 0.
  void (*log_sum_gap)(index rows, const row_state& a, const row_state& b, double* out, double* low, double* scaled);
  void (*logsumexp)(index rows, const row_state&, double* out);
  void (*cross_entropy)(const cross_entropy_rows&);
  // exp((high + low) / divisor)
  double (*exp_quotient)(double high, double low, double divisor);
  // The measure of each row; its blocks in order, as those of `entropy`.
  void (*information_sums)(information, const source& p, const source& q, index block_begin, index block_end, void* sums,
                           double* out);
  // The sum of n <= 1024 doubles as high + low.
  void (*sum)(index n, const double* x, double* high, double* low);
};

// The table in use: the best level of this machine, or the one CROSSENT_ISA names. Throws std::runtime_error.
const kernel_table& kernels();
// Those that compute arrays of the dtype.
const dtype_kernels& kernels(dtype);

}  // namespace crossent
