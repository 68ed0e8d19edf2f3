// The accuracy table of vmath: function, type, largest error in ULP relative to the value, and where. The functions are
// called through the kernels' own table, at the level of CROSSENT_ISA. CROSSENT_FULL_SWEEP=1 takes every float there is
// instead of every 257th.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/half.hpp"
#include "core/kernels.hpp"

namespace crossent {

namespace {

// What is exact beside T: a double errs by 2^-28 ULP of a float, and its functions are several times as fast.
template <class T> using exactly = std::conditional_t<sizeof(T) == 4, double, long double>;

// The spacing of T at the exact value.
template <class T, class R> R ulp(R exact) {
  using limits = std::numeric_limits<T>;
  if (exact == 0) return limits::denorm_min();
  const int exponent = std::max(std::ilogb(exact), limits::min_exponent - 1);
  return std::ldexp(R(1), exponent - (limits::digits - 1));
}

template <class T> struct worst {
  double ulps = 0;
  T at = 0;
  int wrong = 0;   // NaN or infinity where there should be none, or the other way round

  template <class R> void see(T x, T got, R exact) {
    const T rounded = static_cast<T>(exact);
    if (std::isnan(exact) || std::isinf(rounded)) {
      const bool right = std::isnan(exact) ? std::isnan(got) : got == rounded;
      // Half a unit below infinity, both neighbours are right.
      if (!right && !(std::isfinite(exact) && std::fabs(got) == std::numeric_limits<T>::max())) ++wrong;
      return;
    }
    const double e = static_cast<double>(std::fabs(static_cast<R>(got) - exact) / ulp<T>(exact));
    if (e <= ulps) return;
    if (!(e < 1e6)) ++wrong;
    ulps = e;
    at = x;
  }
};

// phi and phi_star without cancellation: a series up to 1; the closed form loses two bits at most beyond it.
template <class R> R phi(R d) {
  if (std::fabs(d) < 1) {   // sum (k - 1) d^k / k!
    R power = d, sum = 0;
    for (int k = 2; k < 40 && std::fabs(power) > std::fabs(sum) * R(0x1p-66); ++k) sum += (power *= d / k) * (k - 1);
    return sum;
  }
  return std::isinf(d) && d < 0 ? 1 : std::exp(d) * (d - 1) + 1;
}
template <class R> R phi_star(R d) {
  if (std::fabs(d) < 1) {   // sum (-d)^k / k!
    R power = -d, sum = 0;
    for (int k = 2; k < 40 && std::fabs(power) > std::fabs(sum) * R(0x1p-66); ++k) sum += power *= -d / k;
    return sum;
  }
  return std::isinf(d) ? std::fabs(d) : std::exp(-d) + (d - 1);
}

struct function {
  const char* name;
  void (*dtype_kernels::*kernel)(const void*, void*, index);
  double (*of_double)(double);
  long double (*of_long_double)(long double);

