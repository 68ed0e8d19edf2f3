// The table of one ISA level: this file, and all it includes, is compiled once per level, with that level's flags.
#include "kernels/loss/backward.hpp"
#include "kernels/loss/cross_entropy.hpp"
#include "kernels/loss/divergence.hpp"
#include "kernels/loss/elementwise.hpp"
#include "kernels/loss/entropy.hpp"
#include "kernels/loss/few_classes.hpp"
#include "kernels/loss/forward_kl_over_classes.hpp"
#include "kernels/loss/gap_moments.hpp"
#include "kernels/loss/hessian.hpp"
#include "kernels/loss/information.hpp"
#include "kernels/loss/joint_divergences.hpp"
#include "kernels/loss/prediction.hpp"
#include "kernels/loss/softmax.hpp"
#include "kernels/loss/sparse_divergence.hpp"
#include "kernels/loss/weighted_gaps.hpp"
#include "kernels/walk/partial_state.hpp"

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

template <class T, template <class> class kind> constexpr void set_divergence(dtype_kernels& k, divergence_kind of) {
  k.divergence_sums[static_cast<int>(of)] = divergence_sums<T, kind>;
  k.write_divergence[static_cast<int>(of)] = write_divergence<T, kind>;
}

template <class T> constexpr dtype_kernels kernels_of() {
  dtype_kernels k{};
  k.lanes = pack<T>::lanes;
  k.inverse_temperature_of = inverse_temperature_of<T>;
  k.statistics = statistics<T>;
  k.merge_blocks = merge_blocks<T>;
  k.partial_state_of_blocks = partial_state_of_blocks<T>;
  k.merge_partial_states = merge_partial_states<T>;
  k.statistics_of_merged_state = statistics_of_merged_state<T>;
  k.weighted_gap_to_max = weighted_gap_to_max<T>;
  k.sum_probabilities = sum_probabilities<T>;
  k.argmax = argmax<T>;
  k.split_exponents = split_exponents<T>;
  k.unbias_factors = unbias_factors<T>;
  k.few_class_cross_entropy = few_class_cross_entropy<T>;
  k.write_softmax_gradient = write_softmax_gradient<T>;
  k.write_cached_gradient = write_cached_gradient<T>;
  k.split_hessian = split_hessian<T>;
  k.write_hessian = write_hessian<T>;
  k.write_cached_hessian = write_cached_hessian<T>;
  k.write_magnitude = write_magnitude<T>;
  k.write_log_softmax = write_log_softmax<T>;
  set_divergence<T, reverse_kl_of_class>(k, divergence_kind::reverse);
  set_divergence<T, js_of_class>(k, divergence_kind::js);
  if constexpr (sizeof(T) == 8) set_divergence<T, forward_kl_of_class>(k, divergence_kind::forward);
  if constexpr (sizeof(T) == 4) k.forward_kl = forward_kl;
  if constexpr (sizeof(T) == 4) k.joint_divergence_sums = joint_divergence_sums;
  k.gap_sums_of_logits = gap_sums_of_logits<T>;
  k.entropy_of_logits = entropy_of_logits<T>;
  k.gap_sums_of_blocks = gap_sums_of_blocks<T>;
  k.merge_gap_sums = merge_gap_sums<T>;
  k.scale_entropy_gradient = scale_entropy_gradient<T>;
  k.write_entropy_gradient = write_entropy_gradient<T>;
  k.prediction_sums = prediction_sums<T>;
  k.count_equal = count_equal<T>;
  k.sum_of_squares = sum_of_squares<T>;
  k.top_classes = top_classes<T>;
  k.gap_moment_sums = gap_moment_sums<T>;
  k.gap_moments = gap_moments<T>;
  k.gap_sums_of_others = gap_sums_of_others<T>;
  k.sum_products = sum_products<T>;
  k.write_softmax_backward = write_softmax_backward<T>;
  k.write_log_softmax_backward = write_log_softmax_backward<T>;
  k.binary_cross_entropy = elementwise_loop<T, binary_cross_entropy_element<T>>;
  k.binary_cross_entropy_with_logits = binary_cross_entropy_with_logits<T>;
  k.logistic_hessian = elementwise_loop<T, logistic_hessian_element<T>>;
  k.kl_div = elementwise_loop<T, kl_div_element<T>>;
  k.kl_div_log = elementwise_loop<T, kl_div_log_element<T>>;
  k.in_range = in_range<T>;
  if constexpr (sizeof(T) == 8) k.transformed_logit = transformed_logit;
  if constexpr (sizeof(T) == 8) k.softcap_derivative = softcap_derivative;
  k.gather = [](const char* from, index stride, dtype type, index n, void* to) {
    gather(from, stride, type, n, static_cast<T*>(to), 1);
  };
  k.scatter = [](const void* from, index n, char* to, index stride, dtype type) {
    scatter(static_cast<const T*>(from), 1, n, to, stride, type);
  };
  k.sigmoid = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return sigmoid(v); }); };
  k.log_sigmoid = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return log_sigmoid(v); }); };
  k.exp = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return exp(v); }); };
  k.expm1 = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return expm1(v); }); };
  k.log = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return log(v); }); };
  k.log1p = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return log1p(v); }); };
  k.phi = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return phi(v); }); };
  k.phi_star = [](const void* x, void* out, index n) { map<T>(x, out, n, [](pack<T> v) { return phi_star(v); }); };
  k.exp_sum = exp_sum<T>;
  return k;
}

constexpr kernel_table table() {
  kernel_table t{};
  t.name = CROSSENT_STRING(CROSSENT_LEVEL);
  t.f32 = kernels_of<float>();
  t.f64 = kernels_of<double>();
  t.softmax_factor = softmax_factor;
  t.log_sum = log_sum;
  t.log_sum_difference = log_sum_difference;
  t.logsumexp = logsumexp;
  t.cross_entropy = cross_entropy;
  t.merge_gaps = merge_gaps;
  t.exp_of_gaps = exp_of_gaps;
  t.sparse_divergence = sparse_divergence;
  t.exp_quotient = exp_quotient;
  t.information_sums = information_sums;
  t.short_exp = [](const void* x, void* out, index n) {
    map<double>(x, out, n, [](doubles v) { return short_exp_scaled(v, set1(0.0), magic_of(set1(0.0))); });
  };
  t.short_log1p = [](const void* x, void* out, index n) { map<double>(x, out, n, [](doubles v) { return short_log1p(v); }); };
  t.sum = sum;
  return t;
}

}  // namespace

extern const kernel_table CROSSENT_JOIN(table_, CROSSENT_LEVEL);
const kernel_table CROSSENT_JOIN(table_, CROSSENT_LEVEL) = table();

}  // namespace crossent
