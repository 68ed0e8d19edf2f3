// Batches of rows as kernels read and write them, and their statistics. The words are those of core/kernels.hpp.
#pragma once

#include "crossent/crossent.hpp"

namespace crossent {

constexpr index block_classes = block_size;
constexpr index batch_rows = 64;  // rows of a batch, at most
constexpr index pack_rows = 16;  // arrays of rows are read in steps of up to this many
constexpr index tile_classes = 128;  // classes of a tile that are held on the stack; a tile: as many rows as a pack has lanes
constexpr index batch_tiles = batch_rows / 8;  // tiles of a batch, at most
constexpr index tile_bytes = block_classes * 64;
constexpr int tiny_sums_exponent = 500;

// Bytes from row to row of cached exponentials, with lanes over classes: in whole groups of eight packs of 64 bytes.
constexpr index cached_row_bytes(index classes, index size) { return (classes * size + 511) / 512 * 512; }

// The dtype that arrays of a dtype are computed in.
constexpr dtype arithmetic(dtype type) { return type == dtype::float64 ? dtype::float64 : dtype::float32; }

// Classes of a row, in ascending order.
struct class_list {
  const index* classes = nullptr;
  index count = 0;
};

// The logits of rows from the numbers that are given: (softcap tanh(x / softcap) + bias) / temperature, for kernels of float64.
struct transform_of_rows {
  double softcap = 0;  // 0: none
  const double* bias = nullptr;  // of each class; nullptr: none
  const double* temperature = nullptr;  // of each row, padded as rows are; nullptr: 1
};

// Rows to read, of any dtype: they are converted as they are loaded. Lanes run over the classes of a row, or over rows: then
// `rows` is padded to a multiple of pack_rows with copies of its last pointer. With lanes over classes, a row that is nullptr
// is not read, and written as zeros.
struct source {
  const char* const* rows;
  index count;
  index classes;
  index class_stride;  // bytes
  dtype type;
  bool lanes_over_rows;
  bool round_to_float = false;  // for kernels of float64: every number is rounded to float32 first
  const index* tile_strides = nullptr;  // bytes from row to row of each tile; 0 or nullptr: irregular, or not full
  // Lanes over classes: what is read after these rows, and prefetched while their output is written; nullptr: nothing.
  const char* next = nullptr;
  index next_row_stride = 0, next_class_stride = 0;
  // Of each row, the classes that `statistics` and `gap_sums_of_others` leave out; nullptr: none.
  const class_list* without = nullptr;
  const transform_of_rows* transform = nullptr;  // of numbers that are not logits yet
};

struct sink {
  char* const* rows;
  index class_stride;  // bytes
  dtype type;
  bool stream;  // write around the caches
  const index* tile_strides = nullptr;
  const source* softcapped = nullptr;  // entries are multiplied by the derivative of the softcap at these numbers
};

// Logits are multiplied by 1/T = hi + lo, two numbers of the arithmetic type.
struct inverse_temperature {
  double hi = 1, lo = 0;
  bool is_one = true;
  double beyond = 0;  // T where 1/T is out of range, and hi the largest number: what is not exponential is divided by it
};

// The statistics of blocks, from one pass: one entry per (row, block), at [row * blocks + block].
struct block_statistics {
  double* max;  // of the block; -inf where all are
  double* reference;  // 0, or the maximum where that is far from 0
  double* exponent;  // of the largest term
  double* sum_all;  // of the terms; not written where a row is one block, unless it is a part
  double* sum_without_max;  // the same without the terms equal to the maximum in the first group of classes that holds it
  double *sum_all_lo, *sum_without_max_lo;  // of float64 rows
  double* max_count;  // how many those are; both only of a block whose maximum is above those of the blocks before it
  // One block: where e_c is to be left, a pack per class of each tile (lanes over rows), or cached_row_bytes a row.
  void* exponentials = nullptr;
  void* tile = nullptr;  // lanes over rows, more than tile_classes: room for tile_bytes, aligned to 64 bytes
  bool is_part = false;  // of rows that have other blocks elsewhere: sum_all is wanted of a single block, too
};

// The statistics of the rows of a batch.
struct alignas(64) row_statistics {
  double max[batch_rows], reference[batch_rows], exponent[batch_rows], inverse_max_term[batch_rows], tail[batch_rows];
  index max_block[batch_rows];  // the first block that holds the maximum
  // Of float64 rows.
  double tail_lo[batch_rows], inverse_max_term_lo[batch_rows];
  double tail_scaled[batch_rows];  // where the maximum stands alone
  bool is_extended;  // whether the last three are known
};

}  // namespace crossent
