// How a block computes a tile of a product on tensor cores by mma.sync, since Turing; gemm_mma.cu and conv_mma.cu differ
// in where the slices of their operands come from.
//
// A block of WARPS_M x WARPS_N warps owns a tile of out. Slices of TILE_K columns of A and rows of B pass through a ring
// of STAGES buffers in shared memory, filled by cp.async while earlier slices are multiplied. Warps read them as
// fragments with ldmatrix, one step of k ahead of the multiplication.
//
// Defines: TYPE (f16, bf16, float) and MMA (f16, bf16, tf32); TILE_M, TILE_N, TILE_K, WARPS_M, WARPS_N, STAGES, BLOCKS
// (per multiprocessor); A_BYTES, B_BYTES: the widest access, 16, 8, 4 or 2 bytes, that pointer, strides and length of the
// rows allow; and those of epilogue.cuh.
#pragma once
#include "epilogue.cuh"

constexpr int WARPS = WARPS_M * WARPS_N, THREADS = 32 * WARPS;
constexpr int WARP_M = TILE_M / WARPS_M, WARP_N = TILE_N / WARPS_N;
constexpr int BLOCKS_M = WARP_M / 16, BLOCKS_N = WARP_N / 8;  // mma.sync multiplies 16 x 8 blocks
constexpr int PER_CHUNK = 16 / sizeof(TYPE);                  // elements in the 16 bytes that threads copy
constexpr int STEP = 2 * PER_CHUNK;                           // k of one mma.sync
constexpr int STEPS = TILE_K / STEP;
static_assert(WARP_M % 16 == 0 && WARP_N % 16 == 0, "a warp owns whole blocks");
static_assert(STEPS % 2 == 0 && STAGES >= 2, "one step is read while another is multiplied");

// cp.async of BYTES. Turing has none: there every slice passes through registers, and nothing is waited for.
#if WEFT_ARCH >= 800
template <int BYTES>
DEVICE_INLINE void copy_async(unsigned to, const TYPE* from, bool valid) {
  if constexpr (BYTES == 16) cp_async_16(to, from, valid);
  if constexpr (BYTES == 8) cp_async_8(to, from, valid);
  if constexpr (BYTES == 4) cp_async_4(to, from, valid);
}
DEVICE_INLINE void close_group() { cp_async_commit(); }
template <int PENDING>
DEVICE_INLINE void wait_for_groups() {
  cp_async_wait<PENDING>();
}
#else
template <int BYTES>
DEVICE_INLINE void copy_async(unsigned, const TYPE*, bool) {}
DEVICE_INLINE void close_group() {}
template <int PENDING>
DEVICE_INLINE void wait_for_groups() {}
#endif

// The slices of one operand: rows of 16-byte chunks in shared memory as in global memory, so K_MAJOR slices have a row
// per row of out (or column, for B), the others a row per k. Chunks are permuted within a row so that the eight rows
// that ldmatrix reads at once lie in different banks; where it cannot be used, rows are 32 bytes longer to that end.
// A thread copies one chunk of several rows, in accesses of BYTES.
template <bool K_MAJOR, int TILE, int BYTES>
struct Ring {
  static constexpr int ROWS = K_MAJOR ? TILE : TILE_K;
  static constexpr int CHUNKS = (K_MAJOR ? TILE_K : TILE) / PER_CHUNK;
  static constexpr int ROWS_AT_ONCE = THREADS / CHUNKS;
  static constexpr int PASSES = ROWS / ROWS_AT_ONCE;
  static constexpr bool ASYNC = WEFT_ARCH >= 800 && BYTES >= 4;
  static constexpr bool LDMATRIX = K_MAJOR || sizeof(TYPE) == 2;  // it transposes elements of 16 bits only
  static constexpr int ROW_BYTES = CHUNKS * 16 + (LDMATRIX ? 0 : 32);
  static constexpr int SIZE = ROWS * ROW_BYTES;  // bytes of one slice
  static constexpr int PIECES = 16 / BYTES, PIECE = BYTES / sizeof(TYPE);
  static_assert(ROWS % ROWS_AT_ONCE == 0 && THREADS % CHUNKS == 0, "threads copy whole rows");

