// The statistics of blocks, in both lane orientations.
#pragma once

#include "kernels/walk/definition.hpp"

namespace crossent {
namespace {

// x - reference; 0 also where both are infinite.
template <class T> CROSSENT_INLINE pack<T> rebased(pack<T> x, pack<T> reference) {
  return select(x != reference, x - reference, set1<T>(0));
}

// ---- Along -----------------------------------------------------------------------------------------------------------

constexpr index group_bytes = group_packs * pack_bytes;

// A block of a row on its way through two passes: its maxima are seen (`update_max`), which gives the reference of its terms
// (`set_reference`), then its terms are summed (`sum`).
template <class T, temperature how> struct block_pass {
  const char* data = nullptr;
  index entry = 0, packs = 0, whole = 0,
        groups = 0;   // `whole` of the groups lie in memory, the last one may be in `last_group`
  bool first = false;                                  // of its row
  T max = 0;
  pack<T> last_group[group_packs], group_max[block_groups_max], sums[block_groups_max];
  reference<T> ref;
  exponential<T, how> term;
  alignas(pack_bytes) T buffer[block_classes];

  void open(const source& s, index row, index block, bool is_first, index to_entry) {
    constexpr index lanes = pack<T>::lanes;
    const class_range r = block_range(block, s.classes);
    data = load_classes(s, row, r, buffer);
    entry = to_entry;
    first = is_first;
    packs = (r.n + lanes - 1) / lanes;
    groups = (packs + group_packs - 1) / group_packs;
    whole = r.n / (group_packs * lanes);
    if (whole == groups) return;
    const char* last = data + whole * group_bytes;
    index n = r.n - whole * group_packs * lanes;
    for (index j = 0; j < group_packs; ++j, n -= lanes)
      last_group[j] = n >= lanes ? load<T>(last + j * pack_bytes)
                      : n > 0    ? load_partial<T>(last + j * pack_bytes, n, -constants<T>::infinity)
                                 : set1(-constants<T>::infinity);
  }
  const char* group(index g) const { return g < whole ? data + g * group_bytes : reinterpret_cast<const char*>(last_group); }

  // The maximum of group g, at `from`.
  CROSSENT_INLINE void update_max(block_pass& b, index g, const char* from) {
    pack<T> m = set1(-constants<T>::infinity);
    for (index j = 0; j < group_packs; ++j) {
      m = larger(load<T>(from + j * pack_bytes), m);
      prefetch_ahead(b.data + g * group_bytes + j * pack_bytes);
    }
    b.group_max[g] = m;
  }

  void set_reference(const inverse_temperature& s) {
    pack<T> top = group_max[0];
    for (index g = 1; g < groups; ++g) top = larger(group_max[g], top);
    max = largest_lane(top);
    ref = reference_of(set1(max), s);
    term = exponential<T, how>(set1(bias<T>) - ref.exponent, s);
    if (ref.value.r[0][0] != 0) rebase();
  }
  // Far out: a copy of the block, moved to its maximum.
  void rebase() {
    for (index g = 0; g < groups; ++g)
      for (index j = 0; j < group_packs; ++j)
        store(buffer + (g * group_packs + j) * pack<T>::lanes, rebased(load<T>(group(g) + j * pack_bytes), ref.value));
    data = reinterpret_cast<const char*>(buffer);
    whole = groups;
  }

  // The sums of the groups, while the maxima of the block after this one are seen: so memory is read as steadily as terms
  // are computed. A pack that a group lacks is one of -inf, whose terms are 0: more than half of a group are summed as all.
  CROSSENT_INLINE void sum(block_pass& b, block_pass& next) {
    const exponential<T, how> e = b.term;
    const auto sum_of = [&](const char* from, auto size) CROSSENT_INLINE_LAMBDA {
      return tree<decltype(size)::value>([&](index j) CROSSENT_INLINE_LAMBDA { return e(load<T>(from + j * pack_bytes)); });
    };
    constexpr std::integral_constant<int, group_packs> all;
    constexpr std::integral_constant<int, group_packs / 2> half;
    index g = 0;
    for (const index full = (b.packs + half - 1) / group_packs; g < full; ++g) {
      if (g < next.groups) next.update_max(next, g, next.group(g));
      b.sums[g] = sum_of(b.group(g), all);
    }
    for (index seen = g; seen < next.groups; ++seen) next.update_max(next, seen, next.group(seen));
    if (g < b.groups) b.sums[g] = sum_of(b.group(g), half);
  }
  double total() const {
    accumulator<T> all{};
    for (index g = 0; g < groups; ++g) add_terms(all, sums[g]);
    return sum_lanes(all);
  }
  // Leaves the maximum out of the sums; returns how often it is there.
  double exclude_max() {
    index top_group = 0;   // the first that holds it; without branches, which would be mispredicted
    for (index g = groups - 1; g >= 0; --g) top_group = any(group_max[g] == set1(max)) ? g : top_group;
    const pack<T> top = rebased(set1(max), ref.value);
    const char* from = group(top_group);
    pack<T> max_count = set1<T>(0);
    sums[top_group] = tree<group_packs>([&](index j) CROSSENT_INLINE_LAMBDA {
      const pack<T> x = load<T>(from + j * pack_bytes);
      max_count = max_count + select(x == top, set1<T>(1), set1<T>(0));
      return select(x != top, term(x), set1<T>(0));
    });
    return sum_lanes(max_count);
  }
};

template <class T, temperature how>
CROSSENT_INLINE void statistics_over_classes(const source& s, index begin, index end, const inverse_temperature& t,
                                             const block_statistics& out) {
  const index blocks = block_count(s.classes);
  block_pass<T, how> pass[2];
  index row = 0, block = begin;
  const auto open_next = [&](block_pass<T, how>& b) {
    while (row < s.count && s.rows[row] == nullptr) ++row;
    b.groups = b.whole = 0;
    if (row == s.count) return;
    b.open(s, row, block, block == begin, row * blocks + block);
    if (++block == end) {
      block = begin;
      ++row;
    }
  };
  open_next(pass[0]);
  for (index g = 0; g < pass[0].groups; ++g) pass[0].update_max(pass[0], g, pass[0].group(g));
  if (pass[0].groups > 0) pass[0].set_reference(t);
  T row_max = 0;
  for (int k = 0; pass[k].groups > 0; k ^= 1) {
    block_pass<T, how>&b = pass[k], &next = pass[k ^ 1];
    open_next(next);
    b.sum(b, next);
    if (next.groups > 0) next.set_reference(t);   // first: the rest of this block waits for long sums
    out.max[b.entry] = b.max;
    out.reference[b.entry] = b.ref.value.r[0][0];
    out.exponent[b.entry] = b.ref.exponent.r[0][0];
    out.sum_all[b.entry] = b.total();
    if (!b.first && !(b.max > row_max)) continue;   // the maximum of the row is not here
    row_max = b.max;
    out.max_count[b.entry] = b.exclude_max();
    out.sum_without_max[b.entry] = b.total();
  }
}

// ---- Across ----------------------------------------------------------------------------------------------------------

// One value per row into every blocks-th entry.
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, const pack<double>* v) {
  alignas(pack_bytes) double lane[16];
  const bool direct = blocks == 1 && count == pack<T>::lanes;
  for (int k = 0; k < pack<T>::lanes / 8; ++k) store((direct ? to : lane) + 8 * k, v[k]);
  if (direct) return;
  for (index l = 0; l < count; ++l) to[l * blocks] = lane[l];
}
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, pack<T> v) {
  if constexpr (sizeof(T) == 8) {
    put<T>(to, blocks, count, &v);
  } else {
    const halves w = widen(v);
    const pack<double> both[2] = {w.lower, w.upper};
    put<T>(to, blocks, count, both);
  }
}

