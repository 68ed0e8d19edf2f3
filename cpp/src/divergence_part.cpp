#include "divergence_part.hpp"

#include <algorithm>
#include <cmath>

namespace crossent {
namespace {

// The sum of the blocks of a row, with its rounding errors.
compensated sum_of_blocks(const double* x, index n) {
  compensated sum;
  for (index b = 0; b < n; ++b) sum.add(x[b]);
  return sum;
}

double rounded_to(dtype type, double x) { return type == dtype::float64 ? x : static_cast<double>(static_cast<float>(x)); }

// log(x (1 + low) / rounded), 0 where the rounded number is, or is not finite.
double rest_of(double x, double low, double rounded) {
  const double rest = ((x - rounded) + low) / rounded;
  return std::abs(rest) < 1 ? rest : 0;
}

}  // namespace

void divergence_part::distribution(row_reading& in, const row_group& g, dtype type, const row_coefficient& scale,
                                   double* shift, double* factor, double* rest) const {
  row_state state = in.state();
  // In float64 the terms are counted from the maximum, so that 1 / (1 + tail) is all there is to the factor: exp(-max), of
  // which float32 rows do not feel the rounding, would have its own.
  alignas(64) double ones[group_rows];
  if (type == dtype::float64) {
    std::fill_n(ones, group_rows, 1.0);   // of padding too
    state.unit = ones;
    state.unit_low = nullptr;
  }
  kernels().softmax_factor(g.count, state, scale, factor, rest);
  for (index i = 0; i < g.count; ++i) {
    const bool off = scale.upstream != nullptr && (scale.upstream[i] == 0 || scale.weight[i] == 0);
    if (!off && g.soft->gap[i] != g.soft->gap[i]) factor[i] = g.soft->gap[i];
    rest[i] = rest_of(factor[i], rest[i], rounded_to(type, factor[i]));
  }
  if (type == dtype::float64) std::fill_n(shift, g.count, 0.0);
  else std::copy_n(in.shift, g.count, shift);
  kernels(type).spread(g.count, factor, shift);
}

row_coefficient divergence_part::gradient_scale(const row_group& g) const {
  const double of_student = options_.kind == divergence_kind::js ? 1 - options_.beta : 1;   // the student's share of the mixture
  return {g.upstream, g.hard->row_weight, {share_, power_, of_student}, {g.soft->divisor, options_.temperature}};
}

void divergence_part::settle(row_group& g, double divisor) const {
  auto& s = *g.soft;
  row_reading &student_rows = g.in[student_], &teacher_rows = g.in[teacher_];
  kernels().log_sum_gap(g.count, teacher_rows.state(), student_rows.state(), s.gap, s.gap_rest, s.scaled_gap);
  s.divisor = divisor;
  if (is_fused()) return prepare_forward(g);
  distribution(student_rows, g, op_.type, {}, s.student_shift, s.student_factor, s.student_rest);
  distribution(teacher_rows, g, op_.type, {}, s.teacher_shift, s.teacher_factor, s.teacher_rest);
  const std::size_t count = static_cast<std::size_t>(g.count * g.blocks);
  s.value.assign(count, 0.0);
  s.inner_sums.assign(count, 0.0);
}

// The forward kernel writes what it sums, where there is something to write.
void divergence_part::sum(row_group& g, index begin, index end) const {
  if (!is_fused())
    op_.kernel().divergence_sums(student(g), teacher(g), begin, end, rows(g), g.soft->value.data(), g.soft->inner_sums.data());
  else if (op_.out.data == nullptr) write(g, nullptr, {}, begin, end, nullptr);
}

void divergence_part::finish(row_group& g) const {
  auto& s = *g.soft;
  const double* row_weight = g.hard->row_weight;
  row_reading &student_rows = g.in[student_], &teacher_rows = g.in[teacher_];
  if (is_fused()) {
    if (op_.out.data == nullptr) complete(g);
    return;
  }
  for (index i = 0; i < g.count; ++i) {
    const compensated sum = sum_of_blocks(s.inner_sums.data() + i * g.blocks, g.blocks);
    s.inner[i] = rounded_to(op_.type, sum.total());
    s.inner_low[i] = (sum.high - s.inner[i]) + sum.low;
    s.loss[i] = row_weight[i] == 0 ? 0 : row_weight[i] * sum_of_blocks(s.value.data() + i * g.blocks, g.blocks).total();
  }
  if (op_.out.data == nullptr) return;
  distribution(student_rows, g, op_.type, gradient_scale(g), s.student_shift, s.student_factor, s.student_rest);
  distribution(teacher_rows, g, op_.type, gradient_scale(g), s.teacher_shift, s.teacher_factor, s.teacher_rest);
}

// The numbers of rows() for the forward kernel, in which the terms of the teacher are the unit.
void divergence_part::prepare_forward(row_group& g) const {
  // Exponents added to the terms, so that few are subnormal: a constant, and what keeps the gradient's factor in range.
  constexpr int bias = 64, least = -64, most = 16;
  // A gap below this is felt by classes alone of which the logits differ by nothing, in proportion to it.
  constexpr double small_gap = 0x1p-60;
  auto& s = *g.soft;
  row_reading &student_rows = g.in[student_], &teacher_rows = g.in[teacher_];
  const bool with_gradient = op_.out.data != nullptr;
  s.value.resize(static_cast<std::size_t>(g.count * g.blocks));
  kernels().softmax_factor(g.count, student_rows.state(), {}, s.student_factor, nullptr);
  kernels().softmax_factor(g.count, teacher_rows.state(), {}, s.unit, nullptr);
  if (with_gradient) kernels().softmax_factor(g.count, teacher_rows.state(), gradient_scale(g), s.teacher_factor, nullptr);
  for (index i = 0; i < g.count; ++i) {
    double& factor = s.teacher_factor[i];
    const bool off = g.upstream[i] == 0 || g.hard->row_weight[i] == 0;
    if (!off && s.gap[i] != s.gap[i]) factor = s.gap[i];
    const bool usual = with_gradient && factor != 0 && std::isfinite(factor);
    const int shift = bias + (usual ? std::clamp(std::ilogb(factor), least, most) : 0);
    s.student_shift[i] = shift - student_rows.shift[i];
    s.teacher_shift[i] = shift - teacher_rows.shift[i];
    const double ratio = s.student_factor[i] / s.unit[i];
    s.student_factor[i] = rounded_to(dtype::float32, ratio);
    s.student_rest[i] = rest_of(ratio, 0, s.student_factor[i]);
    const bool is_small = std::abs(s.gap[i]) < small_gap;
    s.small[i] = usual && is_small ? s.gap[i] * (factor / s.unit[i]) : -0.0;   // adding -0 changes nothing
    factor = std::ldexp(factor, -shift);
    s.teacher_rest[i] = usual ? factor - rounded_to(dtype::float32, factor) : 0;
    s.unit[i] = std::ldexp(s.unit[i], -shift);
    s.gap_high[i] = is_small ? 0 : static_cast<double>(static_cast<float>(s.gap[i]));
    s.gap_low[i] = is_small ? 0 : s.gap[i] - s.gap_high[i];
  }
}

void divergence_part::write(row_group& g, const source* q, const sink& to, index begin, index end, const row_scale* hard) const {
  if (is_fused())
    op_.kernel().forward_divergence(student(g), teacher(g), q, to, begin, end, rows(g), hard, g.soft->value.data());
  else
    op_.kernel().write_divergence(student(g), teacher(g), q, to, begin, end, rows(g), hard);
}

void divergence_part::complete(row_group& g) const {
  auto& s = *g.soft;
  for (index i = 0; i < g.count; ++i) {
    const double value = sum_of_blocks(s.value.data() + i * g.blocks, g.blocks).total() * s.unit[i];
    s.loss[i] = g.hard->row_weight[i] == 0 ? 0 : g.hard->row_weight[i] * (s.gap[i] == s.gap[i] ? value : s.gap[i]);
  }
}

divergence_rows divergence_part::rows(const row_group& g) const {
  divergence_rows r;
  r.kind = options_.kind;
  r.beta = options_.beta;
  r.t = op_.scale(student_);
  const auto& s = *g.soft;
  const auto of = [&](const row_reading& in, const double* shift, const double* factor, const double* rest) {
    return distribution_rows{in.max, op_.type == dtype::float64 ? in.max : in.offset, shift, factor, rest};
  };
  r.student = of(g.in[student_], s.student_shift, s.student_factor, s.student_rest);
  r.teacher = of(g.in[teacher_], s.teacher_shift, s.teacher_factor, s.teacher_rest);
  r.gap = is_fused() ? s.gap_high : s.gap;
  r.gap_low = is_fused() ? s.gap_low : s.gap_rest;
  r.scaled_gap = s.scaled_gap;
  r.inner = s.inner;
  r.inner_low = s.inner_low;
  r.unit = s.unit;
  r.small = s.small;
  return r;
}

void divergence_part::gradient_at(row_group& g, const double* classes, double* out) const {
  alignas(64) double x[2][group_rows] = {}, shift[2][group_rows] = {}, factor[2][group_rows] = {}, rest[2][group_rows] = {};
  const char* from[2][group_rows];
  char* to[group_rows];
  const int inputs[2] = {student_, teacher_};
  for (int k = 0; k < 2; ++k) {
    const row_array& a = op_.inputs[static_cast<std::size_t>(inputs[k])].array;
    row_reading& in = g.in[inputs[k]];
    for (index i = 0; i < group_rows; ++i) {
      from[k][i] = reinterpret_cast<const char*>(&x[k][i]);
      to[i] = reinterpret_cast<char*>(out + i);
      if (i < g.count && in.x[i] != nullptr)
        x[k][i] = load_rounded(in.x[i] + static_cast<index>(classes[i]) * a.class_stride, a.type, op_.type);
    }
    distribution(in, g, dtype::float64, gradient_scale(g), shift[k], factor[k], rest[k]);
  }
  divergence_rows r = rows(g);
  r.gap = g.soft->gap;
  r.gap_low = g.soft->gap_rest;
  r.t = kernels(dtype::float64).inverse_of(options_.temperature);
  r.student = {r.student.max, r.student.max, shift[0], factor[0], rest[0]};
  r.teacher = {r.teacher.max, r.teacher.max, shift[1], factor[1], rest[1]};
  const source student_class{from[0], g.count, 1, 8, dtype::float64, true};
  const source teacher_class{from[1], g.count, 1, 8, dtype::float64, true};
  kernels(dtype::float64).write_divergence(student_class, teacher_class, nullptr, {to, 8, dtype::float64, false}, 0, 1, r, nullptr);
}

}  // namespace crossent
