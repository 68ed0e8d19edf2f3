// Between packs of floats and packs of doubles, and from a pack to one number.
#pragma once

#include "../kernels.hpp"
#include "vec.hpp"

namespace crossent {
namespace {

using half_register = float __attribute__((vector_size(native_bytes / 2)));

CROSSENT_INLINE half_register low_half(pack<float>::reg v) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
#elif defined(__AVX2__)
  return __builtin_shufflevector(v, v, 0, 1, 2, 3);
#else
  return __builtin_shufflevector(v, v, 0, 1);
#endif
}
CROSSENT_INLINE half_register high_half(pack<float>::reg v) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  return __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  return __builtin_shufflevector(v, v, 2, 3);
#endif
}

using doubles = pack<double>;

struct two_packs {
  pack<double> low, high;
};

// Lanes 0..7 and 8..15.
CROSSENT_INLINE two_packs widen(pack<float> a) {
  two_packs w;
  pack<double> d[2];
  for (int k = 0; k < registers; ++k) {
    // Register k of the floats fills two registers of the doubles.
    d[2 * k / registers].r[2 * k % registers] = __builtin_convertvector(low_half(a.r[k]), pack<double>::reg);
    d[(2 * k + 1) / registers].r[(2 * k + 1) % registers] = __builtin_convertvector(high_half(a.r[k]), pack<double>::reg);
  }
  w.low = d[0];
  w.high = d[1];
  return w;
}

// The way back, rounded.
CROSSENT_INLINE pack<float> narrow(two_packs w) {
  const pack<double> d[2] = {w.low, w.high};
  alignas(pack_bytes) half_register half[2 * registers];
  for (int k = 0; k < 2 * registers; ++k)
    half[k] = __builtin_convertvector(d[k / registers].r[k % registers], half_register);
  return load<float>(half);
}

// Lane l + lane l+8 in float32, then as doubles.
CROSSENT_INLINE pack<double> widen_sum(pack<float> a) {
  pack<double> w;
  if constexpr (registers == 1) {
    w.r[0] = __builtin_convertvector(low_half(a.r[0]) + high_half(a.r[0]), pack<double>::reg);
  } else {
    for (int k = 0; k < registers / 2; ++k) {
      const pack<float>::reg sum = a.r[k] + a.r[k + registers / 2];
      w.r[2 * k] = __builtin_convertvector(low_half(sum), pack<double>::reg);
      w.r[2 * k + 1] = __builtin_convertvector(high_half(sum), pack<double>::reg);
    }
  }
  return w;
}

// n doubles (n = lanes of T) in consecutive memory as a pack of T, and back.
template <class T> CROSSENT_INLINE pack<T> load_as(const double* from) {
  if constexpr (sizeof(T) == 8) {
    return load<T>(from);
  } else {
    return narrow({load<double>(from), load<double>(from + 8)});
  }
}
template <class T> CROSSENT_INLINE void store_from(double* to, pack<T> p) {
  if constexpr (sizeof(T) == 8) {
    store(to, p);
  } else {
    const two_packs w = widen(p);
    store(to, w.low);
    store(to + 8, w.high);
  }
}

template <class T> CROSSENT_INLINE T largest_lane(pack<T> p) {
  alignas(pack_bytes) T lane[pack<T>::lanes];
  store(lane, p);
  for (int half = pack<T>::lanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] = lane[i + half] > lane[i] ? lane[i + half] : lane[i];
  return lane[0];
}

// The sum of the eight lanes as a tree: l and l+4, l and l+2, l and l+1.
CROSSENT_INLINE double sum_lanes(pack<double> p) {
  alignas(pack_bytes) double lane[8];
  store(lane, p);
  for (int half = 4; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

// The same of a pack of small whole numbers, where order does not matter.
template <class T> CROSSENT_INLINE double sum_of_lanes(pack<T> p) {
  alignas(pack_bytes) T lane[pack<T>::lanes];
  store(lane, p);
  T sum = 0;
  for (T v : lane) sum += v;
  return static_cast<double>(sum);
}

// 1 in the first n lanes, 0 in the others.
template <class T> CROSSENT_INLINE pack<T> first_lanes(index n) {
  alignas(pack_bytes) T lane[pack<T>::lanes];
  for (int i = 0; i < pack<T>::lanes; ++i) lane[i] = i < n ? T(1) : T(0);
  return load<T>(lane);
}

}  // namespace
}  // namespace crossent
