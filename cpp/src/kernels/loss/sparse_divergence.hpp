// A divergence from a teacher that is known of some classes alone, eight classes to a pack, in double_double. The formulas and
// the reasons: docs/explanation/design/divergences.md.
//
// The student's logarithms are sums of numbers that are not positive: log q_k = log(share of k in the listed classes) + log(share
// of these in the row), and 1 - q of a confident class comes from the others, never from a difference.
#pragma once

#include "kernels/loss/js_divergence.hpp"
#include "kernels/loss/row_quantities.hpp"

namespace crossent {
namespace {

using extended = double_double<doubles>;

CROSSENT_INLINE extended load_extended(const double* hi, const double* lo, index i) {
  return {load<double>(hi + i), load<double>(lo + i)};
}
CROSSENT_INLINE void store_extended(double* hi, double* lo, index i, extended x) {
  store(hi + i, x.hi);
  store(lo + i, x.lo);
}
CROSSENT_INLINE extended in_every_lane(double_double<double> x) { return {set1(x.hi), set1(x.lo)}; }

// log(x) of x >= 0, within 2^-57 of 1, and relative to the logarithm where x is near 1.
CROSSENT_ONCE extended log(extended x) {
  using k = constants<double>;
  const doubles zero = set1(0.0), one = set1(1.0), scale = set1<double>(k::subnormal_scale);
  const mask<double> may_be_subnormal = x.hi < set1(k::smallest_normal);
  const doubles up = select(may_be_subnormal, exp2_whole(scale), one), hi = x.hi * up, lo = x.lo * up;
  const frexp_parts<double> m = frexp(hi);
  const doubles e = m.exponent - select(may_be_subnormal, scale, zero), f = m.mantissa - one;
  const log_parts<double> y = log_reduced(e, f, one / (f + set1(2.0)), lo / hi);
  const doubles whole = y.e * set1(k::ln2_hi);
  const auto sum = two_sum(whole, y.f);
  const doubles error = product_error(y.e, set1(k::ln2_hi), whole);
  return normalised({log_limits(x.hi, sum.hi), (sum.lo + error) - y.less});
}
// exp(x) of x <= 700, with its rounding error.
CROSSENT_ONCE extended exp(extended x) {
  const doubles scale = set1<double>(constants<double>::subnormal_scale), back = exp2_whole(-scale);
  const doubles inside = at_least(x.hi, lowest_exponent(scale));
  const extended e = extended_exp_of({inside, select(inside == x.hi, x.lo, set1(0.0)), magic_of(scale)});
  return {e.hi * back, e.lo * back};
}
inline CROSSENT_INLINE_WIDE extended sum_of(extended a, extended b) { return normalised(a + b); }
inline CROSSENT_INLINE_WIDE extended product_of(extended a, extended b) { return a * b; }
// x/T
CROSSENT_INLINE extended over_temperature(extended x, const inverse_temperature& t) {
  if (t.is_one) return normalised(x);
  if (t.beyond != 0) return normalised(x / exact(set1(t.beyond)));
  const doubles inverse = set1(t.hi), z = x.hi * inverse;
  return normalised({z, product_error(x.hi, inverse, z) + (x.hi * set1(t.lo) + x.lo * inverse)});
}

inline CROSSENT_INLINE_WIDE extended gap_over_temperature(doubles a, doubles b, const inverse_temperature& t) {
  return over_temperature(two_sum(a, -b), t);
}

void exp_of_gaps(index n, const double* x, double max, const inverse_temperature& t, double logsumexp, double* hi, double* lo) {
  const doubles most = set1(700.0);  // only of what is refused
  for (index i = 0; i < n; i += 8) {
    const extended gap = sum_of(gap_over_temperature(load<double>(x + i), set1(max), t), exact(set1(-logsumexp)));
    store_extended(hi, lo, i, exp({at_most(gap.hi, most), gap.lo}));
  }
}

// What a pass over the entries of a row adds up.
template <class F> CROSSENT_INLINE double_double<double> sum_entries(index n, F term) {
  extended sum{};
  for (index i = 0; i < n; i += 8) sum += term(i);
  return add_lanes(sum);
}

// The student: logarithms of the shares of the listed classes and of the rest in the row.
class listed_and_rest {
 public:
  double max = -constants<double>::infinity;  // of the listed classes
  extended log_listed{}, log_rest{};
  bool is_known = true;  // false: some logit is NaN, or all are -inf

