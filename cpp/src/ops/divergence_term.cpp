#include "ops/divergence_term.hpp"

#include <algorithm>
#include <cmath>

#include "core/merge_tree.hpp"
#include "core/number.hpp"
#include "ops/merged_statistics.hpp"

namespace crossent {
namespace {

// The sum of blocks of a row, with its rounding errors.
double_double<double> sum_of_blocks(const std::vector<double>& x, const row_batch& batch, index row, index begin, index end) {
  return sum_tree(end - begin, x.data() + row * batch.blocks + begin);
}

// log((x + x_lo) / rounded), 0 where the rounded number is, or is not finite.
double log_of_error(double x, double x_lo, double rounded) {
  const double error = ((x - rounded) + x_lo) / rounded;
  return std::abs(error) < 1 ? error : 0;
}

// Below this T, terms are 0 or near 1. They go without the exponents that keep small ones normal, beside which log-ratios and
// 1/T would leave the range.
constexpr double tiny_temperature = 0x1p-300;
// Below this T, logits are divided by this instead, which keeps their differences in the range and the softmax one-hot.
constexpr double least_temperature = 0x1p-880;

inverse_temperature inverse_of(const dtype_kernels& k, double temperature) {
  return k.inverse_temperature_of(std::max(temperature, least_temperature));
}

// A sum at `least_temperature`, which is a few nats or a difference of logits over it, at T.
double at_temperature(double sum, double temperature) {
  return temperature < least_temperature && sum > 0x1p100 ? sum * (least_temperature / temperature) : sum;
}

// Sums first, then a gradient that needs them.
class two_pass_divergence : public divergence_term {
 public:
  using divergence_term::divergence_term;

  void prepare(row_batch& batch, divergence_state& s) const override {
    divergence_term::prepare(batch, s);
    set_distributions(batch, s, {});
    if (merged != nullptr) return;
    const std::size_t count = static_cast<std::size_t>(batch.count * batch.blocks);
    s.value.assign(count, 0.0);
    s.inner.assign(count, 0.0);
  }

  void sum(row_batch& batch, divergence_state& s, index begin, index end) const override {
    plan_.kernel().divergence_sums[kind()](batch.input(student_), batch.input(teacher_), begin, end, s.rows, s.value.data(),
                                           s.inner.data());
  }

  void finish(row_batch& batch, divergence_state& s) const override {
    for (index i = 0; i < batch.count; ++i) {
      const double_double<double> inner = this->inner(batch, s, i);
      s.rows.inner[i] = rounded_to(plan_.type, rounded(inner));
      s.rows.inner_lo[i] = (inner.hi - s.rows.inner[i]) + inner.lo;
    }
    if (!plan_.writes()) return;
    set_distributions(batch, s, gradient_scale(s));
  }

  void write(row_batch& batch, divergence_state& s, const source* q, index begin, index end, const row_statistics& statistics,
             const gradient_rows* cross_entropy) const override {
    plan_.kernel().write_divergence[kind()](batch.input(student_), batch.input(teacher_), q, batch.output(), begin, end, s.rows,
                                            statistics, cross_entropy);
  }

  void complete(row_batch& batch, divergence_state& s) const override {
    const bool has_common_error = plan_.type == dtype::float32 && options_.kind == divergence_kind::reverse;
    for (index i = 0; i < batch.count; ++i) {
      const double sum = rounded(value(batch, s, i));
      const auto error = [&] { return sum - rounded(inner(batch, s, i)); };
      const double divergence = has_common_error ? without_common_error(sum, 1, error) : sum;
      s.loss[i] = s.row_weight[i] == 0 ? 0 : s.row_weight[i] * at_temperature(divergence, options_.temperature);
    }
  }
};

// KL(t || s) of float32 rows: sums and gradient in one traversal. The kernel counts both rows in units of the teacher's terms:
// t_c is e_c of the teacher, s_c is e_c of the student times the ratio of their two factors (p_c = e_c factor). Of what it finds
// the sums are multiplied by the factor of the teacher, the gradient by that and its coefficient.
class forward_kl : public divergence_term {
 public:
  using divergence_term::divergence_term;

