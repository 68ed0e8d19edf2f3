// The kernels that write blocks: softmax and gradients, log_softmax, and the backward passes of the normalisers.
#pragma once

#include "statistics.hpp"

namespace crossent {
namespace {

// Writes a group of rows: out = entry(x, c, n) for every pack x, of the classes c .. c + n - 1 of one row (along), or of
// class c of a tile of rows (across). `prepare(row)` gives the entry function of a row or of the tile that starts there.
template <class T, class Prepare>
CROSSENT_INLINE void write_across(const source& s, const sink& to, index begin, index end, Prepare prepare) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[block_classes * lanes];
  alignas(pack_bytes) T out[block_classes * lanes];
  for_each_tile<T>(s, [&](index i, index count) {
    const auto entry = prepare(i);
    for (index b = begin; b < end; ++b) {
      const run<T> r = block_run<T>(b, s.classes);
      const tile<T> x = load_across(s.rows + i, s.class_stride, r, in);
      const open_tile<T> y = open_across(to.rows + i, count, to.class_stride, r, out);
      for (index c = 0; c < r.n; ++c)
        store(y.data + c * y.stride, entry(load<T>(x.data + c * x.stride), r.begin + c, 1));
      close_across(y, to.rows + i, count, to.class_stride, r, out);
    }
  });
}

template <class T, class Prepare>
CROSSENT_INLINE void write_along(const source& s, const sink& to, index begin, index end, Prepare prepare) {
  constexpr index lanes = pack<T>::lanes;
  alignas(pack_bytes) T in[block_classes];
  alignas(pack_bytes) T out[block_classes];
  for (index i = 0; i < s.count; ++i) {
    const auto entry = prepare(i);
    for (index b = begin; b < end; ++b) {
      const run<T> r = block_run<T>(b, s.classes);
      char* y = open_along(to.rows[i], to.class_stride, r, out);
      if (s.rows[i] == nullptr) {
        for (index c = 0; c < r.n; ++c) store_one(y + c * size_of<T>, T(0));
        close_along(to.rows[i], to.class_stride, r, out);
        continue;
      }
      const char* x = load_along(s.rows[i], s.class_stride, r, in);
      const index full = r.n / lanes * lanes, rest = r.n - full;
      if (to.stream && reinterpret_cast<std::uintptr_t>(y) % pack_bytes == 0) {
        for (index c = 0; c < full; c += lanes)
          stream(y + c * size_of<T>, entry(load<T>(x + c * size_of<T>), r.begin + c, lanes));
      } else {
        for (index c = 0; c < full; c += lanes)
          store(y + c * size_of<T>, entry(load<T>(x + c * size_of<T>), r.begin + c, lanes));
      }
      if (rest > 0)
        store_partial(y + full * size_of<T>, rest,
                      entry(load_partial<T>(x + full * size_of<T>, rest, T(0)), r.begin + full, rest));
      close_along(to.rows[i], to.class_stride, r, out);
    }
  }
  if (to.stream) stream_fence();
}

// Lanes along the classes (false) or across rows (true), as a type.
template <bool value> struct orientation {
  static constexpr bool across = value;
};
// `make(row, orientation)` is `prepare` for either.
template <class T, class Make>
CROSSENT_INLINE void write_blocks(const source& s, const sink& to, index begin, index end, Make make) {
  if (s.across) write_across<T>(s, to, begin, end, [&](index i) { return make(i, orientation<true>{}); });
  else write_along<T>(s, to, begin, end, [&](index i) { return make(i, orientation<false>{}); });
}

// A per-row number as a pack: one per lane (across), or the same in all (along).
template <class T, class O> CROSSENT_INLINE pack<T> per_row(const double* v, index row, O) {
  if constexpr (O::across) return load_as<T>(v + row);
  else return set1(static_cast<T>(v[row]));
}

// The weights of n classes from c on, or that of class c in every lane (across).
template <class T, class O> CROSSENT_INLINE pack<T> weights(const void* weight, index c, index n, O) {
  if (weight == nullptr) return set1<T>(1);
  const char* w = static_cast<const char*>(weight) + c * size_of<T>;
  if constexpr (O::across) return set1(load_one<T>(w));
  else return n == pack<T>::lanes ? load<T>(w) : load_partial<T>(w, n, T(0));
}

// Rows whose factor is 0 are 0, whatever is in them.
template <class T, bool scaled, bool with_beta>
CROSSENT_INLINE void write_exp_of(const source& s, const sink& to, index begin, index end, const scaling& t,
                                  const row_scale& p) {
  write_blocks<T>(s, to, begin, end, [&](index i, auto o) {
    const exponential<T, scaled> term(per_row<T>(p.shift, i, o), t);
    const pack<T> offset = per_row<T>(p.offset, i, o), factor = per_row<T>(p.factor, i, o), zero = set1<T>(0);
    pack<T> beta = zero;
    if constexpr (with_beta) beta = per_row<T>(p.beta, i, o);
    const void* weight = p.weight;
    return [=](pack<T> x, index c, index n) {
      const pack<T> e = term(x - offset);
      if constexpr (with_beta) return if_equal(factor, zero, zero, fma(e, factor, -(beta * weights<T>(weight, c, n, o))));
      else return if_equal(factor, zero, zero, e * factor);
    };
  });
}

template <class T>
void write_exp(const source& s, const sink& to, index begin, index end, const scaling& t, const row_scale& p) {
  if (!t.is_one) write_exp_of<T, true, false>(s, to, begin, end, t, p);
  else if (p.beta == nullptr) write_exp_of<T, false, false>(s, to, begin, end, t, p);
  else write_exp_of<T, false, true>(s, to, begin, end, t, p);
}

template <class T>
void write_log(const source& s, const sink& to, index begin, index end, const scaling& t, const double* max,
               const double* log_sum) {
  const pack<T> high = set1(static_cast<T>(t.high)), low = set1(static_cast<T>(t.low));
  if (t.is_one) {
    write_blocks<T>(s, to, begin, end, [&](index i, auto o) {
      const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o);
      return [=](pack<T> x, index, index) { return (x - m) - l; };
    });
  } else {
    write_blocks<T>(s, to, begin, end, [&](index i, auto o) {
      const pack<T> m = per_row<T>(max, i, o), l = per_row<T>(log_sum, i, o);
      return [=](pack<T> x, index, index) {
        const pack<T> d = x - m, z = d * high, lowest = set1(-constants<T>::infinity);
        // Where z is infinite the correction would be NaN.
        const pack<T> fine = if_equal(z, lowest, z, z + (product_error(d, high, z) + d * low));
        return if_equal(d, lowest, d, fine) - l;
      };
    });
  }
}

}  // namespace
}  // namespace crossent
