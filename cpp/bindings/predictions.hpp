// The result of row_statistics.
#pragma once

#include <vector>

#include "call.hpp"

namespace crossent::python {

// New arrays of the rows' shape, or of k numbers for each row, and where the core writes them.
class prediction_arrays {
 public:
  predictions out{};

  prediction_arrays(const rows_of& rows, bool with_target, index k, dtype floating) : type_(numpy_dtype(floating)) {
    size_.assign(rows.size, rows.size + rows.ndim);
    size_of_many_ = size_;
    size_of_many_.push_back(k);
    out.type = floating;
    out.k = k;
    made_ = py::make_tuple(with_target ? py::object(add(out.log_prob)) : py::none(),
                           with_target ? py::object(add(out.rank)) : py::none(), add(out.argmax), add(out.max_log_prob),
                           add(out.entropy), add(out.logsumexp), add(out.sum_of_squares), add(out.top_classes, true),
                           add(out.top_log_probs, true));
  }
  py::object returned() const { return check_in_python("named_row_statistics", made_.ptr()); }

 private:
  py::array add(void*& at, bool is_many = false) const {
    py::array a(type_, is_many ? size_of_many_ : size_);
    at = a.mutable_data();
    return a;
  }
  py::array add(index*& at, bool is_many = false) const {
    py::array_t<index> a(is_many ? size_of_many_ : size_);
    at = a.mutable_data();
    return a;
  }

  std::vector<index> size_, size_of_many_;
  py::dtype type_;
  py::tuple made_;
};

}  // namespace crossent::python