  int row, chunk;                        // of this thread, in the first pass
  unsigned held[ASYNC ? 1 : PASSES][4];  // a slice on its way, where it goes through registers

  DEVICE_INLINE Ring() : row(threadIdx.x / CHUNKS), chunk(threadIdx.x % CHUNKS) {}

  static DEVICE_INLINE int place(int row, int chunk) {
    const int turn = !LDMATRIX ? 0 : CHUNKS >= 8 ? row & 7 : CHUNKS == 4 ? row >> 1 & 3 : row >> 2 & 1;
    return row * ROW_BYTES + ((chunk ^ turn) << 4);
  }

  // Starts to copy this thread's part of row `row + pass * ROWS_AT_ONCE`: piece by piece from from(piece), or zeros where
  // inside(piece) is false.
  template <class From, class Inside>
  DEVICE_INLINE void take(int pass, unsigned slice, From from, Inside inside) {
    if constexpr (ASYNC) {
      const unsigned to = slice + place(row + pass * ROWS_AT_ONCE, chunk);
#pragma unroll
      for (int piece = 0; piece < PIECES; piece++) copy_async<BYTES>(to + piece * BYTES, from(piece), inside(piece));
    } else {
      unsigned (&words)[4] = held[pass];
#pragma unroll
      for (int word = 0; word < 4; word++) words[word] = 0;
#pragma unroll
      for (int piece = 0; piece < PIECES; piece++) {
        if (!inside(piece)) continue;
        const TYPE* p = from(piece);
        if constexpr (BYTES == 2) {
          words[piece / 2] |= unsigned(*reinterpret_cast<const unsigned short*>(p)) << piece % 2 * 16;
        } else {
          const Pack<unsigned, BYTES / 4 ? BYTES / 4 : 1> x =
              *reinterpret_cast<const Pack<unsigned, BYTES / 4 ? BYTES / 4 : 1>*>(p);
#pragma unroll
          for (int word = 0; word < BYTES / 4; word++) words[piece * BYTES / 4 + word] = x.at[word];
        }
      }
    }
  }

  // Puts a slice that came through registers into its buffer.
  DEVICE_INLINE void store(unsigned char* slice) const {
    if constexpr (!ASYNC) {
#pragma unroll
      for (int pass = 0; pass < PASSES; pass++) {
        Pack<unsigned, 4> x;
#pragma unroll
        for (int word = 0; word < 4; word++) x.at[word] = held[pass][word];
        *reinterpret_cast<Pack<unsigned, 4>*>(slice + place(row + pass * ROWS_AT_ONCE, chunk)) = x;
      }
    }
  }

  // The 16 x STEP block of A at row `first` of the tile and k = step * STEP, as mma.sync takes it.
  static DEVICE_INLINE void read_a(unsigned (&r)[4], const unsigned char* slice, int first, int step, int lane) {
    if constexpr (K_MAJOR) {
      ldmatrix_x4(r, smem_u32(slice) + place(first + lane % 16, step * 2 + lane / 16));
    } else if constexpr (LDMATRIX) {
      const int k = step * STEP + lane / 16 * 8 + lane % 8;
      ldmatrix_x4_trans(r, smem_u32(slice) + place(k, first / 8 + lane / 8 % 2));
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) r[i] = word(slice, step * STEP + lane % 4 + i / 2 * 4, first + lane / 4 + i % 2 * 8);
    }
    round(r);
  }

  // Two neighbouring STEP x 8 blocks of B, from column `first` of the tile on: registers 0, 1 and 2, 3.
  static DEVICE_INLINE void read_b(unsigned (&r)[4], const unsigned char* slice, int first, int step, int lane) {
    if constexpr (K_MAJOR) {
      ldmatrix_x4(r, smem_u32(slice) + place(first + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
    } else if constexpr (LDMATRIX) {
      ldmatrix_x4_trans(r, smem_u32(slice) + place(step * STEP + lane % 16, first / 8 + lane / 16));
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) r[i] = word(slice, step * STEP + lane % 4 + i % 2 * 4, first + lane / 4 + i / 2 * 8);
    }
    round(r);
  }

  static DEVICE_INLINE unsigned word(const unsigned char* slice, int k, int column) {
    return *reinterpret_cast<const unsigned*>(slice + place(k, column / 4) + column % 4 * 4);
  }

  // mma.sync drops the low bits of a float; to round them first halves the error and keeps it unbiased.
  static DEVICE_INLINE void round(unsigned (&r)[4]) {
    if constexpr (sizeof(TYPE) == 4) {
#pragma unroll
      for (int i = 0; i < 4; i++) r[i] = to_tf32(bits_float(r[i]));
    }
  }
};

