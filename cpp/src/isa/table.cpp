// The table of one ISA level: this file, and all it includes, is compiled once per level, with that level's flags.
#include "backward.hpp"
#include "divergence.hpp"
#include "elementwise.hpp"
#include "cross_entropy.hpp"
#include "information.hpp"
#include "weighted_gaps.hpp"
#include "write.hpp"

#define CROSSENT_JOIN_(a, b) a##b
#define CROSSENT_JOIN(a, b) CROSSENT_JOIN_(a, b)
#define CROSSENT_STRING_(a) #a
#define CROSSENT_STRING(a) CROSSENT_STRING_(a)

namespace crossent {
namespace {

// out[i] = f(x[i])
template <class T, class F> CROSSENT_INLINE void map(const void* x, void* out, index n, F f) {
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(out);
  constexpr index lanes = pack<T>::lanes;
  for (; n >= lanes; n -= lanes, from += pack_bytes, to += pack_bytes) store(to, f(load<T>(from)));
  if (n > 0) store_partial(to, n, f(load_partial<T>(from, n, T(0))));
}

template <class T> void exp_sum(const void* x, const void* error, void* out, index n) {
  const char* e = static_cast<const char*>(error);
  map<T>(x, out, n, [&](pack<T> v) {
    const pack<T> y = exp(v, n >= pack<T>::lanes ? load<T>(e) : load_partial<T>(e, n, T(0)));
    e += pack_bytes;
    n -= pack<T>::lanes;
    return y;
  });
}

template <class T> constexpr dtype_kernels kernels_of() {
  return {
      pack<T>::lanes,
      inverse_temperature_of<T>,
      statistics<T>,
      weighted_gap_to_max<T>,
      argmax<T>,
      probability_sums<T>,
      write_softmax_gradient<T>,
      write_cached_gradient<T>,
      write_log<T>,
      merge_blocks<T>,
      split_exponents<T>,
      unbias_factors<T>,
      divergence_sums<T>,
      write_divergence<T>,
      sizeof(T) == 4 ? forward_divergence : nullptr,
      entropy_of_logits<T>,
      binary_cross_entropy<T>,
      binary_cross_entropy_with_logits<T>,
      kl_div<T>,
      kl_div_log<T>,
      in_range<T>,
      [](const char* from, index stride, dtype type, index n, void* to) { gather(from, stride, type, n, static_cast<T*>(to), 1); },
      [](const void* from, index n, char* to, index stride, dtype type) {
        scatter(static_cast<const T*>(from), 1, n, to, stride, type);
      },
      sum_products<T>,
      write_softmax_backward<T>,
      write_log_softmax_backward<T>,
      [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return exp(v); }); },
      exp_sum<T>,
      [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return expm1(v); }); },
      [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return log(v); }); },
      [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return log1p(v); }); },
      [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return phi(v); }); },
      [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return phi_star(v); }); },
  };
}

}  // namespace

extern const kernel_table CROSSENT_JOIN(table_, CROSSENT_LEVEL);
const kernel_table CROSSENT_JOIN(table_, CROSSENT_LEVEL) = {
    CROSSENT_STRING(CROSSENT_LEVEL),
    kernels_of<float>(),
    kernels_of<double>(),
    softmax_factor,
    log_sum,
    log_sum_difference,
    logsumexp,
    cross_entropy,
    exp_quotient,
    information_sums,
    sum,
};

}  // namespace crossent
