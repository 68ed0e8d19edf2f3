// The C++ API of crossent: strided views and plain option structs, no Python.
//
// Every function reads its inputs where they lie (any strides, in bytes; zero and negative ones included) and writes
// its outputs in place. Shapes, dtypes and values other than class indices are preconditions: the Python layer checks
// them, with `first_outside` where they are many. Class indices are checked here, before anything is written, and reported as
// `target_error`.
//
// "Rows" are the positions of all axes but the class axis, in C order. Quantities are in nats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace crossent {

using index = std::ptrdiff_t;

// Classes, rows or elements whose terms are added by themselves, before the sums of such blocks are merged along a tree.
constexpr index block_size = 1024;
constexpr index block_count(index n) { return (n + block_size - 1) / block_size; }

enum class dtype : std::uint8_t { float32, float64, float16, bfloat16 };
enum class int_dtype : std::uint8_t { int8, int16, int32, int64, uint8, uint16, uint32, uint64 };
// exp_mean: perplexity. block_sums, block_weights: of some rows of a larger batch, see "Rows of a larger batch".
enum class reduction_kind : std::uint8_t { none, mean, sum, exp_mean, block_sums, block_weights };
enum class divergence_kind : std::uint8_t { forward, reverse, js };

[[gnu::always_inline]] constexpr index item_size(dtype type) {
  return type == dtype::float64 ? 8 : type == dtype::float32 ? 4 : 2;
}

// A strided array; `data == nullptr` means "not given".
struct view {
  const void* data = nullptr;
  dtype type = dtype::float32;
  int ndim = 0;
  const index* shape = nullptr;
  const index* strides = nullptr;  // bytes
};

struct mutable_view {
  void* data = nullptr;
  dtype type = dtype::float32;
  int ndim = 0;
  const index* shape = nullptr;
  const index* strides = nullptr;  // bytes
};

struct index_view {
  const void* data = nullptr;
  int_dtype type = int_dtype::int64;
  int ndim = 0;
  const index* shape = nullptr;
  const index* strides = nullptr;  // bytes
};

// How a call runs: never what it computes.
struct execution {
  int threads = 0;                   // at most this many; 0: no limit beyond the process-wide one
  // Asked every 20 ms or so on the calling thread, with `context`; true abandons the call.
  bool (*interrupted)(void* context) = nullptr;
  void* context = nullptr;
};

// Thrown when `execution::interrupted` said so. Outputs may be partly written.
struct interrupted_error {};

// A class index outside [0, C) that is not `ignore_index`. Nothing was written, unless targets are changed during the call.
struct target_error {
  index row;           // the first such row, in C order
  std::string value;   // as written in the target array; empty where that has been changed since
};

// The first number of an array, in C order, that is outside a range (NaN always is).
struct range_violation {
  index element = -1;   // -1: there is none
  double value = 0;
  // Where another thread or process has changed it since it was read, it was one of so many from `element` on; else 0.
  index among = 0;
};

// Logits from the numbers that are given, (softcap tanh(x / softcap) + bias) / T. Whatever is given of it, they are computed in
// float64.
struct logit_transform {
  double softcap = 0;   // > 0; 0: none
  view bias;            // (C,), finite or -inf; absent: zeros
  view temperature;     // the rows' shape (strides may be 0), finite and > 0: in place of one for all, which is 1 then

  bool is_given() const { return softcap > 0 || bias.data != nullptr || temperature.data != nullptr; }
};

// ---- Normalisers -------------------------------------------------------------------------------------------------
// x: (.., C, ..) with C at `axis`; out: the shape of x, and its dtype, or float32 beside a half type. out may be x.

struct normaliser_options {
  int axis = 0;
  double temperature = 1;
  logit_transform transform;
};
// out = exp(x/T) / sum exp(x/T)
void softmax(const view& x, const normaliser_options&, const mutable_view& out, const execution& = {});
// out = x/T - log sum exp(x/T)
void log_softmax(const view& x, const normaliser_options&, const mutable_view& out, const execution& = {});
// out = log sum exp(x/T), of no class -inf; out: the rows' shape, the arithmetic dtype
void logsumexp(const view& x, const normaliser_options&, const mutable_view& out, const execution& = {});

// out = p * (g - sum g p) / T, with p = softmax(x/T)
void softmax_backward(const view& grad_output, const view& probs, int axis, double temperature, const mutable_view& out,
                      const execution& = {});
// out = (g - exp(log_p) * sum g) / T
void log_softmax_backward(const view& grad_output, const view& log_probs, int axis, double temperature, const mutable_view& out,
                          const execution& = {});