  explicit listed_and_rest(const sparse_row& r) : r_(r) {
    const double infinity = constants<double>::infinity;
    for (index k = 0; k < r.count; ++k)
      if (r.logit[k] > max) max = r.logit[argmax_ = k];
    const double_double<double> tail = sum_entries(r.count, [&](index i) { return term(i); });
    const double whole_max = max > r.rest_max ? max : r.rest_max;
    is_known = tail.hi == tail.hi && r.rest_tail == r.rest_tail && -infinity < whole_max && whole_max < infinity;
    log_sum_ = log(in_every_lane(tail) + set1(1.0));
    if (max == -infinity || r.rest_max == -infinity) {  // one of the two has nothing
      (max == -infinity ? log_listed : log_rest).hi = set1(-infinity);
      return;
    }
    const extended rest_sum = log(extended{set1(r.rest_tail), set1(r.rest_tail_lo)} + set1(1.0));
    const extended gap = gap_over_temperature(set1(max), set1(r.rest_max), r.t);
    const extended log_odds = sum_of(gap, log_sum_ + -rest_sum), zero{};
    const mask<double> rest_is_larger = log_odds.hi < zero.hi;
    const extended below = select(rest_is_larger, log_odds, -log_odds), of_smaller = log(exp(below) + set1(1.0));
    const extended larger = -of_smaller, smaller = sum_of(below, larger);
    log_listed = select(rest_is_larger, smaller, larger);
    log_rest = select(rest_is_larger, larger, smaller);
  }
  // log q of eight listed classes
  CROSSENT_INLINE_MEMBER extended log_q(index i) const {
    const doubles x = load<double>(r_.logit + i), lowest = set1(-constants<double>::infinity);
    const extended share = sum_of(gap_over_temperature(x, set1(max), r_.t), -log_sum_);
    return select(x != lowest, sum_of(share, log_listed), extended{lowest, set1(0.0)});
  }