// The sums of a tile: for each of 8 class lanes, one accumulator per 8 rows.
template <class T> struct tile_sums {
  static constexpr int double_packs = pack<T>::lanes / 8;
  accumulator<T> lane[8][double_packs];
};

// The terms of n classes, up to a group, added as the definition of a row wants it; of the first group, put there.
template <class T> CROSSENT_ONCE void add_classes(tile_sums<T>& s, pack<T>* e, index n, bool first) {
  constexpr index lanes = pack<T>::lanes;
  with_group_size((n + lanes - 1) / lanes, [&](auto size) {
    constexpr int count = decltype(size)::value;
    for (index i = n; i < count * lanes; ++i) e[i] = set1<T>(0);
    for (index l = 0; l < 8; ++l) {
      const auto of_lane = [&](index k) { return tree<count>([&](index j) { return e[k + j * lanes]; }); };
      pack<double> rows[2] = {};
      if constexpr (sizeof(T) == 4) {
        const halves w = widen(of_lane(l) + of_lane(l + 8));
        rows[0] = w.lower;
        rows[1] = w.upper;
      } else {
        rows[0] = of_lane(l);
      }
      each<tile_sums<T>::double_packs>(
          [&](int k) CROSSENT_INLINE_LAMBDA { s.lane[l][k] = first ? accumulator_of<T>(rows[k]) : s.lane[l][k] + rows[k]; });
    }
  });
}
// One sum per row.
template <class T> CROSSENT_INLINE void add_lanes(const tile_sums<T>& s, pack<double>* out) {
  for (int k = 0; k < tile_sums<T>::double_packs; ++k) {
    const auto pair = [&](int l) CROSSENT_INLINE_LAMBDA { return s.lane[l][k] + s.lane[l + 4][k]; };
    out[k] = rounded((pair(0) + pair(2)) + (pair(1) + pair(3)));
  }
}

