// The statistics of blocks: with lanes over the classes of a row, here; with lanes over rows, in tile_statistics.hpp.
#pragma once

#include "kernels/walk/tile_statistics.hpp"

namespace crossent {
namespace {

// Puts -inf in the place of listed classes, in copies of their groups, or in the last group, which is one. Returns of which groups,
// as bits. begin: the first class of the block.
template <class T>
CROSSENT_ONCE unsigned replace_listed(class_list listed, index begin, index whole, const char* data, T* buffer,
                                      pack<T>* last_group) {
  constexpr index group_classes = group_packs * pack<T>::lanes;
  unsigned replaced = 0;
  for (index k = 0; k < listed.count; ++k) {
    const index c = listed.classes[k] - begin, g = c / group_classes;
    char* const to = g < whole ? reinterpret_cast<char*>(buffer) + g * group_bytes : reinterpret_cast<char*>(last_group);
    if (g < whole && (replaced >> g & 1) == 0) {
      for (index j = 0; j < group_packs; ++j) store(to + j * pack_bytes, load<T>(data + g * group_bytes + j * pack_bytes));
      replaced |= 1u << g;
    }
    store_one(to + (c - g * group_classes) * size_of<T>, -constants<T>::infinity);
  }
  return replaced;
}

// A block of a row on its way through two passes: its maxima are seen (`update_max`), which gives the reference of its terms
// (`set_reference`), then its terms are summed (`sum`), and kept where they are wanted again.
template <class T, temperature how> struct block_pass {
  const char* data = nullptr;
  index entry = 0, packs = 0, whole = 0,
        groups = 0;   // `whole` of the groups lie in memory, the last one may be in `last_group`
  unsigned replaced = 0;                               // of the groups, those without listed classes: they are in the buffer
  bool first = false;                                  // of its row
  char* kept = nullptr;                                // where the terms are left
  T max = 0;
  pack<T> last_group[group_packs], group_max[block_groups_max];
  accumulator<T> sums[block_groups_max];
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
    replaced = 0;
    if (whole != groups) load_last_group(r);
    if (s.without != nullptr) replaced = replace_listed(listed_in(s.without[row], r), r.begin, whole, data, buffer, last_group);
  }
  void load_last_group(class_range r) {
    constexpr index lanes = pack<T>::lanes;
    const char* last = data + whole * group_bytes;
    index n = r.n - whole * group_packs * lanes;
    for (index j = 0; j < group_packs; ++j, n -= lanes)
      last_group[j] = n >= lanes ? load<T>(last + j * pack_bytes)
                      : n > 0    ? load_partial<T>(last + j * pack_bytes, n, -constants<T>::infinity)
                                 : set1(-constants<T>::infinity);
  }
  const char* group(index g) const {
    const char* from = replaced >> g & 1 ? reinterpret_cast<const char*>(buffer) : data;
    return g < whole ? from + g * group_bytes : reinterpret_cast<const char*>(last_group);
  }

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
    const auto sum_of = [&](const char* from, auto size, const auto& see) CROSSENT_INLINE_LAMBDA {
      return sum_of_group<T, decltype(size)::value>([&](index j) CROSSENT_INLINE_LAMBDA {
        const pack<T> e_c = e(load<T>(from + j * pack_bytes));
        see(j, e_c);
        return e_c;
      });
    };
    const auto sum_group = [&](index g, auto size) CROSSENT_INLINE_LAMBDA {
      if (b.kept == nullptr) {
        b.sums[g] = sum_of(b.group(g), size, [](index, pack<T>) CROSSENT_INLINE_LAMBDA {});
      } else {
        char* const to = b.kept + g * group_bytes;
        b.sums[g] =
            sum_of(b.group(g), size, [&](index j, pack<T> e_c) CROSSENT_INLINE_LAMBDA { store(to + j * pack_bytes, e_c); });
      }
    };
    constexpr std::integral_constant<int, group_packs> all;
    constexpr std::integral_constant<int, group_packs / 2> half;
    index g = 0;
    for (const index full = (b.packs + half - 1) / group_packs; g < full; ++g) {
      if (g < next.groups) next.update_max(next, g, next.group(g));
      sum_group(g, all);
    }
    for (index seen = g; seen < next.groups; ++seen) next.update_max(next, seen, next.group(seen));
    if (g < b.groups) sum_group(g, half);
  }
  // The sum of the block; lo: its rounding error, of float64 rows.
  CROSSENT_INLINE_MEMBER void put_total(double* to, double* lo) const {
    accumulator<T> all{};
    for (index g = 0; g < groups; ++g) all = all + sums[g];
    if constexpr (sizeof(T) == 4) {
      *to = sum_lanes(all);
    } else {
      const double_double<double> sum = add_lanes(all);
      *to = sum.hi;
      *lo = sum.lo;
    }
  }
  // Leaves the maximum out of the sums; returns how often it is there.
  double exclude_max() {
    index top_group = 0;   // the first that holds it; without branches, which would be mispredicted
    for (index g = groups - 1; g >= 0; --g) top_group = any(group_max[g] == set1(max)) ? g : top_group;
    const pack<T> top = rebased(set1(max), ref.value);
    const char* from = group(top_group);
    pack<T> max_count = set1<T>(0);
    sums[top_group] = sum_of_group<T, group_packs>([&](index j) CROSSENT_INLINE_LAMBDA {
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
    if (out.exponentials != nullptr)
      b.kept = static_cast<char*>(out.exponentials) + row * cached_row_bytes(s.classes, size_of<T>);
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
    b.put_total(out.sum_all + b.entry, out.sum_all_lo + b.entry);
    if (!b.first && !(b.max > row_max)) continue;   // the maximum of the row is not here
    row_max = b.max;
    out.max_count[b.entry] = b.exclude_max();
    b.put_total(out.sum_without_max + b.entry, out.sum_without_max_lo + b.entry);
  }
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
      statistics_over_rows<T, how>(s, i, count, block_range(b, s.classes), blocks == 1 && !out.is_part, t, out, i * blocks + b,
                                   blocks, buffer);
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
