// Which instruction set the kernels run on, chosen once: the widest that this processor has, or WEFT_ISA.
#pragma once
#include <vector>

namespace weft {

// v4: AVX-512 (16 floats); v3: AVX2 and FMA (8 floats); v1: SSE2, or the generic vectors of another machine (4 floats).
enum class Isa { v1 = 1, v3 = 3, v4 = 4 };

Isa isa();
const char* isa_name(Isa which);
std::vector<Isa> supported_isas();  // widest first

}  // namespace weft