template <class T, temperature how>
CROSSENT_INLINE void statistics_over_rows(const source& rows, index row, index count, class_range r, bool only_block,
                                          const inverse_temperature& s, const block_statistics& out, index entry, index blocks,
                                          T* buffer) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  tile<T> x = load_tile(rows, row, r, buffer);
  const auto logit = [&](index c) { return load<T>(x.data + c * x.stride); };
  // Lines that are a power of two apart share one set of the first cache, and would not be there for the second look.
  const bool copy = x.stride % 4096 == 0;

  // The maximum, and the first group that holds it.
  pack<T> max = set1(-constants<T>::infinity), max_group = set1<T>(0);
  for (index c = 0, g = 0; c < r.n; c += group_classes, ++g) {
    const index end = r.n - c < group_classes ? r.n : c + group_classes;
    pack<T> m = set1(-constants<T>::infinity);
    for (index i = c; i < end; ++i) {
      const pack<T> v = logit(i);
      m = larger(v, m);
      prefetch(x.data + i * x.stride + tiles_ahead * pack_bytes);
      if (copy) store(buffer + i * lanes, v);
    }
    if (g > 0) max_group = select(max < m, set1(static_cast<T>(g)), max_group);
    max = larger(m, max);
  }
  if (copy) x = {reinterpret_cast<const char*>(buffer), pack_bytes};
  const reference<T> ref = reference_of(max, s);
  pack<T> top = max;
  if (any(ref.value != set1<T>(0))) {   // far out in some row: a copy of the tile, moved to the maxima
    for (index c = 0; c < r.n; ++c) store(buffer + c * lanes, rebased(logit(c), ref.value));
    x = {reinterpret_cast<const char*>(buffer), pack_bytes};
    top = rebased(max, ref.value);
  }

  const exponential<T, how> term(set1(bias<T>) - ref.exponent, s);
  const pack<T> zero = set1<T>(0), one = set1<T>(1);
  tile_sums<T> sum_all, sum_without_max;
  pack<T> max_count = zero, e[group_classes];
  T* const exponentials = out.exponentials != nullptr ? static_cast<T*>(out.exponentials) + row * r.n : nullptr;
  for (index c = 0, g = 0; c < r.n; c += group_classes, ++g) {
    const index n = r.n - c < group_classes ? r.n - c : group_classes;
    // A row whose maximum is in another group compares with NaN: nothing is equal.
    const pack<T> here = select(max_group == set1(static_cast<T>(g)), top, set1(constants<T>::nan));
    if (only_block) {
      for (index i = 0; i < n; ++i) {
        const pack<T> v = logit(c + i);
        max_count = max_count + select(v == here, one, zero);
        const pack<T> e_c = term(v);
        if (exponentials != nullptr) store(exponentials + (c + i) * lanes, e_c);
        e[i] = select(v != here, e_c, zero);
      }
    } else {
      for (index i = 0; i < n; ++i) e[i] = term(logit(c + i));
      add_classes(sum_all, e, n, c == 0);
      for (index i = 0; i < n; ++i) {
        const pack<T> v = logit(c + i);
        max_count = max_count + select(v == here, one, zero);
        e[i] = select(v != here, e[i], zero);
      }
    }
    add_classes(sum_without_max, e, n, c == 0);
  }
  pack<double> total[2];
  add_lanes(sum_without_max, total);
  put<T>(out.sum_without_max + entry, blocks, count, total);
  if (!only_block) {
    add_lanes(sum_all, total);
    put<T>(out.sum_all + entry, blocks, count, total);
  }
  put<T>(out.max + entry, blocks, count, max);
  put<T>(out.reference + entry, blocks, count, ref.value);
  put<T>(out.exponent + entry, blocks, count, ref.exponent);
  put<T>(out.max_count + entry, blocks, count, max_count);
}

template <class T, temperature how>
CROSSENT_INLINE void statistics_of(const source& s, index begin, index end, const inverse_temperature& t,
                                   const block_statistics& out) {
  const index blocks = block_count(s.classes);
  if (!s.lanes_over_rows) return statistics_over_classes<T, how>(s, begin, end, t, out);
  alignas(pack_bytes) T few[tile_classes * pack<T>::lanes];
  T* const buffer = s.classes <= tile_classes ? few : static_cast<T*>(out.tile);
  for_each_tile<T>(s, [&](index i, index count) {
    for (index b = begin; b < end; ++b)
      statistics_over_rows<T, how>(s, i, count, block_range(b, s.classes), blocks == 1, t, out, i * blocks + b, blocks, buffer);
  });
}

template <class T>
void statistics(const source& s, index begin, index end, const inverse_temperature& t, const block_statistics& out) {
  if constexpr (sizeof(T) == 4)
    if (!t.is_one && is_power_of_two<T>(t) && !s.lanes_over_rows)
      return statistics_over_classes<T, temperature::power_of_two>(s, begin, end, t, out);
  if (t.is_one) statistics_of<T, temperature::one>(s, begin, end, t, out);
  else statistics_of<T, temperature::any>(s, begin, end, t, out);
}

}  // namespace
}  // namespace crossent