  void prepare(row_batch& batch, divergence_state& s) const override {
    divergence_term::prepare(batch, s);
    s.value.resize(static_cast<std::size_t>(batch.count * batch.blocks));
    s.inner.resize(s.value.size());
    const row_statistics &of_student = batch.in[student_].statistics, &of_teacher = batch.in[teacher_].statistics;
    alignas(64) double student_factor[batch_rows], teacher_factor[batch_rows], gradient_factor[batch_rows] = {};
    kernels().softmax_factor(batch.count, of_student, {}, student_factor, nullptr);
    kernels().softmax_factor(batch.count, of_teacher, {}, teacher_factor, nullptr);
    if (plan_.writes()) kernels().softmax_factor(batch.count, of_teacher, gradient_scale(s), gradient_factor, nullptr);
    divergence_rows& r = s.rows;
    r.student.reference = of_student.reference;
    r.teacher.reference = of_teacher.reference;
    for (index i = 0; i < batch.count; ++i) {
      const double difference = s.of_class.log_sum_difference[i];
      if (has_gradient(s, i) && std::isnan(difference)) gradient_factor[i] = difference;
      const int exponent = exponent_of_terms(gradient_factor[i]);
      r.student.exponent[i] = exponent - of_student.exponent[i];
      r.teacher.exponent[i] = exponent - of_teacher.exponent[i];
      r.teacher_scale[i] = std::ldexp(teacher_factor[i], -exponent);
      // Shards have summed without a gradient, with terms that have the bias alone.
      s.value_scale[i] = merged != nullptr ? std::ldexp(teacher_factor[i], -bias) : r.teacher_scale[i];
      set_ratio(r.student, i, student_factor[i] / teacher_factor[i]);
      set_gradient_factor(r.teacher, i, gradient_factor[i], exponent);
      set_difference(r, i, difference, gradient_factor[i], teacher_factor[i]);
    }
  }

  void sum(row_batch& batch, divergence_state& s, index begin, index end) const override {
    if (!plan_.writes()) traverse(batch, s, nullptr, {}, begin, end, batch.in[student_].statistics, nullptr);
  }

  void write(row_batch& batch, divergence_state& s, const source* q, index begin, index end, const row_statistics& statistics,
             const gradient_rows* cross_entropy) const override {
    traverse(batch, s, q, batch.output(), begin, end, statistics, cross_entropy);
  }

  void complete(row_batch& batch, divergence_state& s) const override {
    for (index i = 0; i < batch.count; ++i) {
      const double difference = s.of_class.log_sum_difference[i];
      const double divergence = rounded(value(batch, s, i)) * s.value_scale[i];
      const auto error = [&] { return divergence - rounded(inner(batch, s, i)) * s.value_scale[i]; };
      const double counted = std::isnan(difference) ? difference : without_common_error(divergence, 1, error);
      s.loss[i] = s.row_weight[i] == 0 ? 0 : s.row_weight[i] * counted;
    }
  }

 private:
  // Added to the exponents of the terms, so that few are subnormal.
  static constexpr int bias = 64;