 private:
  // exp((x - max)/T), but 0 for the class of the maximum and those that are masked
  CROSSENT_INLINE_MEMBER extended term(index i) const {
    alignas(pack_bytes) static constexpr double first[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const doubles x = load<double>(r_.logit + i), lowest = set1(-constants<double>::infinity);
    const doubles at = load<double>(first) + set1(static_cast<double>(i));
    const mask<double> counts = (x != lowest) & (at != set1(static_cast<double>(argmax_)));
    return select(counts, exp(gap_over_temperature(x, set1(max), r_.t)), extended{});
  }

  const sparse_row& r_;
  index argmax_ = 0;
  extended log_sum_{};
};

// Makes probabilities of the teacher's numbers, the rest's among them. Returns A, their sum: 1, or 0 where nothing is said, or
// that of the listed classes where the teacher has no rest.
CROSSENT_INLINE extended set_teacher(sparse_row& r) {
  const extended one = exact(set1(1.0));
  const auto sum = sum_entries(r.count, [&](index i) { return load_extended(r.teacher, r.teacher_lo, i); });
  const extended total = in_every_lane(sum), rest = normalised(-total + one);
  const double lacking = rest.hi.r[0][0];
  const bool divides = r.normalised || (!r.without_rest && (lacking <= 0 || r.others == 0));
  if ((divides && sum.hi == 0) || (r.without_rest && !divides)) return total;
  for (index i = 0; divides && i < r.count; i += 8)
    store_extended(r.teacher, r.teacher_lo, i, load_extended(r.teacher, r.teacher_lo, i) / total);
  r.teacher[r.count] = divides ? 0 : lacking;
  r.teacher_lo[r.count] = divides ? 0 : rest.lo.r[0][0];
  return one;
}

// The divergence's terms, and, in the place of log(p/q), what its gradient needs: q of forward, log(q/m) of js. Without a rest
// they are p log(p/q), of both signs.
CROSSENT_INLINE double_double<double> sum_terms(sparse_row& r, double_double<double>* inner) {
  const doubles zero = set1(0.0);
  const mixture<double> share(0.5);
  const bool is_forward = r.kind == divergence_kind::forward, is_js = r.kind == divergence_kind::js;
  extended of_gradient{};
  const auto value = sum_entries(r.count + 1, [&](index i) {
    const extended teacher = load_extended(r.teacher, r.teacher_lo, i), log_q = load_extended(r.log_ratio, r.log_ratio_lo, i);
    const doubles p = teacher.hi + teacher.lo, q = exp(log_q.hi, log_q.lo);
    extended d = sum_of(log(teacher), -log_q);
    d = select((p == zero) & (q == zero), extended{}, d);
    const mask<double> p_is_larger = zero < d.hi, star = is_forward ? p_is_larger : !p_is_larger;
    doubles term =
        select(p_is_larger, p, q) * phi_or_star_of_nonpositive(-absolute(d.hi), select(p_is_larger, -d.lo, d.lo), star);
    if (is_js) {
      mixture_ratios<double> ratios;
      ratios.set(d.hi, d.lo);
      const doubles of_student = ratios.student(share);
      term = js_of(q, p, of_student, ratios.teacher(share), share);
      d = exact(-of_student);
    }
    if (!is_forward) of_gradient += select(q != zero, product_of(exact(q), -d), extended{});
    store(r.gradient + i, q);
    store_extended(r.log_ratio, r.log_ratio_lo, i, is_forward ? exp(log_q) : d);
    if (r.without_rest) return select(p == zero, extended{}, product_of(teacher, d));
    return exact(select((p == zero) & (q == zero), zero, term));
  });
  *inner = add_lanes(of_gradient);
  return value;
}

CROSSENT_INLINE bool rest_is_masked(const sparse_row& r) { return r.rest_max == -constants<double>::infinity; }

// A q - p of the forward divergence. A class that has more than half of the student takes it from the others, as
// (A - p) - A (1 - q): where the teacher is as confident, both are small.
class forward_entries {
 public:
  forward_entries(const sparse_row& r, extended total)
      : total_(total), others_p_(of_others(r, r.teacher, r.teacher_lo)), others_q_(of_others(r, r.log_ratio, r.log_ratio_lo)) {}
  CROSSENT_INLINE_MEMBER extended operator()(extended q, extended p) const {
    const extended by_others = sum_of(others_p_, -product_of(total_, others_q_));
    const extended entry = sum_of(product_of(total_, q), -p);
    return select(has_more_than_half(q.hi) & (p.hi != set1(0.0)), by_others, entry);
  }

