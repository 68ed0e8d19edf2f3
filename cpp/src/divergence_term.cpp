#include "divergence_term.hpp"

#include <algorithm>
#include <cmath>

namespace crossent {
namespace {

// The sum of the blocks of a row, with its rounding errors.
double_double<double> sum_of_blocks(const double* x, index n) {
  double_double<double> sum{};
  for (index b = 0; b < n; ++b) sum += x[b];
  return sum;
}

double rounded_to(dtype type, double x) { return type == dtype::float64 ? x : static_cast<double>(static_cast<float>(x)); }

// log((x + x_lo) / rounded), 0 where the rounded number is, or is not finite.
double log_of_error(double x, double x_lo, double rounded) {
  const double error = ((x - rounded) + x_lo) / rounded;
  return std::abs(error) < 1 ? error : 0;
}

}  // namespace

void divergence_term::distribution(row_statistics& in, const row_batch& batch, dtype type, const row_coefficient& scale,
                                   double* exponent, double* factor, double* factor_lo) const {
  row_state state = in.state();
  // In float64 the terms are counted from the maximum, so that 1 / (1 + tail) is all there is to the factor: exp(-max), of
  // which float32 rows do not feel the rounding, would have its own.
  alignas(64) double ones[batch_rows];
  if (type == dtype::float64) {
    std::fill_n(ones, batch_rows, 1.0);   // of padding too
    state.inverse_max_term = ones;
    state.inverse_max_term_lo = nullptr;
  }
  kernels().softmax_factor(batch.count, state, scale, factor, factor_lo);
  for (index i = 0; i < batch.count; ++i) {
    const bool off = scale.upstream != nullptr && (scale.upstream[i] == 0 || scale.weight[i] == 0);
    if (!off && batch.divergence->log_sum_difference[i] != batch.divergence->log_sum_difference[i]) factor[i] = batch.divergence->log_sum_difference[i];
    factor_lo[i] = log_of_error(factor[i], factor_lo[i], rounded_to(type, factor[i]));
  }
  if (type == dtype::float64) std::fill_n(exponent, batch.count, 0.0);
  else std::copy_n(in.exponent, batch.count, exponent);
  kernels(type).split_exponents(batch.count, factor, exponent);
}

row_coefficient divergence_term::gradient_scale(const row_batch& batch) const {
  const double of_student = options_.kind == divergence_kind::js ? 1 - options_.beta : 1;   // the student's share of the mixture
  return {batch.upstream, batch.cross_entropy->row_weight, {share_, power_, of_student}, {batch.divergence->divisor, options_.temperature}};
}

void divergence_term::settle(row_batch& batch, double divisor) const {
  auto& s = *batch.divergence;
  row_statistics &student_rows = batch.in[student_], &teacher_rows = batch.in[teacher_];
  kernels().log_sum_difference(batch.count, teacher_rows.state(), student_rows.state(), s.log_sum_difference, s.log_sum_difference_lo, s.log_sum_difference_scaled);
  s.divisor = divisor;
  if (is_fused()) return prepare_forward(batch);
  distribution(student_rows, batch, op_.type, {}, s.student_exponent, s.student_factor, s.student_factor_lo);
  distribution(teacher_rows, batch, op_.type, {}, s.teacher_exponent, s.teacher_factor, s.teacher_factor_lo);
  const std::size_t count = static_cast<std::size_t>(batch.count * batch.blocks);
  s.value.assign(count, 0.0);
  s.inner_sums.assign(count, 0.0);
}

// The forward kernel writes what it sums, where there is something to write.
void divergence_term::sum(row_batch& batch, index begin, index end) const {
  if (!is_fused())
    op_.kernel().divergence_sums(student(batch), teacher(batch), begin, end, rows(batch), batch.divergence->value.data(), batch.divergence->inner_sums.data());
  else if (op_.out.data == nullptr) write(batch, nullptr, {}, begin, end, nullptr);
}

void divergence_term::finish(row_batch& batch) const {
  auto& s = *batch.divergence;
  const double* row_weight = batch.cross_entropy->row_weight;
  row_statistics &student_rows = batch.in[student_], &teacher_rows = batch.in[teacher_];
  if (is_fused()) {
    if (op_.out.data == nullptr) complete(batch);
    return;
  }
  for (index i = 0; i < batch.count; ++i) {
    const double_double<double> sum = sum_of_blocks(s.inner_sums.data() + i * batch.blocks, batch.blocks);
    s.inner[i] = rounded_to(op_.type, rounded(sum));
    s.inner_lo[i] = (sum.hi - s.inner[i]) + sum.lo;
    s.loss[i] = row_weight[i] == 0 ? 0 : row_weight[i] * rounded(sum_of_blocks(s.value.data() + i * batch.blocks, batch.blocks));
  }
  if (op_.out.data == nullptr) return;
  distribution(student_rows, batch, op_.type, gradient_scale(batch), s.student_exponent, s.student_factor, s.student_factor_lo);
  distribution(teacher_rows, batch, op_.type, gradient_scale(batch), s.teacher_exponent, s.teacher_factor, s.teacher_factor_lo);
}

// The numbers of rows() for the forward kernel, in which the terms of the teacher are the unit.
void divergence_term::prepare_forward(row_batch& batch) const {
  // Exponents added to the terms, so that few are subnormal: a constant, and what keeps the gradient's factor in range.
  constexpr int bias = 64, least = -64, most = 16;
  // A gap below this is felt by classes alone of which the logits differ by nothing, in proportion to it.
  constexpr double small_difference = 0x1p-60;
  auto& s = *batch.divergence;
  row_statistics &student_rows = batch.in[student_], &teacher_rows = batch.in[teacher_];
  const bool with_gradient = op_.out.data != nullptr;
  s.value.resize(static_cast<std::size_t>(batch.count * batch.blocks));
  kernels().softmax_factor(batch.count, student_rows.state(), {}, s.student_factor, nullptr);
  kernels().softmax_factor(batch.count, teacher_rows.state(), {}, s.teacher_scale, nullptr);
  if (with_gradient) kernels().softmax_factor(batch.count, teacher_rows.state(), gradient_scale(batch), s.teacher_factor, nullptr);
  for (index i = 0; i < batch.count; ++i) {
    double& factor = s.teacher_factor[i];
    const bool off = batch.upstream[i] == 0 || batch.cross_entropy->row_weight[i] == 0;
    if (!off && s.log_sum_difference[i] != s.log_sum_difference[i]) factor = s.log_sum_difference[i];
    const bool usual = with_gradient && factor != 0 && std::isfinite(factor);
    const int exponent = bias + (usual ? std::clamp(std::ilogb(factor), least, most) : 0);
    s.student_exponent[i] = exponent - student_rows.exponent[i];
    s.teacher_exponent[i] = exponent - teacher_rows.exponent[i];
    const double ratio = s.student_factor[i] / s.teacher_scale[i];
    s.student_factor[i] = rounded_to(dtype::float32, ratio);
    s.student_factor_lo[i] = log_of_error(ratio, 0, s.student_factor[i]);
    const bool is_small = std::abs(s.log_sum_difference[i]) < small_difference;
    s.small_difference_gradient[i] = usual && is_small ? s.log_sum_difference[i] * (factor / s.teacher_scale[i]) : -0.0;   // adding -0 changes nothing
    factor = std::ldexp(factor, -exponent);
    s.teacher_factor_lo[i] = usual ? factor - rounded_to(dtype::float32, factor) : 0;
    s.teacher_scale[i] = std::ldexp(s.teacher_scale[i], -exponent);
    s.forward_difference[i] = is_small ? 0 : static_cast<double>(static_cast<float>(s.log_sum_difference[i]));
    s.forward_difference_lo[i] = is_small ? 0 : s.log_sum_difference[i] - s.forward_difference[i];
  }
}

void divergence_term::write(row_batch& batch, const source* q, const sink& to, index begin, index end, const row_scale* cross_entropy) const {
  if (is_fused())
    op_.kernel().forward_divergence(student(batch), teacher(batch), q, to, begin, end, rows(batch), cross_entropy, batch.divergence->value.data());
  else
    op_.kernel().write_divergence(student(batch), teacher(batch), q, to, begin, end, rows(batch), cross_entropy);
}

void divergence_term::complete(row_batch& batch) const {
  auto& s = *batch.divergence;
  for (index i = 0; i < batch.count; ++i) {
    const double value = rounded(sum_of_blocks(s.value.data() + i * batch.blocks, batch.blocks)) * s.teacher_scale[i];
    s.loss[i] = batch.cross_entropy->row_weight[i] == 0 ? 0 : batch.cross_entropy->row_weight[i] * (s.log_sum_difference[i] == s.log_sum_difference[i] ? value : s.log_sum_difference[i]);
  }
}

divergence_rows divergence_term::rows(const row_batch& batch) const {
  divergence_rows r;
  r.kind = options_.kind;
  r.beta = options_.beta;
  r.t = op_.scale(student_);
  const auto& s = *batch.divergence;
  const auto of = [&](const row_statistics& in, const double* exponent, const double* factor, const double* factor_lo) {
    return distribution_rows{in.max, op_.type == dtype::float64 ? in.max : in.reference, exponent, factor, factor_lo};
  };
  r.student = of(batch.in[student_], s.student_exponent, s.student_factor, s.student_factor_lo);
  r.teacher = of(batch.in[teacher_], s.teacher_exponent, s.teacher_factor, s.teacher_factor_lo);
  r.log_sum_difference = is_fused() ? s.forward_difference : s.log_sum_difference;
  r.log_sum_difference_lo = is_fused() ? s.forward_difference_lo : s.log_sum_difference_lo;
  r.log_sum_difference_scaled = s.log_sum_difference_scaled;
  r.inner = s.inner;
  r.inner_lo = s.inner_lo;
  r.teacher_scale = s.teacher_scale;
  r.small_difference_gradient = s.small_difference_gradient;
  return r;
}

void divergence_term::gradient_at(row_batch& batch, const double* classes, double* out) const {
  alignas(64) double x[2][batch_rows] = {}, exponent[2][batch_rows] = {}, factor[2][batch_rows] = {}, factor_lo[2][batch_rows] = {};
  const char* from[2][batch_rows];
  char* to[batch_rows];
  const int inputs[2] = {student_, teacher_};
  for (int k = 0; k < 2; ++k) {
    const row_array& a = op_.inputs[static_cast<std::size_t>(inputs[k])].array;
    row_statistics& in = batch.in[inputs[k]];
    for (index i = 0; i < batch_rows; ++i) {
      from[k][i] = reinterpret_cast<const char*>(&x[k][i]);
      to[i] = reinterpret_cast<char*>(out + i);
      if (i < batch.count && in.x[i] != nullptr)
        x[k][i] = load_rounded(in.x[i] + static_cast<index>(classes[i]) * a.class_stride, a.type, op_.type);
    }
    distribution(in, batch, dtype::float64, gradient_scale(batch), exponent[k], factor[k], factor_lo[k]);
  }
  divergence_rows r = rows(batch);
  r.log_sum_difference = batch.divergence->log_sum_difference;
  r.log_sum_difference_lo = batch.divergence->log_sum_difference_lo;
  r.t = kernels(dtype::float64).inverse_temperature_of(options_.temperature);
  r.student = {r.student.max, r.student.max, exponent[0], factor[0], factor_lo[0]};
  r.teacher = {r.teacher.max, r.teacher.max, exponent[1], factor[1], factor_lo[1]};
  const source student_class{from[0], batch.count, 1, 8, dtype::float64, true};
  const source teacher_class{from[1], batch.count, 1, 8, dtype::float64, true};
  kernels(dtype::float64).write_divergence(student_class, teacher_class, nullptr, {to, 8, dtype::float64, false}, 0, 1, r, nullptr);
}

}  // namespace crossent