  // Whether a row has a gradient that is neither 0 nor beyond the range.
  static bool is_usual(double gradient_factor) { return gradient_factor != 0 && std::isfinite(gradient_factor); }
  // The bias, and an exponent that keeps the factor of the gradient in the range of float32.
  static int exponent_of_terms(double gradient_factor) {
    constexpr int least = -64, most = 16;
    return bias + (is_usual(gradient_factor) ? std::clamp(std::ilogb(gradient_factor), least, most) : 0);
  }
  // In float32, with the logarithm of its error, which the kernel adds to the exponents of e_c.
  static void set_ratio(distribution_rows& student, index i, double ratio) {
    student.factor[i] = rounded_to(dtype::float32, ratio);
    student.factor_lo[i] = log_of_error(ratio, 0, student.factor[i]);
  }
  // Of terms with this exponent; as the sum of two floats.
  static void set_gradient_factor(distribution_rows& teacher, index i, double gradient_factor, int exponent) {
    const double factor = teacher.factor[i] = std::ldexp(gradient_factor, -exponent);
    teacher.factor_lo[i] = is_usual(gradient_factor) ? factor - rounded_to(dtype::float32, factor) : 0;
  }
  // log_sum_difference, as the sum of two floats. A small one is felt by classes alone of which the logits differ by nothing, in
  // proportion to it: the kernel adds it to the gradient in the end.
  static void set_difference(divergence_rows& r, index i, double difference, double gradient_factor, double teacher_factor) {
    const bool is_small = std::abs(difference) < 0x1p-60;
    r.log_sum_difference[i] = is_small ? 0 : rounded_to(dtype::float32, difference);
    r.log_sum_difference_lo[i] = is_small ? 0 : difference - r.log_sum_difference[i];
    r.small_difference_gradient[i] =
        is_small && is_usual(gradient_factor) ? difference * (gradient_factor / teacher_factor) : -0.0;  // -0: nothing
  }

