// The seam between the code that is compiled once per ISA level and the code that is compiled once. Plain structs, no inline
// code.
//
// A kernel works on a batch of rows, given by one pointer each, and on a range of blocks of 1024 classes. Nothing here knows
// about shapes, axes or threads, and nothing above knows about vectors.
//
// Glossary, for a row x of C classes at the temperature T, with class weights w:
//
//   max                    max_c x_c; argmax is the first class that has it
//   gap                    max - x_c, which is not negative: the shifted logit of other texts, with the other sign
//   reference, exponent    subtracted from the logits, and from the power of two of their exponentials
//   e_c                    exp((x_c - reference)/T) 2^-exponent: the term of a class (kernels add a bias to the exponent)
//   inverse_max_term       1 / e_argmax
//   tail                   sum_c exp((x_c - max)/T) without one instance of the maximum: p_argmax = 1 / (1 + tail)
//   log_sum                log(1 + tail), so that -log p_c = (max - x_c)/T + log_sum
//   p_c                    e_c inverse_max_term / (1 + tail)
//   S                      sum_c p_c (max - x_c)/T, the mean gap: the entropy of the row is log_sum + S
//   b_c, A                 the coefficient of -log p_c in a loss, and sum_c b_c; the gradient is (A p_c - b_c)/T. With a
//                          z-loss, z logsumexp(x/T)^2, A has 2 z logsumexp(x/T) in it
//   mass                   sum_c w_c q_c of class probabilities q; weighted_gap_to_max: sum_c w_c (max - x_c)
//   factor, beta, gamma    of a gradient: e_c factor - w_c (beta + gamma q_c)
//   s, t, m, d             softmax of the student and of the teacher, their mixture, and log(t_c / s_c)
//   log_sum_difference     log_sum of the teacher - log_sum of the student
//   teacher_scale          of a divergence summed in terms of the teacher: t_c = e_c teacher_scale
//   _lo                    the second part of a double_double; _scaled: times 2^128, where it may be subnormal
#pragma once

#include "core/loss_rows.hpp"
#include "core/partial_state.hpp"
#include "core/row_batches.hpp"

