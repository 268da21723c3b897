#include "runtime.h"
namespace emulator {
void Clock::join(const Clock& other) { if (!serial) serial = other.serial; for (int i = 0; i < CLOCKS; i++) own[i] = own[i] > other.own[i] ? own[i] : other.own[i]; }
void Clock::reset(uint32_t of) { *this = Clock(); serial = of; }
Shadow::Shadow(size_t bytes) : bytes_(bytes), words_(nullptr), singles_(nullptr) {}
Shadow::~Shadow() {}
void start_checks(Block&) {}
void shared_access(Block&, unsigned, unsigned, int, Block&, int, int, const char*, int, const char*) {}
void global_access(const void*, size_t, int, Block&, int, int, const char*, int, const char*) {}
void shared_pending(Block&, unsigned, unsigned, bool) {}
void shared_landed(Block&, unsigned, unsigned, int, int, uint32_t, bool) {}
void release(Clock&, Block&, int) {}
void acquire(const Clock&, Block&, int) {}
}
