// Faults of kernels, taken as reports.
#pragma once

#include <csignal>

namespace emulator {

void on_signal(int signal, siginfo_t* info, void* context);
// To whoever handled the signal before the launch.
void pass_on(int signal, siginfo_t* info, void* context);

}  // namespace emulator
