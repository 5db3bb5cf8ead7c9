#include "floor.h"

#include <string.h>

// A direct gate: the processor enters the handler at ring 3 and no ring-0 instruction runs.
static double direct(struct bench_floor *floor, int vector, const uint8_t *handler, const uint8_t *loop,
                     uint32_t iterations) {
  vm_gate_user(&floor->vm, vector, handler);
  double result = floor_each(floor_loop(floor, loop, iterations, NULL, 0), iterations);
  vm_gate_default(&floor->vm, vector);
  return result;
}

double row_exception_de(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 0, floor_resume_skip2, floor_exception_de, iterations);
}
double row_exception_bp(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 3, floor_resume, floor_exception_bp, iterations);
}
double row_exception_ud(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 6, floor_resume_skip2, floor_exception_ud, iterations);
}
double row_exception_gp(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 13, floor_resume_code_skip2, floor_exception_gp, iterations);
}
double row_exception_pf(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 14, floor_resume_code_skip3, floor_exception_pf, iterations);
}
double row_exception_unaligned(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 17, floor_resume_code_skip3, floor_exception_unaligned, iterations);
}
double row_exception_fp_overflow(struct bench_floor *floor, uint32_t iterations) {
  return direct(floor, 19, floor_resume_skip4, floor_exception_fp_overflow, iterations);
}

// CR2 is readable only at ring 0, so the gate goes through a stub of five instructions.
double row_exception_pf_cr2(struct bench_floor *floor, uint32_t iterations) {
  uint64_t frame[5] = {PAGE_CODE + (uint64_t)(floor_resume_address_skip3 - floor_code_start), USER_CS, 0x202,
                       PAGE_FAULT_STACK + 4096 - 7 * 8, USER_SS};
  memcpy(floor->vm.memory + PAGE_RETURN, frame, sizeof frame);
  vm_gate_stub(&floor->vm, 14, floor_stub_page_fault, VM_STACK_FAULT);
  double result = floor_each(floor_loop(floor, floor_exception_pf, iterations, NULL, 0), iterations);
  vm_gate_default(&floor->vm, 14);
  return result;
}
