// An oracle in extended precision: the errors in ULP of one function's results for a batch of rows, ten thousands of rows a
// second. To add a function, write what it does with row i and add it to the table. The formulas and the measure are those of
// tests/oracle, which confirms whatever a search reports. Built and called by fast_oracle.py.
#include <cstring>

#include "oracle_classes.hpp"
#include "oracle_divergences.hpp"
#include "oracle_elements.hpp"
#include "oracle_measures.hpp"
#include "oracle_sparse.hpp"

namespace {

struct function {
  const char* name;
  void (*judge)(const call&, std::int64_t row, verdict&);
};
constexpr function functions[] = {
    {"cross_entropy_loss", cross_entropy_loss},
    {"cross_entropy_gradient", cross_entropy_gradient},
    {"cross_entropy_hessian", cross_entropy_hessian},
    {"softmax", softmax},
    {"log_softmax", log_softmax},
    {"logsumexp", logsumexp},
    {"logsumexp_backward", logsumexp_backward},
    {"softmax_backward", softmax_backward},
    {"log_softmax_backward", log_softmax_backward},
    {"sigmoid", sigmoid},
    {"log_sigmoid", log_sigmoid},
    {"binary_logits_loss", binary_logits_loss},
    {"binary_logits_gradient", binary_logits_gradient},
    {"binary_logits_hessian", binary_logits_hessian},
    {"binary_loss", binary_loss},
    {"binary_gradient", binary_gradient},
    {"kl_div_loss", kl_div_loss},
    {"kl_div_log_target_loss", kl_div_log_target_loss},
    {"divergence_loss", divergence_loss},
    {"divergence_gradient", divergence_gradient},
    {"distillation_loss", distillation_loss},
    {"distillation_gradient", distillation_gradient},
    {"log_prob", log_prob},
    {"max_log_prob", max_log_prob},
    {"row_entropy", row_entropy},
    {"sum_of_squares", sum_of_squares},
    {"information_entropy", information_entropy},
    {"information_cross_entropy", information_cross_entropy},
    {"information_kl", information_kl},
    {"information_js", information_js},
    {"sparse_loss", sparse_loss},
    {"sparse_gradient", sparse_gradient},
    {"nll_loss", nll_loss},
    {"nll_gradient", nll_gradient},
};

}  // namespace

// 0, or 1 where there is no function of that name.
extern "C" int judge(const char* name, const call* a) {
  for (const function& f : functions) {
    if (std::strcmp(f.name, name) != 0) continue;
    for (std::int64_t i = 0; i < a->rows; ++i) {
      verdict of_row(*a, i);
      f.judge(*a, i, of_row);
    }
    return 0;
  }
  return 1;
}