// out = g * softmax(x/T) / T; grad_output: the rows' shape (strides may be 0)
void logsumexp_backward(const view& grad_output, const view& x, const normaliser_options&, const mutable_view& out,
                        const execution& = {});

// ---- Elements ----------------------------------------------------------------------------------------------------
// out: the shape of x. out may be x.

// out = 1 / (1 + exp(-x))
void sigmoid(const view& x, const mutable_view& out, const execution& = {});
// out = -log(1 + exp(-x))
void log_sigmoid(const view& x, const mutable_view& out, const execution& = {});

// ---- Losses of rows ----------------------------------------------------------------------------------------------

// Rows of which a call has some of the classes only: those of the logits, from `first` on. Class indices and class weights are
// those of the whole rows.
struct class_shard {
  index first = 0;
  index classes = 0;                // of the whole rows; 0: the logits have them all
};

// What the losses of rows share; each uses what applies to it.
struct row_loss_options {
  int axis = 0;
  view weight;                      // (C,), in the arithmetic dtype of the logits, >= 0; absent: ones
  bool has_ignore_index = true;
  std::int64_t ignore_index = -100;
  double label_smoothing = 0;
  double z_loss = 0;                // >= 0: adds v z_loss logsumexp(x/T)^2 to the cross-entropy of each row that counts
  double entropy_weight = 0;        // adds - v entropy_weight H to the same rows, H being the entropy of softmax(x/T)
  double temperature = 1;           // T of cross_entropy, whose logits are x/T; beside a divergence 1
  logit_transform transform;        // its temperatures beside a divergence are those of the divergence
  view sample_weight;               // the rows' shape (strides may be 0); absent: ones
  reduction_kind reduction = reduction_kind::mean;
  double denominator = 0;           // replaces the mean's denominator where > 0
  double denominators[2] = {1, 1};  // with block_sums: of the gradient of a divergence, and of that of cross-entropy
  view grad_output;                 // the rows' shape (strides may be 0); absent: ones
  class_shard shard;                // of the functions in shards.hpp
  // Whether grad is an array of the caller's: targets are then checked before it is written. Else it may be written when
  // target_error is thrown.
  bool writes_to_caller = true;
};

// Either of the outputs may be absent:
//   loss  the arithmetic dtype; the loss of each row, in the rows' shape, with reduction_kind::none; else 0-d, the reduced one;
//         with block_sums and block_weights float64, (terms, blocks, 2) in C order
//   grad  the shape of the first argument, d(sum of grad_output * loss)/d(first argument); may be an input of its shape
// Arrays of different dtypes are converted as they are read, to the arithmetic dtype of the first: float64 for float64, else
// float32.
// indices, probabilities: one is given; probabilities are in [0, 1], of the shape of the logits
void cross_entropy(const view& logits, const index_view& indices, const view& probabilities, const row_loss_options&,
                   const mutable_view& loss, const mutable_view& grad, const execution& = {});
void nll_loss(const view& log_probs, const index_view& target, const row_loss_options&, const mutable_view& loss,
              const mutable_view& grad, const execution& = {});

struct divergence_options {
  double temperature = 1;
  divergence_kind kind = divergence_kind::forward;
  double beta = 0.5;                // of js
  logit_transform teacher;          // of the teacher's logits, but for the temperatures, which are the student's
};
void kl_div_with_logits(const view& logits, const view& teacher_logits, const divergence_options&, const row_loss_options&,
                        const mutable_view& loss, const mutable_view& grad, const execution& = {});

// Of each row: arrays of the rows' shape, of the dtype of the losses.
struct divergences_of_rows {
  mutable_view forward_kl, reverse_kl, js;   // KL(teacher || student), KL(student || teacher), with beta = 1/2
};
// Of options: axis and transform; of divergence_options: teacher.
void row_divergences(const view& logits, const view& teacher_logits, const divergence_options&, const row_loss_options&,
                     const divergences_of_rows&, const execution& = {});

struct distillation_options {
  double alpha = 0.5;               // the share of the divergence
  bool scale_by_temperature = true;
};
// A reduced loss is the sum of its terms: of each the sum over the rows, divided by the denominator of the term, times its share.
struct loss_terms {
  int count = 1;
  double share[2] = {1, 1};
};
// Of a divergence and of cross-entropy, or of one of them alone.
loss_terms distillation_terms(const distillation_options&, double temperature);
// indices, probabilities: at most one is given
void distillation_loss(const view& logits, const view& teacher_logits, const index_view& indices, const view& probabilities,
                       const distillation_options&, const divergence_options&, const row_loss_options&,
                       const mutable_view& loss, const mutable_view& grad, const execution& = {});

