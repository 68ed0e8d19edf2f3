#include "rows/gradient_temperature.hpp"

#include "rows/element_array.hpp"

namespace crossent {

void multiply(const mutable_view& gradient, double scale, const execution& e) {
  if (gradient.data == nullptr || scale == 1) return;
  const row_layout positions(gradient.ndim, gradient.shape, gradient.strides, -1);
  const index n = positions.rows(), blocks = (n + block_elements - 1) / block_elements;
  parallel_for(blocks, block_elements, threads_for(n, e), e, [&](index begin, index end, int) {
    double x[block_elements];
    for (index first = begin * block_elements; first < std::min(n, end * block_elements); first += block_elements) {
      const index count = std::min(n - first, block_elements);
      positions.for_each_strided_run(first, count, [&](index offset, index length, index stride) {
        char* const at = static_cast<char*>(gradient.data) + offset;
        kernels().f64.gather(at, stride, dtype::float64, length, x);
        for (index i = 0; i < length; ++i) x[i] *= scale;
        kernels().f64.scatter(x, length, at, stride, dtype::float64);
      });
    }
  });
}

}  // namespace crossent
