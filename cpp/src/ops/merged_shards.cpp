#include "ops/merged_shards.hpp"

#include "core/number.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

// f(array, whether it is there) for the arrays of a subtree in the order in which they lie.
template <class F> void for_each_column(subtree_rows& s, const subtree_format& format, F f) {
  const auto each = [&](bool is_there, auto&... columns) { (f(columns, is_there), ...); };
  const auto each_gap = [&](bool is_there, gap_sums_of_rows& g) { each(is_there, g.gap, g.gap_lo, g.mass, g.mass_lo); };
  each(true, s.max, s.max_count, s.sum_all, s.sum_without_max);
  each(format.extended, s.sum_all_lo, s.sum_without_max_lo);
  each(format.smoothed || format.probabilities, s.argmax);
  each_gap(format.smoothed, s.smoothing);
  each_gap(format.probabilities, s.target);
  each(format.probabilities, s.mass_without_max, s.mass_without_max_lo, s.argmax_probability);
}

}  // namespace

index subtree_format::numbers() const {
  subtree_rows none{};
  index count = 0;
  for_each_column(none, *this, [&](double*, bool is_there) { count += is_there; });
  return count;
}

subtree_rows subtree_at(double* at, index rows, const subtree_format& format) {
  subtree_rows s{};
  for_each_column(s, format, [&](double*& column, bool is_there) {
    if (!is_there) return;
    column = at;
    at += rows;
  });
  return s;
}

subtree_rows from_row(subtree_rows s, index first) {
  for_each_column(s, {}, [&](double*& column, bool) {
    if (column != nullptr) column += first;
  });
  return s;
}

merged_shards::merged_shards(const whole_rows& whole)
    : whole_(whole),
      subtree_(subtree_at(const_cast<double*>(whole.subtree), whole.rows, whole.format)),
      kernel_(kernels(arithmetic())),
      t_(kernel_.inverse_temperature_of(temperature())) {}

void merged_shards::load(index first, index count, int, row_statistics& out) const {
  kernel_.statistics_of_subtrees(count, t_, from_row(subtree_, first), out);
}

void merged_shards::load(index first, index count, cross_entropy_rows& out) const {
  const subtree_rows s = from_row(subtree_, first);
  // Of the arrays of a kind there are all or none. NOLINTBEGIN(clang-analyzer-core.NullDereference)
  const auto sum = [](const double* hi, const double* lo, index i) { return rounded(double_double<double>{hi[i], lo[i]}); };
  for (index i = 0; i < count; ++i) {
    out.target[i] = whole_.target_logits != nullptr ? whole_.target_logits[first + i] : 0;
    // From another process, which may have sent any number. -1: in none of these shards.
    const auto class_of = [&](double c) { return c >= 0 && c < out.classes ? static_cast<index>(c) : -1; };
    out.argmax[i] = s.argmax != nullptr ? class_of(s.argmax[i]) : 0;
    if (s.smoothing.gap != nullptr) out.weighted_gap_to_max[i] = sum(s.smoothing.gap, s.smoothing.gap_lo, i);
    if (s.target.gap == nullptr) continue;
    out.target_gap_to_max[i] = sum(s.target.gap, s.target.gap_lo, i);
    out.mass[i] = s.target.mass[i];
    out.mass_lo[i] = s.target.mass_lo[i];
    out.mass_without_max[i] = s.mass_without_max[i];
    out.mass_without_max_lo[i] = s.mass_without_max_lo[i];
    out.argmax_probability[i] = s.argmax_probability[i];
  }
  // NOLINTEND(clang-analyzer-core.NullDereference)
}

merged_distillation::merged_distillation(const shards_of_distillation& shards)
    : student(shards.student), teacher(shards.teacher), sums(shards.sums, shards.student.rows) {
  if (shards.cross_entropy.subtree != nullptr) cross_entropy.emplace(shards.cross_entropy);
}

row_description describe_merged(const known_statistics& merged, const merged_shards& rows, const view& logits, int axis,
                                index whole_classes, const mutable_view& out) {
  if (out.data == nullptr) return {merged, rows.arithmetic(), rows.rows(), whole_classes};
  row_description d(logits, axis, rows.temperature(), out);
  d.known = &merged;
  d.are_sums_known = true;
  return d;
}

}  // namespace crossent