  double exact(float x) const { return of_double(x); }
  long double exact(double x) const { return of_long_double(x); }
};
const function functions[] = {
    {"exp", &dtype_kernels::exp, std::exp, std::exp}, {"expm1", &dtype_kernels::expm1, std::expm1, std::expm1},
    {"log", &dtype_kernels::log, std::log, std::log}, {"log1p", &dtype_kernels::log1p, std::log1p, std::log1p},
    {"phi", &dtype_kernels::phi, phi, phi},           {"phi_star", &dtype_kernels::phi_star, phi_star, phi_star},
};

// The levels with FMA are held to 1 ULP, the baseline to 2.
double bar() { return std::strcmp(kernels().name, "baseline") == 0 ? 2.0 : 1.0; }

template <class T> void report(const char* name, const worst<T>& w, double limit) {
  std::printf("  %-8s %-6s %-8s %.4f ULP at %a\n", kernels().name, sizeof(T) == 4 ? "float" : "double", name, w.ulps,
              static_cast<double>(w.at));
  CHECK_MESSAGE(w.ulps <= limit, std::string(name));
  CHECK_MESSAGE(w.wrong == 0, std::string(name));
}

template <class T> worst<T> run(const function& f, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  const dtype_kernels& k = sizeof(T) == 4 ? kernels().f32 : kernels().f64;
  (k.*f.kernel)(x.data(), y.data(), static_cast<index>(x.size()));
  worst<T> w;
  for (std::size_t i = 0; i < x.size(); ++i) w.see(x[i], y[i], f.exact(x[i]));
  return w;
}

std::uint64_t next_random(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 11;
}

// Every 1021st float.
std::vector<float> float_samples() {
  std::vector<float> x;
  for (std::uint64_t b = 0; b < (1ull << 32); b += 1021) {
    const std::uint32_t bits = static_cast<std::uint32_t>(b);
    float v;
    std::memcpy(&v, &bits, sizeof v);
    x.push_back(v);
  }
  return x;
}

// Doubles over all exponents, over the range of exp, and around 0 and 1.
std::vector<double> double_samples() {
  std::vector<double> x;
  std::uint64_t state = 1;
  for (int i = 0; i < 100000; ++i) {
    const double u = static_cast<double>(next_random(state)) * 0x1p-53, sign = next_random(state) & 1 ? 1.0 : -1.0;
    x.push_back(sign * std::ldexp(1 + u, static_cast<int>(next_random(state) % 2098) - 1074));
    x.push_back(sign * u * 745);
    x.push_back(sign * u);
    x.push_back(1 + sign * u * 0x1p-6);
    x.push_back(sign * u * std::ldexp(1.0, -static_cast<int>(next_random(state) % 60)));
  }
  return x;
}

}  // namespace

// Their errors relative to the value: 2^-37 is a 2^13th of an ULP of what they are for.
TEST_CASE("the short functions of float32 rows are within 2^-37, and exact where that shows") {
  std::vector<double> x, exponentials, logarithms;
  for (const double v : double_samples())
    if (std::fabs(v) >= 0x1p-1000) x.push_back(std::fabs(v));   // a tail of floats is never so small
  for (const double v : {0.0, 1.0, 0x1.6a09e667f3bccp-2, 0x1.6a09e667f3bcdp-2, 0x1p-1000, 0x1p1023}) x.push_back(v);
  std::vector<double> negative(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) negative[i] = -std::fmod(x[i], 708);
  exponentials.resize(x.size());
  logarithms.resize(x.size());
  kernels().short_exp(negative.data(), exponentials.data(), static_cast<index>(x.size()));
  kernels().short_log1p(x.data(), logarithms.data(), static_cast<index>(x.size()));
  double of_exp = 0, of_log1p = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double e = std::exp(negative[i]), l = std::log1p(x[i]);
    of_exp = std::max(of_exp, std::fabs(exponentials[i] - e) / e);
    if (l != 0) of_log1p = std::max(of_log1p, std::fabs(logarithms[i] - l) / l);
  }
  std::printf("  %-8s short exp 2^%.2f, short log1p 2^%.2f\n", kernels().name, std::log2(of_exp), std::log2(of_log1p));
  CHECK(of_exp <= 0x1p-40);
  CHECK(of_log1p <= 0x1p-37);

  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const double ends[] = {0, infinity, nan};
  double out[3];
  kernels().short_log1p(ends, out, 3);
  CHECK(out[0] == 0);
  CHECK(out[1] == infinity);
  CHECK(std::isnan(out[2]));
  kernels().short_exp(ends, out, 3);
  CHECK(out[0] == 1);   // so that 1 - exp(0) is 0
  CHECK(std::isnan(out[2]));
}

TEST_CASE("vmath is within 1 ULP: float") {
  const bool full = std::getenv("CROSSENT_FULL_SWEEP") != nullptr;
  const std::uint64_t step = full ? 1 : 257, slab = 1u << 22;
  for (const function& f : functions) {
    worst<float> total;
    for (std::uint64_t begin = 0; begin < (1ull << 32); begin += slab * step) {
      std::vector<float> x;
      for (std::uint64_t b = begin; b < begin + slab * step && b < (1ull << 32); b += step) {
        const std::uint32_t bits = static_cast<std::uint32_t>(b);
        float v;
        std::memcpy(&v, &bits, sizeof v);
        x.push_back(v);
      }
      const worst<float> w = run(f, x);
      total.wrong += w.wrong;
      if (w.ulps > total.ulps) {
        total.ulps = w.ulps;
        total.at = w.at;
      }
    }
    report(f.name, total, bar());
  }
}