namespace crossent {

enum class information : std::uint8_t { entropy, cross_entropy, kl_divergence, js_divergence, kl_div, kl_div_log };

// Up to 1024 elements of a loss without a class axis, contiguous and in the arithmetic dtype.
struct element_block {
  static constexpr int arrays = 5;
  const void* input[arrays] = {};  // the last one is the upstream gradient; nullptr: ones
  index n = 0;
  void* loss = nullptr;  // either may be absent
  void* grad = nullptr;  // may be an input
  double* sum = nullptr;  // of the losses
  void* hessian = nullptr;  // of binary_cross_entropy_with_logits, beside the gradient; not an input
  double hessian_scale = 1, hessian_floor = 0;
  bool absolute_gradient = false;  // is the Hessian
  bool* outside = nullptr;  // of binary_cross_entropy_with_logits: set if a target may be outside [0, 1]
  bool stream = false;  // write the gradient around the caches
  double scale = 1;  // of the gradient
  double log_floor = 0, label_smoothing = 0;
};
using element_kernel = void (*)(const element_block&);
using map_kernel = void (*)(const void* x, void* out, index n);

struct dtype_kernels {
  int lanes;
  inverse_temperature (*inverse_temperature_of)(double temperature);
  void (*statistics)(const source&, index block_begin, index block_end, const inverse_temperature&, const block_statistics&);
  // Block statistics to row statistics; rows * blocks entries, the arrays padded to pack_rows.
  void (*merge_blocks)(index rows, index blocks, const inverse_temperature&, const block_statistics&, row_statistics&);
  // Of blocks of a row that is in parts: what they come to, with the statistics of the blocks that are here; two neighbours as one.
  void (*partial_state_of_blocks)(index rows, index blocks, index block_begin, index block_end, const inverse_temperature&,
                                  const block_statistics&, const row_statistics&, const partial_state& out);
  void (*merge_partial_states)(index rows, const inverse_temperature&, const partial_state& a, const partial_state& b,
                               const partial_state& out);
  // Of up to batch_rows rows, from the state of all their blocks.
  void (*statistics_of_merged_state)(index rows, const inverse_temperature&, const partial_state&, row_statistics&);
  // sum w (max - x) of each block; max = 0 for blocks of -inf. weight: (classes,) in the dtype, or nullptr for ones.
  void (*weighted_gap_to_max)(const source&, const void* weight, index block_begin, index block_end, const double* max,
                              double* out);
  // max: of blocks, as above; max_block: of each row
  void (*sum_probabilities)(const source&, const source& q, const void* weight, index block_begin, index block_end,
                            const double* max, const index* max_block, const probability_sums&);
  void (*argmax)(const source&, const row_statistics&, index* out);
  // A factor of any size as 2^k times one that keeps the terms in range; `exponent` in and out. factor_lo: or nullptr.
  void (*split_exponents)(index rows, double* factor, double* factor_lo, double* exponent);
  // A factor of cached exponentials, less their bias; false, and as it was, if it could take them out of range.
  bool (*unbias_factors)(index rows, double* factor, double* factor_lo);
  // Loss and gradient, tile by tile. Returns how many rows are done: all, or those before a tile with a class that does not
  // exist, or with a gradient of a size that cached exponentials are not made for.
  index (*few_class_cross_entropy)(few_class_rows&);
  // q: nullptr, or class probabilities
  void (*write_softmax_gradient)(const source&, const row_statistics&, const source* q, const sink&, index block_begin,
                                 index block_end, const inverse_temperature&, const gradient_rows&);
  // The same from cached exponentials, with unbiased factors: reference and exponent are not read.
  void (*write_cached_gradient)(const source& exponentials, const source* q, const sink&, const gradient_rows&);
  // Splits `factor`. probability: of exponentials that are cached, or have exponents; unsplit: the same before that.
  void (*split_hessian)(index rows, const double* unsplit, hessian_rows&);
  // The Hessian of logits, of their cached exponentials, and of a gradient: scale |g|.
  void (*write_hessian)(const source&, const row_statistics&, const sink&, index block_begin, index block_end,
                        const hessian_rows&);
  void (*write_cached_hessian)(const source& exponentials, const sink&, const hessian_rows&);
  void (*write_magnitude)(const source& gradient, const sink&, index block_begin, index block_end, const hessian_rows&);
  // out_c = (x_c - max)/T - log_sum
  void (*write_log_softmax)(const source&, const sink&, index block_begin, index block_end, const inverse_temperature&,
                            const double* max, const double* log_sum);
  // Of each divergence_kind, but of float32 not the forward one, which has a kernel below: the divergence of each block, and the
  // sum that its gradient needs (divergence_rows::inner; of js and reverse).
  void (*divergence_sums[3])(const source& student, const source& teacher, index block_begin, index block_end,
                             const divergence_rows&, double* value, double* inner);
  // Its gradient in the student's logits, plus that of a cross-entropy (nullptr: nothing) of logits with these statistics.
  void (*write_divergence[3])(const source& student, const source& teacher, const source* q, const sink&, index block_begin,
                              index block_end, const divergence_rows&, const row_statistics&,
                              const gradient_rows* cross_entropy);
  // Both KL divergences, that of Jensen and Shannon, and sum s - t, for float32 (nullptr for float64).
  void (*joint_divergence_sums)(const source& student, const source& teacher, index block_begin, index block_end,
                                const divergence_rows&, double* forward_kl, double* reverse_kl, double* js, double* difference);
  // Both of the forward divergence in one traversal, for float32 (nullptr for float64), and `inner`, sum t log(t/s).
  // to.rows == nullptr: only the sums, to be multiplied by teacher_scale.
  void (*forward_kl)(const source& student, const source& teacher, const source* q, const sink&, index block_begin,
                     index block_end, const divergence_rows&, const row_statistics&, const gradient_rows* cross_entropy,
                     double* value, double* inner);
  // Of the entropy of the softmax: sum e (max - x) of each block, and from its sum over a row that row's entropy.
  void (*gap_sums_of_logits)(const source&, const row_statistics&, index block_begin, index block_end, const block_sums&);
  void (*entropy_of_logits)(index rows, const row_statistics&, const double* gap_sum, double* out);
  // Of the entropy in a loss at a temperature: sum e (max - x) of each block, from its own maximum and of its own terms, which may be
  // cached (else nullptr); what `blocks` of them from entry `first` on come to; and factors for write_entropy_gradient from those
  // of cross_entropy. Returns whether that may take cached exponentials.
  void (*gap_sums_of_blocks)(const source&, const source* exponentials, index block_begin, index block_end,
                             const inverse_temperature&, const block_statistics&, const block_sums&);
  void (*merge_gap_sums)(index first, index blocks, const inverse_temperature&, const block_statistics&, const double* gap,
                         const double* gap_lo, double* out, double* out_lo);
  bool (*scale_entropy_gradient)(index rows, const double* exponent, gradient_rows&, entropy_rows&);
  // Of cached exponentials (else nullptr) only without a second term.
  void (*write_entropy_gradient)(const source&, const row_statistics&, const source* exponentials, const source* q, const sink&,
                                 index block_begin, index block_end, const inverse_temperature&, const gradient_rows&,
                                 const entropy_rows&);
  // Of predictions at a temperature: sum e (max - x), sum e^2, and how many logits are above and equal to that of the target, of
  // each block; the equal ones of the classes before the target; from the sum of the squares over a row, in place, sum p^2; and the
  // k classes of the largest logits of a row, with these logits.
  void (*prediction_sums)(const source&, const row_statistics&, const double* target_logit, index block_begin, index block_end,
                          const inverse_temperature&, const block_sums&);
  index (*count_equal)(const source&, index row, index classes, double logit);
  void (*sum_of_squares)(index rows, const row_statistics&, double* square_sum);
  void (*top_classes)(const source&, index row, index k, index* classes, double* logits);
  // Of the softmax at a temperature: sum e g and sum e g^2 of each block, g = (max - x)/T, and from their sums over a row, in
  // place, the mean and the variance of g under p.
  void (*gap_moment_sums)(const source&, const row_statistics&, index block_begin, index block_end, const inverse_temperature&,
                          double* gaps, double* squares);
  void (*gap_moments)(index rows, const row_statistics&, double* mean, double* variance);
  // sum (max - x) of each block, over the classes that are not left out; max = 0 for blocks of -inf.
  void (*gap_sums_of_others)(const source&, index block_begin, index block_end, const double* max, double* out);
  // sum g p, or sum g (probs == nullptr), of each block
  void (*sum_products)(const source& grad, const source* probs, index block_begin, index block_end, const block_sums&);
  // out_c = p_c (g_c - sum) / temperature
  void (*write_softmax_backward)(const source& grad, const source& probs, const sink&, index block_begin, index block_end,
                                 const sums_of_rows&, double temperature);
  // out_c = (g_c - exp(log_p_c) sum) / temperature
  void (*write_log_softmax_backward)(const source& grad, const source& log_probs, const sink&, index block_begin,
                                     index block_end, const sums_of_rows&, double temperature);
  element_kernel binary_cross_entropy, binary_cross_entropy_with_logits, logistic_hessian, kl_div, kl_div_log;
  bool (*in_range)(const void* x, index n, double low, double high);
  // A logit of a source that has a transform, and, in the softcap, its derivative. Of float64.
  double (*transformed_logit)(const source&, index row, index c);
  double (*softcap_derivative)(const source&, index row, index c);
  // n numbers `stride` bytes apart, from and to any dtype.
  void (*gather)(const char* from, index stride, dtype, index n, void* to);
  void (*scatter)(const void* from, index n, char* to, index stride, dtype);
  map_kernel sigmoid, log_sigmoid;
  // vmath over contiguous arrays; exp_sum: exp(x + error), error a rounding error of x
  map_kernel exp, expm1, log, log1p, phi, phi_star;
  void (*exp_sum)(const void* x, const void* error, void* out, index n);
};

struct kernel_table {
  const char* name;
  dtype_kernels f32, f64;
  // Of each row: inverse_max_term / (1 + tail) times a coefficient (out_lo: its rounding error, or nullptr).
  void (*softmax_factor)(index rows, const row_statistics&, const row_coefficient&, double* out, double* out_lo);
  void (*log_sum)(index rows, const row_statistics&, double* out);
  // log_sum of a - log_sum of b, accurate beside 1. Of float64 rows with tiny tails, `scaled` gets all of it, and the others 0.
  void (*log_sum_difference)(index rows, const row_statistics& a, const row_statistics& b, double* out, double* lo,
                             double* scaled);
  void (*logsumexp)(index rows, const row_statistics&, double temperature, double* out);
  void (*cross_entropy)(const row_statistics&, cross_entropy_rows&);
  // sum w (max - x) of a row, or of a subtree, from those of its blocks.
  gap_sums (*merge_gaps)(index blocks, const double* max, const double* gap, const double* mass, const double* mass_lo);
  // exp((x - max)/T - logsumexp), hi + lo, of a teacher's numbers
  void (*exp_of_gaps)(index n, const double* x, double max, const inverse_temperature&, double logsumexp, double* hi,
                      double* lo);
  void (*sparse_divergence)(sparse_row&);
  // exp((hi + lo) / divisor)
  double (*exp_quotient)(double hi, double lo, double divisor);
  // A measure of each block, with its tiny terms apart.
  void (*information_sums)(information, const source& p, const source& q, index block_begin, index block_end,
                           const block_sums&);
  // vmath for what is rounded to float32 in the end, of arrays of doubles: exp(x) normal; x = 0 or >= 2^-1000
  map_kernel short_exp, short_log1p;
  // The sum of n <= 1024 doubles as hi + lo.
  void (*sum)(index n, const double* x, double* hi, double* lo);
};

// The table in use: the best level of this machine, or the one CROSSENT_ISA names. Throws std::runtime_error.
const kernel_table& kernels();
// Those that compute arrays of the dtype.
const dtype_kernels& kernels(dtype);

}  // namespace crossent