// The slices of a matrix whose rows allow accesses of BYTES.
template <bool K_MAJOR, int TILE, int BYTES>
struct Slices : Ring<K_MAJOR, TILE, BYTES> {
  using Ring = ::Ring<K_MAJOR, TILE, BYTES>;
  using Ring::row, Ring::chunk, Ring::ROWS_AT_ONCE;

  const TYPE* source;  // the first chunk of this thread in the next slice
  long long stride;
  int rows, columns;  // of the matrix, from the slice's first row and this thread's chunk on

  DEVICE_INLINE Slices(const TYPE* data, long long stride, int first, int length, int k_first, int k_end)
      : stride(stride) {
    const int first_row = K_MAJOR ? first : k_first, first_column = K_MAJOR ? k_first : first;
    rows = (K_MAJOR ? length : k_end) - first_row;
    columns = (K_MAJOR ? k_end : length) - first_column - chunk * PER_CHUNK;
    source = data + (first_row + row) * stride + first_column + chunk * PER_CHUNK;
  }

  // Starts to copy the next slice, zeros where the matrix ends, and steps to the one after it.
  DEVICE_INLINE void fetch(unsigned slice) {
#pragma unroll
    for (int pass = 0; pass < Ring::PASSES; pass++) {
      const TYPE* from = source + pass * ROWS_AT_ONCE * stride;
      Ring::take(
          pass, slice, [&](int piece) { return from + piece * Ring::PIECE; },
          [&](int piece) { return row + pass * ROWS_AT_ONCE < rows && piece * Ring::PIECE < columns; });
    }
    source += K_MAJOR ? TILE_K : TILE_K * stride;
    (K_MAJOR ? columns : rows) -= TILE_K;
  }
};

// T is the tag of the instruction: f16, bf16 or tf32.
template <class T>
DEVICE_INLINE void multiply(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  if constexpr (is_same<T, tf32>) {
    mma_m16n8k8<T>(sums, a, b);
  } else if constexpr (WEFT_ARCH >= 800) {
    mma_m16n8k16<T>(sums, a, b);
  } else {  // Turing multiplies half as much of k at a time
    const unsigned low[2] = {a[0], a[1]}, high[2] = {a[2], a[3]};
    mma_m16n8k8<T>(sums, low, b[0]);
    mma_m16n8k8<T>(sums, high, b[1]);
  }
}

// The fragments of one step of k that a warp multiplies.
template <class SlicesA, class SlicesB>
struct Fragments {
  unsigned a[BLOCKS_M][4], b[BLOCKS_N / 2][4];

  DEVICE_INLINE void read(const unsigned char* stage, int step, int warp_m, int warp_n, int lane) {
#pragma unroll
    for (int i = 0; i < BLOCKS_M; i++) SlicesA::read_a(a[i], stage, warp_m + i * 16, step, lane);
#pragma unroll
    for (int j = 0; j < BLOCKS_N / 2; j++) SlicesB::read_b(b[j], stage + SlicesA::SIZE, warp_n + j * 16, step, lane);
  }
};

