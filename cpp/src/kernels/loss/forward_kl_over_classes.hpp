// KL(t || s) of float32 rows and its gradient in one traversal, with lanes over classes.
//
// A group of packs at a time, in steps that are each taken through all of its packs: the chain of operations of a class is longer
// than a processor looks ahead. What few rows need (references, small differences) is beside the steps.
#pragma once

#include "kernels/loss/forward_kl.hpp"

namespace crossent {
namespace {

constexpr index group_floats = group_packs * pack<float>::lanes;

// n logits of a group less their reference: where they lie, or in `copy`, which ends with whole packs. A class that is missing
// is -inf: its terms are 0.
CROSSENT_INLINE const char* load_group(const char* from, index n, float reference, float* copy) {
  constexpr index lanes = pack<float>::lanes;
  if (n % lanes == 0 && reference == 0) return from;
  for (index c = 0; c < n; c += lanes) {
    const char* at = from + c * size_of<float>;
    const pack<float> x = n - c >= lanes ? load<float>(at) : load_partial<float>(at, n - c, -constants<float>::infinity);
    store(copy + c, x - set1(reference));
  }
  return reinterpret_cast<const char*>(copy);
}

// Calls f(c, n) for the packs of n classes: with the first class and the number of classes of each.
template <class F> CROSSENT_INLINE void for_each_pack(index n, F f) {
  constexpr index lanes = pack<float>::lanes;
  index c = 0;
  for (; c + lanes <= n; c += lanes) f(c, lanes);
  if (c < n) f(c, n - c);
}

template <temperature how, bool writes> struct forward_kl_row {
  forward_class<how> of_class;
  forward_gradient_scale scale;
  cross_entropy_gradient<float> of_cross_entropy;
  bool is_whole, with_cross_entropy;

  typename forward_class<how>::distance distance[group_packs];
  pack<float> values[group_packs], linear[group_packs], gradient[group_packs];
  alignas(pack_bytes) float student_copy[group_floats], teacher_copy[group_floats];

  forward_kl_row(const divergence_rows& p, const row_statistics& statistics, const gradient_rows* cross_entropy, bool with_q,
                 index row, orientation<false> o)
      : of_class(p, row, o),
        scale(p, row, o),
        of_cross_entropy(statistics, cross_entropy, with_q, row, o),
        is_whole(scale.is_whole()),
        with_cross_entropy(cross_entropy != nullptr) {}

  // Adds the values of n classes, as a group, and what is linear in their log-ratios; leaves their gradient.
  CROSSENT_INLINE_MEMBER void sum(const char* student, const char* teacher, index n, doubles& value, doubles& inner) {
    const char* x = load_group(student, n, of_class.student_reference.r[0][0], student_copy);
    const char* y = load_group(teacher, n, of_class.teacher_reference.r[0][0], teacher_copy);
    const index packs = (n + pack<float>::lanes - 1) / pack<float>::lanes;
    for (index j = 0; j < packs; ++j)
      of_class.first(load<float>(x + j * pack_bytes), load<float>(y + j * pack_bytes), distance[j]);
    for (index j = 0; j < packs; ++j) {
      const class_sums<float> terms = of_class.second(distance[j]);
      values[j] = terms.value;
      linear[j] = terms.linear;
      if constexpr (writes) gradient[j] = scale.times(terms.gradient);
    }
    for (index j = packs; j < group_packs; ++j) values[j] = linear[j] = set1(0.0f);
    if (writes && !is_whole)
      for (index j = 0; j < packs; ++j) gradient[j] = scale.complete(gradient[j], distance[j].t);
    const auto total = [](const pack<float>(&v)[group_packs]) CROSSENT_INLINE_LAMBDA {
      return sum_of_group<float, group_packs>([&](index j) CROSSENT_INLINE_LAMBDA { return v[j]; });
    };
    inner = inner + total(linear);
    doubles sum = total(values);
    if (any(sum != sum)) {
      for (index j = 0; j < packs; ++j)
        values[j] = of_class.value_of_infinite(values[j], load<float>(x + j * pack_bytes), load<float>(y + j * pack_bytes),
                                               distance[j]);
      sum = total(values);
    }
    value = value + sum;
  }

  // Adds the gradient of the cross-entropy to that of the classes [begin, begin + n); q: their probabilities, or as `student`.
  CROSSENT_INLINE_MEMBER void add_cross_entropy(const char* student, const char* q, index begin, index n) {
    if (!with_cross_entropy) return;
    for_each_pack(n, [&](index c, index count) CROSSENT_INLINE_LAMBDA {
      const auto at = [&](const char* from) CROSSENT_INLINE_LAMBDA {
        return count == pack<float>::lanes ? load<float>(from + c * size_of<float>)
                                           : load_partial<float>(from + c * size_of<float>, count, 0.0f);
      };
      pack<float>& g = gradient[c / pack<float>::lanes];
      g = g + of_cross_entropy(at(student), at(q), begin + c, count, orientation<false>{});
    });
  }

  CROSSENT_INLINE_MEMBER void store_gradient(char* to, index n, bool streams) const {
    index j = 0;
    if (streams)
      for (; (j + 1) * pack<float>::lanes <= n; ++j) stream(to + j * pack_bytes, gradient[j]);
    else
      for (; (j + 1) * pack<float>::lanes <= n; ++j) store(to + j * pack_bytes, gradient[j]);
    if (const index rest = n - j * pack<float>::lanes; rest > 0) store_partial(to + j * pack_bytes, rest, gradient[j]);
  }
};

template <temperature how, bool writes>
CROSSENT_ONCE void forward_kl_over_classes(const source& student, const source& teacher, const source* q, const sink& to,
                                           index begin, index end, const divergence_rows& p, const row_statistics& statistics,
                                           const gradient_rows* cross_entropy, double* value, double* inner) {
  const index blocks = block_count(student.classes);
  alignas(pack_bytes) float in[3][block_classes], out[block_classes];
  for (index i = 0; i < student.count; ++i) {
    if (student.rows[i] == nullptr) {
      if constexpr (writes) write_zeros(to, i, begin, end, student.classes, out);
      continue;
    }
    forward_kl_row<how, writes> row(p, statistics, cross_entropy, q != nullptr, i, orientation<false>{});
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, student.classes);
      const char* x = load_classes(student, i, r, in[0]);
      const char* y = load_classes(teacher, i, r, in[1]);
      const char* of_q = q != nullptr ? load_classes(*q, i, r, in[2]) : x;
      char* g = writes ? open_classes(to, i, r, out) : nullptr;
      if (to.stream && reinterpret_cast<std::uintptr_t>(g) % pack_bytes != 0) g = reinterpret_cast<char*>(out);
      const bool is_direct = g != reinterpret_cast<char*>(out);
      doubles total = set1(0.0), total_linear = set1(0.0);
      for (index c = 0; c < r.n; c += group_floats) {
        const index n = r.n - c < group_floats ? r.n - c : group_floats, at = c * size_of<float>;
        row.sum(x + at, y + at, n, total, total_linear);
        if constexpr (writes) {
          row.add_cross_entropy(x + at, of_q + at, r.begin + c, n);
          row.store_gradient(g + at, n, to.stream && is_direct);
        }
      }
      value[i * blocks + b] = sum_lanes(total);
      inner[i * blocks + b] = sum_lanes(total_linear);
      if (writes && !is_direct) convert_back(out, r.n, to.rows[i] + r.begin * to.class_stride, to);  // streams whole lines
    }
  }
}

void forward_kl(const source& student, const source& teacher, const source* q, const sink& to, index begin, index end,
                const divergence_rows& p, const row_statistics& statistics, const gradient_rows* cross_entropy, double* value,
                double* inner) {
  using t = temperature;
  const bool is_exact = is_power_of_two<float>(p.t), writes = to.rows != nullptr;
  const auto traverse = student.lanes_over_rows ? forward_kl_over_rows
                        : writes
                            ? is_exact ? forward_kl_over_classes<t::power_of_two, true> : forward_kl_over_classes<t::any, true>
                        : is_exact ? forward_kl_over_classes<t::power_of_two, false>
                                   : forward_kl_over_classes<t::any, false>;
  traverse(student, teacher, q, to, begin, end, p, statistics, cross_entropy, value, inner);
}

}  // namespace
}  // namespace crossent
