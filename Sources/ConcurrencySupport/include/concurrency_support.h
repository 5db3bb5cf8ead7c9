// What Swift's concurrency library for Embedded Swift wants of its surroundings, and its entry points.
#ifndef CONCURRENCY_SUPPORT_H
#define CONCURRENCY_SUPPORT_H
#include <stdint.h>

// Runs a job that was enqueued until it waits or ends.
void exo_job_run(uint64_t job);

// A LibOS gives these: a job can run, at once or after so many nanoseconds.
void exo_guest_enqueue(uint64_t job);
void exo_guest_enqueue_after(uint64_t nanoseconds, uint64_t job);
#endif