// What a teacher's numbers are: logarithms of probabilities, logits, probabilities, or numbers in proportion to them.
enum class teacher_values : std::uint8_t { log_probs, logits, probs, weights };
// What is said of the classes that are not listed: they are one more category; nothing; the probabilities of those that are
// listed are divided by their sum; they are equally likely.
enum class teacher_tail : std::uint8_t { bucket, zero, renormalize, uniform };
struct sparse_teacher_options {
  teacher_values values = teacher_values::log_probs;
  teacher_tail tail = teacher_tail::bucket;
  view logsumexp;  // of the teacher's logits over the temperature: the rows' shape; absent: 0, or of those listed
  bool scale_by_temperature = false;
};
// Thrown before anything is written.
struct teacher_error : range_violation {
  bool is_sum;  // of a row's probabilities, `element` being the row; else one of the values
};
// classes, values: the shape of the logits, but any number of classes; -1 is none. A class out of range is a target_error, its
// `row` being the position in C order with the class axis behind the others. Other tails than bucket have the forward divergence,
// and renormalize js. beta is 0.5.
void sparse_distillation_loss(const view& logits, const index_view& classes, const view& values, const sparse_teacher_options&,
                              const divergence_options&, const row_loss_options&, const mutable_view& loss,
                              const mutable_view& grad, const execution& = {});

// ---- Rows of a larger batch --------------------------------------------------------------------------------------

// The losses of rows, and binary cross-entropy of elements, give instead of the reduced loss the sums of blocks of 1,024 rows, each as two numbers hi + lo: of the
// losses of each term with block_sums, of what a mean divides by with block_weights (then the target is checked, and the logits
// are not read). Sums over all rows, of which the blocks may have been on several machines, have the bits of one call if the
// blocks of each power of two, from a multiple of it on, are merged first.

// The sums of blocks of 1,024 of n numbers, in C order: (blocks, 2).
void sum_blocks(const double* x, index n, double* sums, const execution& = {});
// The sum of n > 0 sums, for each of some columns: (n, columns, 2) to (columns, 2).
void merge_sums(const double* sums, index n, index columns, double* merged);
// The reduced loss in `type`. sums: (terms, 2), over all rows; denominators: of each term.
void loss_of_sums(const loss_terms&, const double* sums, const double* denominators, dtype type, void* loss);

// ---- Statistics of rows ------------------------------------------------------------------------------------------

struct temperature_fit {
  double temperature;
  double nll_before, nll_after;  // the mean cross-entropy at temperature 1 and at the one found
  int at_bound;  // -1: the loss still falls below `low`; 1: beyond `high`; 0: neither
  index passes;  // over the logits: at most max_passes
  bool converged;  // false: that was not enough; the temperature is the best one tried
};
// The temperature in [low, high], 0 < low < high, of the least mean cross-entropy(logits / temperature, target), of axis,
// ignore_index and sample_weight (>= 0). Where the mean at temperature 1 is not finite, there is no fit: passes is 1.
// max_passes >= 1: the first is at temperature 1. If it is the only one, and 1 is out of the bounds, the temperature is the
// bound next to 1 and nll_after is NaN.
// indices, probabilities: one is given
temperature_fit fit_temperature(const view& logits, const index_view& indices, const view& probabilities,
                                const row_loss_options&, double low, double high, index max_passes, const execution& = {});

// What each row of logits predicts, in natural logarithms, of the softmax at `options.temperature`: one number per row in C order.
// Rows that are ignored, or have a NaN or an infinite maximum: NaN, -1.
struct predictions {
  dtype type;  // of the floating arrays: float64, or float32
  // Of the target; nullptr where there is none. rank: how many classes have a larger logit, or an equal one and a lower index.
  void* log_prob = nullptr;
  index* rank = nullptr;
  index* argmax;
  void *max_log_prob, *entropy, *logsumexp;
  void* sum_of_squares;  // of the probabilities
  // k of each row: the classes of the largest logits, the largest first, and their log-probabilities.
  index k = 0;
  index* top_classes = nullptr;
  void* top_log_probs = nullptr;
};
// Of axis, temperature and, with a target (target.data != nullptr), ignore_index. 0 <= k <= classes. Some of it may be written
// when target_error is thrown.
void predict(const view& logits, const index_view& target, const row_loss_options&, const predictions&, const execution& = {});

