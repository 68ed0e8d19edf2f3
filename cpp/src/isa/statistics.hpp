// The statistics of blocks, in both lane orientations.
#pragma once

#include "rows.hpp"

namespace crossent {
namespace {

// x - offset; 0 also where both are infinite.
template <class T> CROSSENT_INLINE pack<T> moved_by(pack<T> x, pack<T> offset) {
  return if_equal(x, offset, set1<T>(0), x - offset);
}

// ---- Along -----------------------------------------------------------------------------------------------------------

// Packs of a contiguous run of classes; behind its end, -inf.
template <class T> struct contiguous {
  const char* data;
  index full, packs;
  pack<T> last;

  contiguous(const char* x, index n) : data(x), full(n / pack<T>::lanes), packs(full), last(set1(-constants<T>::infinity)) {
    if (const index rest = n % pack<T>::lanes) {
      last = load_partial<T>(data + full * pack_bytes, rest, -constants<T>::infinity);
      ++packs;
    }
  }
  CROSSENT_INLINE pack<T> whole(const contiguous& c, index j) { return load<T>(c.data + j * pack_bytes); }
  CROSSENT_INLINE pack<T> at(const contiguous& c, index j) { return j < c.full ? whole(c, j) : c.last; }
};

// The maximum of each group of packs, and of all.
template <class T> CROSSENT_INLINE T block_max(const contiguous<T>& x, pack<T>* group_max) {
  using packs = contiguous<T>;
  pack<T> top = set1(-constants<T>::infinity);
  for (index j = 0, g = 0; j < x.packs; j += group_packs, ++g) {
    pack<T> m = set1(-constants<T>::infinity);
    if (j + group_packs <= x.full) {
      pack<T> t[4];
      for (int i = 0; i < 4; ++i) {
        t[i] = larger(packs::whole(x, j + 2 * i), larger(packs::whole(x, j + 2 * i + 1), m));
        prefetch(x.data + (j + 2 * i) * pack_bytes + block_classes * size_of<T>);
        prefetch(x.data + (j + 2 * i + 1) * pack_bytes + block_classes * size_of<T>);
      }
      m = larger(larger(t[0], t[1]), larger(t[2], t[3]));
    } else {
      for (index i = j; i < x.packs; ++i) m = larger(packs::at(x, i), m);
    }
    group_max[g] = m;
    top = larger(m, top);
  }
  return largest_lane(top);
}

template <class T, bool scaled>
CROSSENT_INLINE void statistics_along(const char* data, index n, const scaling& s, const block_statistics& out, index entry) {
  using packs = contiguous<T>;
  packs x(data, n);
  pack<T> group_max[block_groups_max];
  const T max = block_max(x, group_max);
  index max_group = 0;
  while (!any_equal(group_max[max_group], set1(max))) ++max_group;

  const reference<T> ref = reference_of(set1(max), s);
  alignas(pack_bytes) T moved[block_classes];
  pack<T> top = set1(max);
  if (ref.offset.r[0][0] != 0) {   // far out: a copy of the block, moved to its maximum
    for (index j = 0; j < x.packs; ++j) store(moved + j * pack<T>::lanes, moved_by(packs::at(x, j), ref.offset));
    x = packs(reinterpret_cast<const char*>(moved), x.packs * pack<T>::lanes);
    top = set1<T>(0);
  }

  const exponential<T, scaled> term(set1(bias<T>) - ref.shift, s);
  accumulator<T> plain, excluded;
  pack<T> ties = set1<T>(0);
  const auto add = [&](const terms<T>& t) {
    if constexpr (sizeof(T) == 4) {
      plain = plain.add(plain, widen_sum(t.plain));
      excluded = excluded.add(excluded, widen_sum(t.excluded));
    } else {
      plain = plain.add(plain, t.plain);
      excluded = excluded.add(excluded, t.excluded);
    }
  };
  for (index j = 0, g = 0; j < x.packs; j += group_packs, ++g) {
    const index count = x.packs - j < group_packs ? x.packs - j : group_packs;
    const auto at = [&](index i) { return packs::at(x, j + i); };
    const auto whole = [&](index i) { return packs::whole(x, j + i); };
    if (g == max_group) add(sum_group<true, T>(at, count, term, top, ties));
    else if (j + group_packs <= x.full) add(sum_group<false, T>(whole, group_packs, term, top, ties));
    else add(sum_group<false, T>(at, count, term, top, ties));
  }
  out.max[entry] = max;
  out.offset[entry] = ref.offset.r[0][0];
  out.shift[entry] = ref.shift.r[0][0];
  out.plain[entry] = plain.sum_lanes_of(plain);
  out.excluded[entry] = excluded.sum_lanes_of(excluded);
  out.ties[entry] = sum_of_lanes(ties);
}

// ---- Across ----------------------------------------------------------------------------------------------------------

// One value per row into every blocks-th entry.
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, pack<T> v) {
  alignas(pack_bytes) double lane[16];
  store_from(lane, v);
  for (index l = 0; l < count; ++l) to[l * blocks] = lane[l];
}
template <class T> CROSSENT_INLINE void put(double* to, index blocks, index count, const pack<double>* v) {
  alignas(pack_bytes) double lane[16];
  for (int k = 0; k < pack<T>::lanes / 8; ++k) store(lane + 8 * k, v[k]);
  for (index l = 0; l < count; ++l) to[l * blocks] = lane[l];
}

// The lane sums of a tile: for each of 8 class lanes, one accumulator per 8 rows.
template <class T> struct tile_sums {
  static constexpr int halves = pack<T>::lanes / 8;
  accumulator<T> lane[8][halves];

  CROSSENT_INLINE void add(tile_sums& s, int l, pack<T> v) {
    if constexpr (sizeof(T) == 4) {
      const two_packs w = widen(v);
      s.lane[l][0] = s.lane[l][0].add(s.lane[l][0], w.low);
      s.lane[l][1] = s.lane[l][1].add(s.lane[l][1], w.high);
    } else {
      s.lane[l][0] = s.lane[l][0].add(s.lane[l][0], v);
    }
  }
  CROSSENT_INLINE void total(tile_sums& s, pack<double>* out) {
    for (int k = 0; k < halves; ++k) {
      for (int half = 4; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) s.lane[l][k] = s.lane[l][k].join(s.lane[l][k], s.lane[l + half][k]);
      out[k] = s.lane[0][k].total(s.lane[0][k]);
    }
  }
};

template <class T, bool scaled>
CROSSENT_INLINE void statistics_across(const source& rows, index row, index count, run r, bool only_block, const scaling& s,
                                       const block_statistics& out, index entry, index blocks) {
  constexpr index lanes = pack<T>::lanes, group_classes = group_packs * lanes;
  alignas(pack_bytes) T buffer[block_classes * lanes];
  tile<T> x = load_across(rows, row, r, buffer);
  const auto logit = [&](index c) { return load<T>(x.data + c * x.stride); };

  // The maximum, and the first group that holds it.
  pack<T> max = set1(-constants<T>::infinity), max_group = set1<T>(0);
  for (index c = 0, g = 0; c < r.n; c += group_classes, ++g) {
    const index end = r.n - c < group_classes ? r.n : c + group_classes;
    pack<T> m = set1(-constants<T>::infinity);
    for (index i = c; i < end; ++i) m = larger(logit(i), m);
    max_group = if_less(max, m, set1(static_cast<T>(g)), max_group);
    max = larger(m, max);
  }
  const reference<T> ref = reference_of(max, s);
  pack<T> top = max;
  if (any_different(ref.offset, set1<T>(0))) {   // far out in some row: a copy of the tile, moved to the maxima
    for (index c = 0; c < r.n; ++c) store(buffer + c * lanes, moved_by(logit(c), ref.offset));
    x = {reinterpret_cast<const char*>(buffer), pack_bytes};
    top = moved_by(max, ref.offset);
  }

  const exponential<T, scaled> term(set1(bias<T>) - ref.shift, s);
  const int class_lanes = static_cast<int>(r.n < lanes ? r.n : lanes);
  tile_sums<T> plain, excluded;
  pack<T> ties = set1<T>(0);
  for (index c = 0, g = 0; c < r.n; c += group_classes, ++g) {
    const index n = r.n - c < group_classes ? r.n - c : group_classes;
    // A row whose maximum is in another group compares with NaN: nothing is equal.
    const pack<T> here = if_equal(max_group, set1(static_cast<T>(g)), top, set1(constants<T>::nan));
    const bool masked = any_equal(max_group, set1(static_cast<T>(g)));
    const auto lane_terms = [&](int l) -> terms<T> {
      if (l >= n) return {set1<T>(0), set1<T>(0)};
      const index packs = (n - l + lanes - 1) / lanes;
      const auto at = [&](index j) { return logit(c + l + j * lanes); };
      return masked ? sum_group<true, T>(at, packs, term, here, ties) : sum_group<false, T>(at, packs, term, here, ties);
    };
    for (int l = 0; l < 8 && l < class_lanes; ++l) {
      terms<T> t = lane_terms(l);
      if constexpr (sizeof(T) == 4) {
        if (l + 8 < class_lanes) {
          const terms<T> u = lane_terms(l + 8);
          t = {t.plain + u.plain, t.excluded + u.excluded};
        }
      }
      if (!only_block) plain.add(plain, l, t.plain);
      excluded.add(excluded, l, t.excluded);
    }
  }
  pack<double> total[2];
  excluded.total(excluded, total);
  put<T>(out.excluded + entry, blocks, count, total);
  if (!only_block) {
    plain.total(plain, total);
    put<T>(out.plain + entry, blocks, count, total);
  }
  put<T>(out.max + entry, blocks, count, max);
  put<T>(out.offset + entry, blocks, count, ref.offset);
  put<T>(out.shift + entry, blocks, count, ref.shift);
  put<T>(out.ties + entry, blocks, count, ties);
}

template <class T, bool scaled>
CROSSENT_INLINE void statistics_of(const source& s, index begin, index end, const scaling& t, const block_statistics& out) {
  const index blocks = (s.classes + block_classes - 1) / block_classes;
  if (s.across) {
    for_each_tile<T>(s, [&](index i, index count) {
      for (index b = begin; b < end; ++b)
        statistics_across<T, scaled>(s, i, count, block_run(b, s.classes), blocks == 1, t, out, i * blocks + b, blocks);
    });
    return;
  }
  alignas(pack_bytes) T buffer[block_classes];
  for (index i = 0; i < s.count; ++i) {
    if (s.rows[i] == nullptr) continue;
    for (index b = begin; b < end; ++b) {
      const run r = block_run(b, s.classes);
      statistics_along<T, scaled>(load_along(s, i, r, buffer), r.n, t, out, i * blocks + b);
    }
  }
}

template <class T>
void statistics(const source& s, index begin, index end, const scaling& t, const block_statistics& out) {
  if (CROSSENT_SMALL || !t.is_one) statistics_of<T, true>(s, begin, end, t, out);
  else statistics_of<T, CROSSENT_SMALL>(s, begin, end, t, out);
}

}  // namespace
}  // namespace crossent
