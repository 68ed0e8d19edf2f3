// Cross-entropy over few classes without weights or smoothing: value and gradient of a tile of rows, from the logits to the
// results without a way through memory.
//
// What every row computes is said elsewhere (tile_statistics.hpp, merge_blocks.hpp, cross_entropy.hpp); this is those functions
// one after the other, with coefficients of 1 and 0 left out. So the bits are those of the general path, which
// tests/contract/test_few_classes.py compares.
#pragma once

#include "kernels/loss/cross_entropy.hpp"

namespace crossent {
namespace {

// The classes of a tile's rows as numbers, -1 for rows that are not there, of which `absent` is how many. False if one does not
// exist.
template <class T>
CROSSENT_INLINE bool load_targets(const few_class_rows& r, index row, index count, pack<T>& classes, index& absent) {
  using packs = per_row_doubles<T>;
  constexpr index lanes = pack<T>::lanes;
  constexpr std::uint64_t of_integers = 0x4330000000000000u;  // the bits of 2^52: an integer put into them is added to it
  const auto last = static_cast<std::uint64_t>(r.classes - 1);
  const index* y = r.y + row;
  alignas(pack_bytes) index some[lanes];
  if (count < lanes) {
    for (index l = 0; l < lanes; ++l) some[l] = l < count ? y[l] : 0;
    y = some;
  }
  packs numbers;
  bits<double> outside{};  // the signs of y and of the last class less y
  for (int k = 0; k < packs::packs; ++k) {
    const bits<double> v = to_bits(load<double>(y + 8 * k));
    outside = outside | v | (last - v);
    numbers.part[k] = from_bits<double>(v | of_integers) - set1(constants<double>::integer);
  }
  classes = numbers.narrowed();
  absent = 0;
  if (!any(from_bits<double>(outside >> 63) != set1(0.0))) return true;
  alignas(pack_bytes) T number[lanes];
  for (index l = 0; l < lanes; ++l) {
    const bool is_class = static_cast<std::uint64_t>(y[l]) <= last;
    if (!is_class && y[l] != r.ignored) return false;
    number[l] = is_class ? static_cast<T>(y[l]) : T(-1);
    absent += !is_class;
  }
  classes = load<T>(number);
  return true;
}

// Contiguous rows that are too short for the squares of rows_to_packs.
template <class T> CROSSENT_INLINE bool has_short_rows(index classes, index row_stride, index class_stride) {
  return sizeof(T) == 4 && (classes == 2 || classes == 3) && class_stride == size_of<T> && row_stride == classes * size_of<T>;
}

template <class T> CROSSENT_INLINE tile<T> load_tile(const few_class_rows& r, index row, index count, T* buffer) {
  constexpr index lanes = pack<T>::lanes, size = size_of<T>;
  const char* from = r.x + row * r.row_stride;
  const tile<T> packed{reinterpret_cast<const char*>(buffer), pack_bytes};
  const bool whole = r.type == native<T> && count == lanes;
  if (whole && r.row_stride == size) return {from, r.class_stride};
  if (whole && r.class_stride == size && r.classes >= 16 / size) {
    for_each_line_ahead<T>(from, r.row_stride, [](const char* p) { prefetch(p); });
    rows_to_packs(even_rows<const char*>{from, r.row_stride}, 0, r.classes, buffer);
    return packed;
  }
  if (whole && has_short_rows<T>(r.classes, r.row_stride, r.class_stride)) {
    if (r.classes == 2) short_rows_to_packs<2>(from, buffer);
    else short_rows_to_packs<3>(from, buffer);
    return packed;
  }
  if (whole) {
    for (index c = 0; c < r.classes; ++c)
      for (index l = 0; l < lanes; ++l) buffer[c * lanes + l] = load_one<T>(from + l * r.row_stride + c * r.class_stride);
    return packed;
  }
  const index item = item_size(r.type);
  if (count == lanes && r.row_stride == item) {
    for (index c = 0; c < r.classes; ++c) gather(from + c * r.class_stride, item, r.type, lanes, buffer + c * lanes, 1);
    return packed;
  }
  if (count == lanes && r.class_stride == item && r.row_stride == r.classes * item && r.classes >= 16 / size) {
    alignas(pack_bytes) T rows[tile_classes * lanes];
    gather(from, item, r.type, r.classes * lanes, rows, 1);
    rows_to_packs(even_rows<const char*>{reinterpret_cast<const char*>(rows), r.classes * size}, 0, r.classes, buffer);
    return packed;
  }
  for (index l = 0; l < count; ++l) gather(from + l * r.row_stride, r.class_stride, r.type, r.classes, buffer + l, lanes);
  for (index c = 0; c < r.classes && count < lanes; ++c)
    for (index l = count; l < lanes; ++l) buffer[c * lanes + l] = 0;
  return packed;
}

// entry(c): the gradient of class c; buffer: room for the tile
template <class T, class F> CROSSENT_INLINE void store_tile(const few_class_rows& r, index row, index count, T* buffer,
                                                            F entry) {
  constexpr index lanes = pack<T>::lanes, size = size_of<T>;
  char* to = r.grad + row * r.grad_row_stride;
  const bool whole = r.grad_type == native<T> && count == lanes;
  if (whole && r.grad_row_stride == size) {
    const bool streams = r.stream && (reinterpret_cast<std::uintptr_t>(to) | r.grad_class_stride) % pack_bytes == 0;
    for (index c = 0; c < r.classes; ++c, to += r.grad_class_stride) {
      if (streams) {
        stream(to, entry(c));
      } else {
        prefetch_to_write(to + tiles_ahead * pack_bytes);
        store(to, entry(c));
      }
    }
    return;
  }
  if (whole && r.grad_class_stride == size && r.classes >= 16 / size) {
    if (r.stream && stream_rows(r.classes, to, r.grad_row_stride, buffer, entry)) return;
    packs_to_rows<T>(r.classes, even_rows<char*>{to, r.grad_row_stride}, 0, entry);
    return;
  }
  if (whole && has_short_rows<T>(r.classes, r.grad_row_stride, r.grad_class_stride)) {
    const bool streams = r.stream && reinterpret_cast<std::uintptr_t>(to) % pack_bytes == 0;
    if (r.classes == 2) packs_to_short_rows<2, T>(to, streams, entry);
    else packs_to_short_rows<3, T>(to, streams, entry);
    return;
  }
  for (index c = 0; c < r.classes; ++c) store(buffer + c * lanes, entry(c));
  if (whole) {
    for (index c = 0; c < r.classes; ++c)
      for (index l = 0; l < lanes; ++l) store_one(to + l * r.grad_row_stride + c * r.grad_class_stride, buffer[c * lanes + l]);
    return;
  }
  const index item = item_size(r.grad_type);
  if (count == lanes && r.grad_row_stride == item) {
    for (index c = 0; c < r.classes; ++c)
      scatter(buffer + c * lanes, 1, lanes, to + c * r.grad_class_stride, item, r.grad_type);
    return;
  }
  for (index l = 0; l < count; ++l)
    scatter(buffer + l, lanes, r.classes, to + l * r.grad_row_stride, r.grad_class_stride, r.grad_type);
}

// Rows whose maximum, target and sum are known, eight to a pack.
template <class T> struct few_class_row {
  using N = std::conditional_t<sizeof(T) == 4, doubles, double_double<doubles>>;
  const N one = number<N>(set1(1.0));
  doubles max, target;
  N inverse_max_term;
  row_tail<N> tail;

  CROSSENT_INLINE_MEMBER few_class_row(const block_merging<T>& merging, const single_block<T>& b, const row_numbers<T>& m,
                                       doubles x_y)
      : max(b.max),
        target(x_y),
        inverse_max_term(number<N>(m.factor.hi * merging.unscaled, m.factor.lo * merging.unscaled)),
        tail({tail_of_finite(b.max, m.tail.hi), m.tail.lo}, m.sum.hi * merging.unscaled) {}

  CROSSENT_INLINE_MEMBER doubles loss() const {
    const N gap = number<N>(max) + number<N>(-target);
    return tail.tiny.add(two_numbers(gap + log_sum_of(tail.tail)).hi, one, one);
  }
  // Of the terms, and the entry of the target.
  CROSSENT_INLINE_MEMBER void gradient(N scale, N& factor, doubles& of_target) const {
    const division<N> by_sum(one + tail.tail);
    const N u = exp_below_max<N>(target, max, inverse_temperature{}).u;
    const class_coefficients<N> c{one, number<N>(set1(-0.0))};  // others: 0 (0 - 1), as in coefficients_of
    of_target = tail.tiny.add(one_number(by_sum(entry(c, u, tail.tail)) * scale), -one, scale);
    factor = scale * by_sum(inverse_max_term);
  }
};

template <class T> index few_class_cross_entropy(few_class_rows& r) {
  using packs = per_row_doubles<T>;
  using N = typename few_class_row<T>::N;
  constexpr index lanes = pack<T>::lanes;
  const inverse_temperature t;
  const block_merging<T> merging;
  const unbiasing<T> unbias;
  const doubles zero = set1(0.0);
  const pack<T> none = set1<T>(0), next = set1<T>(1);
  const division<N> by_divisor(number<N>(set1(r.divisor)));
  alignas(pack_bytes) T buffer[tile_classes * lanes], terms[tile_classes * lanes], exponentials[tile_classes * lanes];
  for (index i = 0; i < r.count; i += lanes) {
    const index count = r.count - i < lanes ? r.count - i : lanes;
    pack<T> y, x_y = none, number_of_class = none;
    index absent;
    if (!load_targets<T>(r, i, count, y, absent)) return i;
    const auto find_target = [&](index, pack<T> x) CROSSENT_INLINE_LAMBDA {
      x_y = select(number_of_class == y, x, x_y);
      number_of_class += next;
    };
    const tile_maximum<T> m = maximum_of_tile(load_tile<T>(r, i, count, buffer), r.classes, t, buffer, find_target);
    lane_sum<T> sum;
    const auto keep = [&](index c, pack<T> e) CROSSENT_INLINE_LAMBDA { store(exponentials + c * lanes, e); };
    const packs max_count(sum_only_group<T, temperature::one>(m, r.classes, t, terms, sum, keep));
    const packs max(m.max), reference(m.ref.value), exponent(m.ref.exponent), target(x_y);
    const packs classes(y);  // looked at where rows are absent
    packs factor{}, factor_lo{}, of_target{};  // lo: of doubles
    mask<double> outside{};
    each<packs::packs>([&](int k) CROSSENT_INLINE_LAMBDA {
      const index row = i + 8 * k, left = count < 8 * k ? 0 : count - 8 * k;
      const single_block<T> b{max.part[k], reference.part[k], exponent.part[k], max_count.part[k], sum.rows[k]};
      const few_class_row<T> rows(merging, b, numbers_of(merging, b, t), target.part[k]);
      if (r.loss != nullptr) {
        doubles loss = rows.loss();
        if (absent > 0) loss = select(classes.part[k] < zero, zero, loss);
        if (left >= 8) store(r.loss + row, loss);
        else store_partial(r.loss + row, left, loss);
      }
      if (r.grad == nullptr) return;
      doubles g = set1(1.0);
      if (r.upstream != nullptr)
        g = left >= 8 ? load<double>(r.upstream + row) : load_partial<double>(r.upstream + row, left, 0.0);
      if (absent > 0) g = select(classes.part[k] < zero, zero, g);
      N unrounded;
      rows.gradient(by_divisor(number<N>(g)), unrounded, of_target.part[k]);
      const double_double<doubles> pair = factor_pair(unrounded);
      factor.part[k] = select(g != zero, pair.hi, zero);
      factor_lo.part[k] = unbias(select(g != zero, pair.lo, zero));
      of_target.part[k] = select(g != zero, of_target.part[k], zero);
      outside = outside | unbias.is_outside(factor.part[k]);
      factor.part[k] = unbias(factor.part[k]);
    });
    if (any(outside)) return i;
    r.absent += absent;
    if (r.grad == nullptr) continue;
    alignas(pack_bytes) double of_rows[2][16];  // as the general path has them
    each<packs::packs>([&](int k) CROSSENT_INLINE_LAMBDA {
      store(of_rows[0] + 8 * k, factor.part[k]);
      store(of_rows[1] + 8 * k, factor_lo.part[k]);
    });
    const auto f = per_row<T>(of_rows[0], of_rows[1], 0, orientation<true>{});
    const pack<T> of_y = of_target.narrowed();
    store_tile<T>(r, i, count, buffer, [&](index c) CROSSENT_INLINE_LAMBDA {
      const pack<T> e = load<T>(exponentials + c * lanes), entry = fma(e, f.hi, e * f.lo);
      return select(y == set1(static_cast<T>(c)), of_y, select(f.hi != none, entry, none));
    });
  }
  return r.count;
}

}  // namespace
}  // namespace crossent
