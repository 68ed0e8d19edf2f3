// What kernels are told of the rows of a batch for each loss, and what they say of them. The words are those of core/kernels.hpp.
#pragma once

#include "core/row_batches.hpp"

namespace crossent {

// upstream * weight * multiplier / divisor, rounded once; 0 where upstream or weight is.
struct row_coefficient {
  const double* upstream = nullptr;  // nullptr: ones
  const double* weight = nullptr;  // nullptr: ones
  double multiplier[3] = {1, 1, 1}, divisor[2] = {1, 1};
  bool from_max = false;  // of terms that are counted from the maximum: their inverse_max_term is 1
};

// out_c = e_c factor - weight_c (beta + gamma q_c), with e_c counted in `exponent`; rows where all three numbers are 0 become
// zero.
struct alignas(64) gradient_rows {
  double exponent[batch_rows], factor[batch_rows];
  double beta[batch_rows], gamma[batch_rows];
  double factor_lo[batch_rows], beta_lo[batch_rows], gamma_lo[batch_rows];  // of float64 rows
  const void* weight;  // (classes,) in the arithmetic dtype; nullptr: ones
  bool with_beta;  // else beta is 0 and weights are 1; without probabilities there is no second term then
  bool with_gamma;  // with class probabilities q
  // Lanes over rows, without a second term: the entry of one class of each row.
  bool with_target;
  index target[batch_rows];
  double target_gradient[batch_rows];
  // Beside a divergence at temperatures of rows, in float64: the logits of the cross-entropy, which has none. nullptr: those of
  // the divergence.
  const source* logits = nullptr;
};

// Sums over a block with the coefficients b_c = weight_c q_c.
struct probability_sums {
  double* weighted_gap_to_max;  // sum b (max - x)
  double *mass, *mass_lo;  // sum b
  double *mass_without_max, *mass_without_max_lo;  // in the block that holds it, without the classes that have the maximum
};

// Sums over blocks as hi + lo: one entry per (row, block), at [row * blocks + block]. Kernels have one to four; of
// information_sums the second one is of terms that may be subnormal, and times 2^tiny_sums_exponent.
struct block_sums {
  double *hi[4], *lo[4];
};

// A sum of each row as hi + lo.
struct sums_of_rows {
  const double *hi, *lo;
};

// The diagonal of the Hessian of rows of a loss in -log p: of class c, max(scale v A p_c (1 - p_c), floor), or max(scale
// |gradient|, floor).
struct alignas(64) hessian_rows {
  double scale, floor;
  double probability[batch_rows];  // of a term: p_c
  double factor[batch_rows];  // the same times scale v A; of split_hessian a number near 1, and two powers of two
  double factor_lo[batch_rows];  // of float64 rows
  double power[2][batch_rows];
  double of_max[batch_rows];  // the entry of a class with p_c > 1/2
  double exponent[batch_rows];  // of terms that are not cached
};

// The entropy H of the softmax in a loss, which has - weight H in it, and logsumexp_weight logsumexp(x/T), of which only the
// gradient is wanted. Entries are e_c (factor + slope gap_c / T) power[0] power[1] - weight_c (beta + gamma q_c).
struct alignas(64) entropy_rows {
  double weight[batch_rows], logsumexp_weight[batch_rows];
  double gap_sum[batch_rows], gap_sum_lo[batch_rows];  // sum e (max - x), of biased terms
  // Out.
  double slope[batch_rows], slope_lo[batch_rows];
  double factor_tiny[batch_rows];  // of float64 rows, _scaled: the part of the factor that may be subnormal
  double power[2][batch_rows];
};

// A loss in -log p, of rows of class indices or of class probabilities, and its gradient.
struct alignas(64) cross_entropy_rows {
  // Of the call.
  bool probabilities, smoothed, with_gradient, with_loss_lo;
  double label_smoothing, z_loss, temperature, classes, weight_sum, weight_sum_lo;
  double divisor, gradient_temperature;  // of the gradient
  inverse_temperature inverse;  // 1/T in float64, for the exponential of the target
  // Of each row, in.
  index count;
  double row_weight[batch_rows];  // v; 0: the row is not there
  double upstream[batch_rows];  // gradient with respect to v loss divisor; 0: none
  double target[batch_rows];  // x_y of class indices,
  double class_weight[batch_rows];  // and w_y
  double target_gap_to_max[batch_rows];  // sum w q (max - x) of class probabilities,
  double mass[batch_rows], mass_without_max[batch_rows], mass_lo[batch_rows], mass_without_max_lo[batch_rows];
  index argmax[batch_rows];  // of class probabilities, or with smoothing,
  double argmax_weight[batch_rows];  // with its w
  double argmax_probability[batch_rows];  // and q
  double weighted_gap_to_max[batch_rows];  // sum w (max - x), with smoothing
  // Of each row, out.
  double loss[batch_rows], loss_lo[batch_rows];
  double argmax_gradient[batch_rows];
  hessian_rows* hessian = nullptr;  // nullptr: not wanted
  entropy_rows* entropy = nullptr;  // nullptr: the loss has none
  gradient_rows gradient;  // of which the target is the class y; its exponents are for the caller to make
};

// Evenly spaced rows of few classes (up to few_classes_of a dtype), whose loss is -log p_y without weights or smoothing.
struct few_class_rows {
  index count, classes;
  dtype type;
  const char* x;
  index row_stride, class_stride;  // bytes
  const index* y;
  index ignored;  // rows with this number are not there, unless it is a class
  double* loss;  // nullptr: not wanted
  char* grad;  // nullptr: not wanted
  dtype grad_type;
  index grad_row_stride, grad_class_stride;
  bool stream;
  const double* upstream;  // gradient with respect to loss divisor; nullptr: ones
  double divisor;
  index absent = 0;  // out: how many rows were not there
};
// A group of the definition of a row, so that its sums stay in registers.
constexpr index few_classes_of(dtype type) { return arithmetic(type) == dtype::float32 ? 128 : 64; }

// One of the two rows of a divergence: p_c = e_c exp(factor_lo) factor, factor_lo being the rounding error of the factor.
struct alignas(64) distribution_rows {
  const double* reference;  // of its statistics; the maximum for kernels of float64
  double exponent[batch_rows], factor[batch_rows], factor_lo[batch_rows];
};

struct alignas(64) divergence_rows {
  double beta;  // of js
  inverse_temperature t;
  const row_statistics *student_statistics, *teacher_statistics;
  distribution_rows student, teacher;
  double log_sum_difference[batch_rows], log_sum_difference_lo[batch_rows];
  double log_sum_difference_scaled[batch_rows];  // of float64 rows with tiny tails, where the other two are 0
  double inner[batch_rows], inner_lo[batch_rows];  // of a gradient: sum s log(s/t) (reverse), sum s log(s/m) (js)
  // Of forward_kl, the student's factor is the ratio of both, and the teacher's that of the gradient, to which its factor_lo is
  // added; and so is e_c teacher_scale small_difference_gradient, where the difference is too small for the other numbers.
  double teacher_scale[batch_rows], small_difference_gradient[batch_rows];
};

// A row of a divergence from a teacher that is known of the classes of a list: these classes, and all others as one more, the rest.
// Arrays have `count` + 1 entries, of which the last is the rest's, and are padded to a multiple of 8; logits after `count` are
// -inf, and the teacher's numbers 0.
struct sparse_row {
  divergence_kind kind;
  bool normalised;  // the teacher's numbers are to be divided by their sum
  bool without_rest;  // the teacher has none, whatever that sum is
  bool is_uniform;  // it is spread evenly over its classes
  index count;
  double others;  // the number of the classes of the rest
  inverse_temperature t;  // in float64
  double rest_max, rest_tail, rest_tail_lo;  // of the student's rest
  double gap_sum;  // sum (rest_max - x) over its classes, where it is uniform
  bool with_gradient;  // upstream weight multiplier / (divisor[0] divisor[1]) times that of the divergence
  double upstream, weight, multiplier, divisor[2];
  const double* logit;
  double *teacher, *teacher_lo;  // overwritten
  double *log_ratio, *log_ratio_lo;  // scratch
  // Out. That of a class of the rest is its share in the rest's; where it is uniform, less `beta`.
  double* gradient;
  double beta, loss;
};

}  // namespace crossent
