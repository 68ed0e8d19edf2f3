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

// Rows to read. Lanes run along the classes of one row, or across rows: then `rows` is padded to a multiple of
// pack_rows with copies of its last pointer. Along, a row that is nullptr is not read, and written as zeros.
struct source {
  const char* const* rows;
  index count;
  index classes;
  index class_stride;   // bytes
  bool across;
};

struct sink {
  char* const* rows;
  index class_stride;   // bytes
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
  double* ties;       // how many those are
};

// What a row comes to: p_c = exp((x_c - offset)/T) 2^-shift unit / (1 + tail).
struct row_state {
  double* max;
  double* tail;   // sum of exp((x_c - max)/T) without one instance of the maximum
  double* offset;
  double* shift;
  double* unit;
  double* block;  // the first block that holds the maximum
};

// out_c = e_c * factor - beta * weight_c, with e_c as above for `shift`; rows with factor 0 become zero.
struct row_scale {
  const double* offset;
  const double* shift;
  const double* factor;
  const double* beta;     // nullptr: no second term
  const void* weight;     // (classes,) in the dtype; nullptr: ones
};

struct index_loss_rows {
  index count;
  bool precise;   // float64 rows: coefficients are rounded once, at the end
  row_state state;
  double label_smoothing, classes, weight_sum, divisor;
  const double* target;         // x[y]
  const double* row_weight;     // v; 0: the row is not there
  const double* class_weight;   // w[y]
  const double* upstream;       // gradient with respect to v * loss * divisor; 0: none
  const double* deviation;      // sum w (max - x); nullptr without smoothing, and so the last two
  const double* top_weight;     // w of the class of the maximum
  double* top_gradient;
  double* loss;
  double* factor;               // for row_scale
  double* beta;
  double* target_gradient;
};

struct dtype_kernels {
  int lanes;
  scaling (*inverse_of)(double temperature);
  void (*statistics)(const source&, index block_begin, index block_end, const scaling&, const block_statistics&);
  // sum w (max - x) of each block; max = 0 for blocks of -inf. weight: (classes,) in the dtype, or nullptr for ones.
  void (*deviation)(const source&, const void* weight, index block_begin, index block_end, const double* max,
                    double* out);
  // The class of the maximum.
  void (*locate)(const source&, const row_state&, double* out);
  void (*write_exp)(const source&, const sink&, index block_begin, index block_end, const scaling&, const row_scale&);
  // out_c = (x_c - max)/T - log_sum
  void (*write_log)(const source&, const sink&, index block_begin, index block_end, const scaling&, const double* max,
                    const double* log_sum);
  // Block statistics to row states; rows * blocks entries, the arrays padded to pack_rows.
  void (*fold)(index rows, index blocks, const scaling&, const block_statistics&, const row_state&);
  // A factor of any size as 2^k times one that keeps the terms in range; `shift` in and out.
  void (*spread)(index rows, double* factor, double* shift);
  // sum of g p, or of g alone (probs == nullptr), of each row
  void (*sum_products)(const source& grad, const source* probs, double* out);
  // out_c = p_c (g_c - sum) scale
  void (*write_softmax_backward)(const source& grad, const source& probs, const sink&, const double* sum, double scale);
  // out_c = (g_c - exp(log_p_c) sum) scale
  void (*write_log_softmax_backward)(const source& grad, const source& log_probs, const sink&, const double* sum,
                                     double scale);
  // vmath over contiguous arrays; exp_sum: exp(x + error), error a rounding error of x
  void (*exp)(const void* x, void* out, index n);
  void (*exp_sum)(const void* x, const void* error, void* out, index n);
  void (*expm1)(const void* x, void* out, index n);
  void (*log)(const void* x, void* out, index n);
  void (*log1p)(const void* x, void* out, index n);
};

struct kernel_table {
  const char* name;
  dtype_kernels f32, f64;
  // Of each row: the factor of softmax (times `scale`, where given), log1p(tail), and logsumexp.
  void (*softmax_factor)(index rows, const row_state&, const double* scale, double* out);
  void (*log_sum)(index rows, const row_state&, double* out);
  void (*logsumexp)(index rows, const row_state&, double* out);
  void (*index_loss)(const index_loss_rows&);
  // The sum of n <= 1024 doubles as high + low.
  void (*sum)(index n, const double* x, double* high, double* low);
};

// The table in use: the best level of this machine, or the one CROSSENT_ISA names. Throws std::runtime_error.
const kernel_table& kernels();
const dtype_kernels& kernels(dtype);

}  // namespace crossent
