// Rows of a larger batch: their sums, put together by whoever has them.
#include <vector>

#include "core/fp_environment.hpp"
#include "core/merge_tree.hpp"
#include "core/number.hpp"
#include "core/parallel.hpp"
#include "rows/reduction.hpp"

namespace crossent {
namespace {

using number = double_double<double>;

number sum_at(const double* sums, index i) { return {sums[2 * i], sums[2 * i + 1]}; }

void store_sum(number sum, double* sums, index i) {
  sums[2 * i] = sum.hi;
  sums[2 * i + 1] = sum.lo;
}

}  // namespace

void sum_blocks(const double* x, index n, double* sums, const execution& e) {
  const default_environment environment;
  std::vector<number> blocks(static_cast<std::size_t>(block_count(n)));
  sum_blocks(x, n, blocks.data(), e);
  for (index b = 0; b < block_count(n); ++b) store_sum(blocks[static_cast<std::size_t>(b)], sums, b);
}

void merge_sums(const double* sums, index n, index columns, double* merged) {
  const default_environment environment;
  for (index c = 0; c < columns; ++c)
    store_sum(merge_tree(
                  n, [=](index i) { return sum_at(sums, i * columns + c); }, [](number a, number b) { return a + b; }),
              merged, c);
}

void loss_of_sums(const loss_terms& terms, const double* sums, const double* denominators, dtype type, void* loss) {
  const default_environment environment;
  const number of_terms[] = {sum_at(sums, 0), terms.count > 1 ? sum_at(sums, 1) : number{}};
  store_number(loss, type, reduced(terms, of_terms, reduction_kind::mean, denominators));
}

}  // namespace crossent