  void traverse(row_batch& batch, divergence_state& s, const source* q, const sink& to, index begin, index end,
                const row_statistics& statistics, const gradient_rows* cross_entropy) const {
    plan_.kernel().forward_kl(batch.input(student_), batch.input(teacher_), q, to, begin, end, s.rows, statistics,
                              cross_entropy, s.value.data(), s.inner.data());
  }
};

}  // namespace

bool divergence_sums_while_writing(divergence_kind kind, dtype arithmetic) {
  return kind == divergence_kind::forward && kernels(arithmetic).forward_kl != nullptr;
}

std::unique_ptr<divergence_term> make_divergence_term(const row_plan& plan, int student, int teacher,
                                                      const divergence_options& options, double share, double power) {
  if (divergence_sums_while_writing(options.kind, plan.type))
    return std::make_unique<forward_kl>(plan, student, teacher, options, share, power);
  return std::make_unique<two_pass_divergence>(plan, student, teacher, options, share, power);
}

void divergence_term::prepare(row_batch& batch, divergence_state& s) const {
  const row_statistics &of_student = batch.in[student_].statistics, &of_teacher = batch.in[teacher_].statistics;
  divergence_rows& r = s.rows;
  r.beta = options_.beta;
  r.t = inverse_of(plan_.kernel(), options_.temperature);
  r.student_statistics = &of_student;
  r.teacher_statistics = &of_teacher;
  kernels().log_sum_difference(batch.count, of_teacher, of_student, r.log_sum_difference, r.log_sum_difference_lo,
                               r.log_sum_difference_scaled);
  std::copy_n(r.log_sum_difference, batch.count, s.of_class.log_sum_difference);
  std::copy_n(r.log_sum_difference_lo, batch.count, s.of_class.log_sum_difference_lo);
  std::copy_n(r.log_sum_difference_scaled, batch.count, s.of_class.log_sum_difference_scaled);
}

double_double<double> divergence_term::value(const row_batch& batch, const divergence_state& s, index row) const {
  return merged != nullptr ? merged->value(batch.first + row) : sum_of_blocks(s.value, batch, row, 0, batch.blocks);
}
double_double<double> divergence_term::inner(const row_batch& batch, const divergence_state& s, index row) const {
  return merged != nullptr ? merged->inner(batch.first + row) : sum_of_blocks(s.inner, batch, row, 0, batch.blocks);
}

void divergence_term::put_sums(const row_batch& batch, const divergence_state& s, index begin, index end, index rows,
                               double* columns) const {
  const auto put = [&](index column, const std::vector<double>& x, index i) {
    const double_double<double> sum = sum_of_blocks(x, batch, i, begin, end);
    double* const to = columns + 2 * (column * rows + batch.first + i);
    to[0] = sum.hi;
    to[1] = sum.lo;
  };
  for (index i = 0; i < batch.count; ++i) {
    put(0, s.value, i);
    if (!s.inner.empty()) put(1, s.inner, i);
  }
}

void divergence_term::set_distribution(row_batch& batch, const divergence_state& s, int input, dtype type,
                                       const row_coefficient& scale, distribution_rows& p) const {
  const row_statistics& statistics = batch.in[input].statistics;
  // In float64 the terms are counted from the maximum, so that 1 / (1 + tail) is all there is to the factor: exp(-max), of
  // which float32 rows do not feel the rounding, would have its own.
  row_coefficient coefficient = scale;
  coefficient.from_max = type == dtype::float64;
  kernels().softmax_factor(batch.count, statistics, coefficient, p.factor, p.factor_lo);
  for (index i = 0; i < batch.count; ++i) {
    const double difference = s.of_class.log_sum_difference[i];
    const bool counts = scale.upstream == nullptr || has_gradient(s, i);
    if (counts && std::isnan(difference)) p.factor[i] = difference;
    p.factor_lo[i] = log_of_error(p.factor[i], p.factor_lo[i], rounded_to(type, p.factor[i]));
  }
  if (coefficient.from_max) std::fill_n(p.exponent, batch.count, 0.0);
  else std::copy_n(statistics.exponent, batch.count, p.exponent);
  p.reference = coefficient.from_max ? statistics.max : statistics.reference;
  if (options_.temperature < tiny_temperature) return;
  kernels(type).split_exponents(batch.count, p.factor, nullptr, p.exponent);
}

void divergence_term::set_distributions(row_batch& batch, divergence_state& s, const row_coefficient& scale) const {
  set_distribution(batch, s, student_, plan_.type, scale, s.rows.student);
  set_distribution(batch, s, teacher_, plan_.type, scale, s.rows.teacher);
}

row_coefficient divergence_term::gradient_scale(const divergence_state& s) const {
  const double of_student = options_.kind == divergence_kind::js ? 1 - options_.beta : 1;  // the student's share of the mixture
  row_coefficient c;
  c.upstream = s.upstream;
  c.weight = s.row_weight;
  c.multiplier[0] = share_;
  c.multiplier[1] = power_;
  c.multiplier[2] = of_student;
  c.divisor[0] = s.divisor;
  c.divisor[1] = gradient_divisor;
  return c;
}

void divergence_term::gradient_at(row_batch& batch, divergence_state& s, const index* classes, double* out) const {
  alignas(64) double x[2][batch_rows] = {};
  const char* from[2][batch_rows];
  char* to[batch_rows];
  const int inputs[2] = {student_, teacher_};
  divergence_rows& r = s.of_class;
  for (int k = 0; k < 2; ++k) {
    const char* const* rows = batch.in[inputs[k]].x;
    for (index i = 0; i < batch_rows; ++i) {
      from[k][i] = reinterpret_cast<const char*>(&x[k][i]);
      to[i] = reinterpret_cast<char*>(out + i);
      if (i < batch.count && rows[i] != nullptr) x[k][i] = batch.logit(inputs[k], i, classes[i]);
    }
    set_distribution(batch, s, inputs[k], dtype::float64, gradient_scale(s), k == 0 ? r.student : r.teacher);
  }
  r.beta = options_.beta;
  r.t = inverse_of(kernels(dtype::float64), options_.temperature);
  r.student_statistics = s.rows.student_statistics;
  r.teacher_statistics = s.rows.teacher_statistics;
  std::copy_n(s.rows.inner, batch.count, r.inner);
  std::copy_n(s.rows.inner_lo, batch.count, r.inner_lo);
  const source student{from[0], batch.count, 1, 8, dtype::float64, true},
      teacher{from[1], batch.count, 1, 8, dtype::float64, true};
  kernels(dtype::float64)
      .write_divergence[kind()](student, teacher, nullptr, {to, 8, dtype::float64, false}, 0, 1, r, *r.student_statistics,
                                nullptr);
}

}  // namespace crossent