 private:
  static CROSSENT_INLINE_MEMBER mask<double> has_more_than_half(doubles q) { return set1(0.5) < q; }
  static CROSSENT_INLINE_MEMBER extended of_others(const sparse_row& r, const double* hi, const double* lo) {
    return in_every_lane(sum_entries(r.count + 1, [&](index i) {
      return select(has_more_than_half(load<double>(r.log_ratio + i)), extended{}, load_extended(hi, lo, i));
    }));
  }
  extended total_, others_p_, others_q_;
};

// A q - p, or q (log(q/p) - inner), or half of q (log(q/m) - inner), rounded once with the coefficient. Of a uniform rest, the
// entry is A q, and p is in beta.
CROSSENT_INLINE void write_entries(sparse_row& r, extended total, extended inner) {
  const doubles zero = set1(0.0);
  const forward_entries forward(r, total);
  const auto coefficient = exact(set1(r.upstream)) * exact(set1(r.weight)) * exact(set1(r.multiplier)) /
                           (exact(set1(r.divisor[0])) * exact(set1(r.divisor[1])));
  r.beta = 0;
  if (r.is_uniform && (r.others > 1 || rest_is_masked(r))) {
    const extended rest{set1(r.teacher[r.count]), set1(r.teacher_lo[r.count])};
    r.beta = rounded(rest * coefficient / exact(set1(r.others))).r[0][0];
    r.teacher[r.count] = r.teacher_lo[r.count] = 0;
  }
  const extended half = exact(set1(r.kind == divergence_kind::js ? 0.5 : 1.0));
  const bool has_none = r.upstream == 0 || r.weight == 0;
  for (index i = 0; i < r.count + 1; i += 8) {
    const extended d = load_extended(r.log_ratio, r.log_ratio_lo, i), p = load_extended(r.teacher, r.teacher_lo, i);
    const doubles q = load<double>(r.gradient + i);
    extended entry;
    if (r.kind == divergence_kind::forward) {
      entry = forward(d, p);
    } else {
      entry = select(q != zero, product_of(product_of(half, exact(q)), -d + -inner), extended{});
    }
    entry = product_of(entry, coefficient);
    store(r.gradient + i, select((q == zero) & (p.hi == zero), zero, has_none ? zero : rounded(entry)));
  }
}

// A rest that is uniform over n classes diverges from the student's by sum_c (-log(n q_c))/n more, which is not negative.
CROSSENT_INLINE double of_uniform_rest(const sparse_row& r) {
  const extended gaps = over_temperature(exact(set1(r.gap_sum)), r.t) / exact(set1(r.others));
  const extended log_sum = log(extended{set1(r.rest_tail), set1(r.rest_tail_lo)} + set1(1.0));
  const double more = rounded(normalised(gaps + (log_sum + -log(exact(set1(r.others)))))).r[0][0];
  return more < 0 ? 0 : more;
}

void sparse_divergence(sparse_row& r) {
  const double nan = constants<double>::nan;
  const extended total = set_teacher(r);
  const listed_and_rest student(r);
  r.beta = 0;
  const auto fill = [&](double value) {
    r.loss = value;
    for (index i = 0; i < r.count + 1; ++i) r.gradient[i] = r.upstream == 0 || r.weight == 0 ? 0 : value;
  };
  if (total.hi.r[0][0] == 0) return fill(0);
  if (!student.is_known) return fill(nan);
  for (index i = 0; i < r.count; i += 8) store_extended(r.log_ratio, r.log_ratio_lo, i, student.log_q(i));
  r.log_ratio[r.count] = student.log_rest.hi.r[0][0];
  r.log_ratio_lo[r.count] = student.log_rest.lo.r[0][0];

  double_double<double> inner;
  double_double<double> loss = sum_terms(r, &inner);
  const double rest = r.teacher[r.count];
  if (r.is_uniform && rest > 0) loss += rest * of_uniform_rest(r);
  r.loss = rounded(loss);
  if (!(r.loss == r.loss)) return fill(nan);
  if (!r.with_gradient) return;
  write_entries(r, total, in_every_lane(inner));
  if (rest_is_masked(r)) r.gradient[r.count] = 0;  // the student has none to share it
}

// Row by row in both orientations: few calls want it.
template <class T> void gap_sums_of_others(const source& s, index begin, index end, const double* max, double* out) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T buffer[block_classes];
  const index blocks = block_count(s.classes);
  for (index i = 0; i < s.count; ++i) {
    if (s.rows[i] == nullptr) continue;
    for (index b = begin; b < end; ++b) {
      const class_range r = block_range(b, s.classes);
      const double of_block = max[i * blocks + b], top = of_block == -constants<double>::infinity ? 0 : of_block;
      const char* from = without_listed(s.without[i], r, load_classes(s, i, r, buffer), buffer, static_cast<T>(top));
      accumulator<T> sum[per_row_doubles<T>::packs] = {};
      for (index c = 0; c < r.n; c += lanes) {
        const char* at = from + c * size_of<T>;
        const per_row_doubles<T> x(r.n - c >= lanes ? load<T>(at) : load_partial<T>(at, r.n - c, static_cast<T>(top)));
        each<per_row_doubles<T>::packs>([&](int k) CROSSENT_INLINE_LAMBDA { sum[k] += set1(top) - x.part[k]; });
      }
      out[i * blocks + b] = sum_lanes(sum[0]);
      if constexpr (per_row_doubles<T>::packs > 1) out[i * blocks + b] += sum_lanes(sum[1]);
    }
  }
}

}  // namespace
}  // namespace crossent