// Applies the epilogue to 16 rows of a warp's sums, V columns of a row at a time.
constexpr int PITCH = WARP_N + 8;  // 8 more floats: the writes of a quarter of a warp fall into 32 different banks
template <int V, class Write>
DEVICE_INLINE void write_rows(const Write& epilogue, const float* rows, int first_row, int first_column, int lane) {
  constexpr int PER_ROW = WARP_N / V, WIDE = V < 4 ? V : 4;
  constexpr int UNROLL = Epilogue::ACT == Activation::none || Epilogue::ACT == Activation::relu ? 4 : 1;
#pragma unroll UNROLL
  for (int c = lane; c < 16 * PER_ROW; c += 32) {
    const int row = c / PER_ROW, column = c % PER_ROW * V;
    float x[V];
#pragma unroll
    for (int v = 0; v < V; v += WIDE) {
      const auto some = *reinterpret_cast<const Pack<float, WIDE>*>(rows + row * PITCH + column + v);
#pragma unroll
      for (int w = 0; w < WIDE; w++) x[v + w] = some.at[w];
    }
    epilogue.template apply<V>(x, first_row + row, first_column + column);
  }
}

// Passes the sums of a warp through shared memory, 16 rows at a time, because a fragment holds two columns of eight
// rows, while out is written in 16 bytes of a row, or by single elements that neighbouring lanes have.
template <class Write>
DEVICE_INLINE void write_out(const Write& epilogue, float (&sums)[BLOCKS_M][BLOCKS_N][4], float* rows, int first_row,
                             int first_column, int lane) {
#pragma unroll
  for (int i = 0; i < BLOCKS_M; i++) {
    __syncwarp();
#pragma unroll
    for (int j = 0; j < BLOCKS_N; j++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const Pack<float, 2> pair = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
        *reinterpret_cast<Pack<float, 2>*>(rows + (lane / 4 + 8 * half) * PITCH + j * 8 + lane % 4 * 2) = pair;
      }
    __syncwarp();
    if (epilogue.aligned) {
      write_rows<sizeof(OUT) == 2 ? 8 : 4>(epilogue, rows, first_row + i * 16, first_column, lane);
    } else {
      write_rows<1>(epilogue, rows, first_row + i * 16, first_column, lane);
    }
  }
}

// Adds the product of all slices, `depth` of k deep, to the sums of a warp whose part of the tile starts at row warp_m,
// column warp_n. Nothing is on its way any more when it returns, and the ring is free.
template <class A, class B>
DEVICE_INLINE void accumulate(float (&sums)[BLOCKS_M][BLOCKS_N][4], A& slices_a, B& slices_b, unsigned char* shared,
                              int warp_m, int warp_n, int depth) {
  constexpr int STAGE = A::SIZE + B::SIZE;
  const int lane = threadIdx.x % 32;
  auto fetch = [&](int stage) {
    const unsigned to = smem_u32(shared) + stage * STAGE;
    slices_a.fetch(to);
    slices_b.fetch(to + A::SIZE);
    close_group();
  };
  auto store = [&](int stage) {
    slices_a.store(shared + stage * STAGE);
    slices_b.store(shared + stage * STAGE + A::SIZE);
  };

#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    fetch(stage);
    store(stage);
  }
  wait_for_groups<STAGES - 2>();
  __syncthreads();

  Fragments<A, B> fragments[2];
  int reading = 0, writing = STAGES - 1;  // the buffers whose slice is multiplied, and that the next slice fills
  fragments[0].read(shared, 0, warp_m, warp_n, lane);
  for (int k = 0; k < depth; k += TILE_K) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
      if (step == STEPS - 1) {
        store(writing);
        wait_for_groups<STAGES - 2>();
        __syncthreads();  // the next slice has come; nobody reads the one before it any more
        reading = reading + 1 == STAGES ? 0 : reading + 1;
        writing = writing + 1 == STAGES ? 0 : writing + 1;
      }
      fragments[(step + 1) % 2].read(shared + reading * STAGE, (step + 1) % STEPS, warp_m, warp_n, lane);
      if (step == 0) fetch(writing);
      const Fragments<A, B>& now = fragments[step % 2];
#pragma unroll
      for (int i = 0; i < BLOCKS_M; i++)
#pragma unroll
        for (int j = 0; j < BLOCKS_N; j++) {
          const unsigned pair[2] = {now.b[j / 2][j % 2 * 2], now.b[j / 2][j % 2 * 2 + 1]};
          multiply<MMA>(sums[i][j], now.a[i], pair);
        }
    }
  }
  wait_for_groups<0>();
  __syncthreads();
}