TEST_CASE("vmath is within 1 ULP: floats at which a full sweep found more") {
  const std::vector<float> x = {-0x1.16e2bcp-2f, -0x1.0b6bdcp-2f, 0x1.67a348p-2f, 0x1.69424ap+0f, 0x1.a50928p-2f};
  for (const function& f : functions) report(f.name, run(f, x), bar());
}

TEST_CASE("vmath is within 1 ULP: every float16 and bfloat16") {
  std::vector<float> x;
  for (std::uint32_t h = 0; h < 65536; ++h) {
    x.push_back(from_float16(static_cast<std::uint16_t>(h)));
    x.push_back(from_bfloat16(static_cast<std::uint16_t>(h)));
  }
  for (const function& f : functions) report(f.name, run(f, x), bar());
}

TEST_CASE("vmath is within 1 ULP: double") {
  const std::vector<double> x = double_samples();
  for (const function& f : functions) report(f.name, run(f, x), bar());
}

TEST_CASE_TEMPLATE("the exponential of the kernels is within 0.75 ULP", T, float, double) {
  // Where results are normal nothing is put back after exp_scaled.
  std::vector<T> x;
  std::uint64_t state = 7;
  const double range = sizeof(T) == 4 ? 87 : 708;
  for (int i = 0; i < 2000000; ++i) {
    const double u = static_cast<double>(next_random(state)) * 0x1p-52 - 1;
    x.push_back(static_cast<T>(i % 2 ? u * range : u));
  }
  const double limit = bar() == 1.0 ? 0.75 : 2.0;
  report("exp*", run(functions[0], x), limit);

  std::vector<T> error(x.size()), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    error[i] = static_cast<T>((static_cast<double>(next_random(state)) * 0x1p-53 - 0.5) *
                              static_cast<double>(ulp<T>(static_cast<exactly<T>>(x[i]))));
  const dtype_kernels& k = sizeof(T) == 4 ? kernels().f32 : kernels().f64;
  k.exp_sum(x.data(), error.data(), y.data(), static_cast<index>(x.size()));
  worst<T> w;
  for (std::size_t i = 0; i < x.size(); ++i)
    w.see(x[i], y[i], std::exp(static_cast<exactly<T>>(x[i])) * (1 + static_cast<exactly<T>>(error[i])));
  report("exp hi+lo", w, limit);
}

// Also in terms of binary_cross_entropy_with_logits of the target 0: its value and its gradient.
TEST_CASE_TEMPLATE("softplus and the sigmoid", T, float, double) {
  std::vector<T> x;
  if constexpr (sizeof(T) == 4) x = float_samples();
  else x = double_samples();
  const index n = static_cast<index>(x.size());
  std::vector<T> target(1024, T(0)), loss(x.size()), grad(x.size());
  for (index i = 0; i < n; i += 1024) {
    element_block b;
    b.input[0] = x.data() + i;
    b.input[1] = target.data();
    b.n = std::min<index>(1024, n - i);
    b.loss = loss.data() + i;
    b.grad = grad.data() + i;
    (sizeof(T) == 4 ? kernels().f32 : kernels().f64).binary_cross_entropy_with_logits(b);
  }
  std::vector<T> p(x.size()), log_p(x.size());
  const dtype_kernels& k = sizeof(T) == 4 ? kernels().f32 : kernels().f64;
  k.sigmoid(x.data(), p.data(), n);
  k.log_sigmoid(x.data(), log_p.data(), n);
  worst<T> softplus, sigmoid, of_event, log_of_event;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const exactly<T> v = x[i], e = std::exp(-std::fabs(v));
    softplus.see(x[i], loss[i], v < 0 ? std::log1p(e) : v + std::log1p(e));
    sigmoid.see(x[i], grad[i], (v < 0 ? e : 1) / (1 + e));
    of_event.see(x[i], p[i], (v < 0 ? e : 1) / (1 + e));
    log_of_event.see(x[i], log_p[i], v < 0 ? v - std::log1p(e) : -std::log1p(e));
  }
  // softplus: 1.6 by its parts (logistic.hpp). The sigmoid of -|x|, e / (1 + e): where e is just above a power of two and the
  // result just below, e brings twice its own 0.6 (float64: 0.7), 1 + e one, the quotient a half.
  const bool fused = bar() == 1.0;
  const double of_softplus = fused ? 1.7 : 2.5, of_sigmoid = sizeof(T) == 4 ? 2.7 : 2.9;
  report("softplus", softplus, of_softplus);
  report("sigmoid", sigmoid, of_sigmoid);
  report("sigmoid(x)", of_event, of_sigmoid);
  report("log_sigmoid", log_of_event, of_softplus);
}