// The sum of the vector-Jacobian products of log_prob, entropy and logsumexp. Their upstream gradients: the rows' shape (strides may
// be 0); those that are not given are 0. Of axis, temperature and, with a target, ignore_index; of shard.classes classes, the gradient
// of those behind them being 0; grad: the shape of the logits.
void row_statistics_backward(const view& logits, const index_view& target, const view& log_prob, const view& entropy,
                             const view& logsumexp, const row_loss_options&, const mutable_view& grad, const execution& = {});

// The diagonal of the Hessian of a loss.
struct hessian_options {
  bool absolute = false;  // the absolute value of the gradient in place of the second derivative
  double scale = 1;  // >= 0
  double floor = 0;  // >= 0: entries are at least this, in rows or elements that have a coefficient; others are 0
};
// Class labels: integers, or floating numbers of the rows' shape. One of them is given.
struct class_labels {
  index_view integers;
  view numbers;
};
// Thrown for a number that is no integer of size below 2^53, before anything is written.
struct label_error : range_violation {};
// Gradient and Hessian of the sum of `cross_entropy`, of labels or probabilities. hess: of the shape and dtype of the logits;
// shares no memory with another array.
void cross_entropy_gradient_hessian(const view& logits, const class_labels&, const view& probabilities, const hessian_options&,
                                    const row_loss_options&, const mutable_view& grad, const mutable_view& hess,
                                    const execution& = {});

// ---- Losses of elements ------------------------------------------------------------------------------------------

// Thrown for a target outside [0, 1].
struct target_range_error : range_violation {};

// All arrays have the shape of the first argument; strides may be 0.
struct element_loss_options {
  view weight;
  view pos_weight;  // binary_cross_entropy_with_logits
  double log_floor = -100;  // binary_cross_entropy
  double label_smoothing = 0;  // binary_cross_entropy_with_logits
  bool check_target = false;  // binary_cross_entropy_with_logits: throws target_range_error, outputs then being anything
  bool log_target = false;  // kl_div
  int axis = -1;  // kl_div: summed over this one; -1: none is
  reduction_kind reduction = reduction_kind::mean;
  double denominator = 0;  // replaces the mean's denominator, the number of elements, where > 0
  double denominators[2] = {1, 1};  // with block_sums: the first one, of the gradient; not of kl_div
  view grad_output;
};
void binary_cross_entropy(const view& probs, const view& target, const element_loss_options&, const mutable_view& loss,
                          const mutable_view& grad, const execution& = {});
void binary_cross_entropy_with_logits(const view& logits, const view& target, const element_loss_options&,
                                      const mutable_view& loss, const mutable_view& grad, const execution& = {});
// Of the sum, as cross_entropy_gradient_hessian.
void binary_cross_entropy_with_logits_gradient_hessian(const view& logits, const view& target, const hessian_options&,
                                                       const element_loss_options&, const mutable_view& grad,
                                                       const mutable_view& hess, const execution& = {});
void kl_div(const view& log_probs, const view& target, const element_loss_options&, const mutable_view& loss,
            const mutable_view& grad, const execution& = {});

// ---- Information -------------------------------------------------------------------------------------------------

// Of the rows of p (and q): out has the rows' shape. Divided by log(base) where base > 0.
void entropy(const view& p, int axis, double base, const mutable_view& out, const execution& = {});
void information_cross_entropy(const view& p, const view& q, int axis, double base, const mutable_view& out,
                               const execution& = {});
void kl_divergence(const view& p, const view& q, int axis, double base, const mutable_view& out, const execution& = {});
void js_divergence(const view& p, const view& q, int axis, double base, const mutable_view& out, const execution& = {});
// Of softmax(logits), in nats.
void entropy_with_logits(const view& logits, int axis, const mutable_view& out, const execution& = {});

// The first number outside [low, high].
range_violation first_outside(const view& x, double low, double high, const execution& = {});

// ---- The process -------------------------------------------------------------------------------------------------

void set_num_threads(int n);  // n >= 1, process-wide
int num_threads(int limit = 0);  // what a call would use now: min(set_num_threads, limit, OpenMP, CPU quota)

struct build_info {
  const char* version;
  const char* isa;  // the level in use
  const char* compiler;
  const char* openmp;  // the OpenMP version macro's value, or "none"
};
build_info info();  // throws std::runtime_error on a CROSSENT_ISA that is unknown or unusable
const char* const* isa_levels();  // the levels this machine can run, best first, ended by nullptr

// vmath through the kernels' own table, for accuracy sweeps: out[i] = f(x[i]), over contiguous arrays.
// function: "exp", "expm1", "log", "log1p", "phi", "phi_star"; false where there is no such function.
bool vmath(const char* function, dtype type, const void* x, void* out, index n);

}  // namespace crossent