TEST_CASE_TEMPLATE("vmath at the ends of its domain", T, float, double) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T tiny = std::numeric_limits<T>::denorm_min(), largest = std::numeric_limits<T>::max();
  const struct {
    const char* name;
    std::vector<T> x, y;
  } cases[] = {
      {"exp", {T(0), -T(0), inf, -inf, nan, tiny, T(1e9), T(-1e9)}, {1, 1, inf, 0, nan, 1, inf, 0}},
      {"expm1", {T(0), -T(0), inf, -inf, nan, tiny, T(-1e9)}, {0, -T(0), inf, -1, nan, tiny, -1}},
      {"log", {T(1), T(0), -T(0), inf, T(-1), -inf, nan}, {0, -inf, -inf, inf, nan, nan, nan}},
      {"phi", {T(0), -T(0), inf, -inf, nan, tiny, -tiny, T(1), T(1e9), T(-1e9)}, {0, 0, inf, 1, nan, 0, 0, 1, inf, 1}},
      {"phi_star",
       {T(0), -T(0), inf, -inf, nan, tiny, -tiny, T(1e18), T(-1e18), largest, -largest},
       {0, 0, inf, inf, nan, 0, 0, T(1e18), inf, largest, inf}},
      {"log1p", {T(0), -T(0), T(-1), inf, T(-2), -inf, nan, tiny}, {0, -T(0), -inf, inf, nan, nan, nan, tiny}},
  };
  for (const auto& c : cases) {
    std::vector<T> y(c.x.size());
    REQUIRE(
        vmath(c.name, sizeof(T) == 4 ? dtype::float32 : dtype::float64, c.x.data(), y.data(), static_cast<index>(y.size())));
    for (std::size_t i = 0; i < y.size(); ++i) {
      INFO(c.name << "(" << c.x[i] << ") = " << y[i]);
      CHECK(((std::isnan(y[i]) && std::isnan(c.y[i])) || (y[i] == c.y[i] && std::signbit(y[i]) == std::signbit(c.y[i]))));
    }
  }
}

TEST_CASE_TEMPLATE("what a class adds to a divergence is never negative", T, float, double) {
  std::vector<T> x;
  if constexpr (sizeof(T) == 4) x = float_samples();
  else x = double_samples();
  // Every size from the smallest subnormal on: squares leave the range.
  for (int e = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits; e < 1; ++e)
    for (int i = 0; i < 32; ++i)
      for (const double sign : {1.0, -1.0}) x.push_back(static_cast<T>(sign * std::ldexp(1 + i / 32.0, e)));
  std::vector<T> y(x.size());
  for (const char* name : {"phi", "phi_star"}) {
    REQUIRE(vmath(name, sizeof(T) == 4 ? dtype::float32 : dtype::float64, x.data(), y.data(), static_cast<index>(x.size())));
    index wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      wrong += std::isnan(x[i]) ? !std::isnan(y[i]) : !(y[i] >= 0) || std::signbit(y[i]);
    CHECK_MESSAGE(wrong == 0, std::string(name));
  }
}

}  // namespace crossent
