// Programs that run in children: each has this text, a stack, and what its argument leads to, but no data. They make
// their exocalls with a ring client that trusts nothing and spares nothing.
#include "hostile.h"

struct ring {
  const struct exo_start *start;
  uint32_t submitted, consumed;
};

#define PAGES_AT 0x520000000000
#define STACK_TOP 0x700000000000
#define SECRET 0x5ec4e75ec4e75ec4

static struct exo_submission *slot_of(struct ring *ring, uint32_t number) {
  return (struct exo_submission *)ring->start->submission_ring + (number - 1) % EXO_RING_CAPACITY;
}
static void doorbell(struct ring *ring, uint32_t offset, uint32_t value) {
  *(volatile uint32_t *)(ring->start->doorbell + offset) = value;
}

// Fills a slot and publishes it under any number, with any count of consumed completions.
static void publish(struct ring *ring, uint32_t slot, uint32_t sequence, uint32_t consumed, uint32_t call,
                    const uint64_t *arguments) {
  struct exo_submission *entry = slot_of(ring, slot);
  entry->tag = sequence;
  for (int i = 0; i < 5; i++) entry->arguments[i] = arguments ? arguments[i] : 0;
  entry->call = call;
  entry->consumed = consumed;
  __atomic_store_n(&entry->sequence, sequence, __ATOMIC_RELEASE);
}
static void submit(struct ring *ring, uint32_t call, const uint64_t *arguments) {
  ring->submitted++;
  publish(ring, ring->submitted, ring->submitted, ring->consumed, call, arguments);
}
static uint32_t service(struct ring *ring) {
  return *(const volatile uint32_t *)ring->start->status;
}
static void notify(struct ring *ring) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (service(ring) == EXO_SERVICE_ASLEEP) doorbell(ring, EXO_DOORBELL_WAKE, 1);
  if (service(ring) == EXO_SERVICE_EXIT) doorbell(ring, EXO_DOORBELL_SERVE, 1);
}
static int64_t answer(struct ring *ring, uint64_t values[2]) {
  uint32_t number = ring->consumed + 1;
  struct exo_completion *entry =
      (struct exo_completion *)ring->start->completion_ring + (number - 1) % EXO_RING_CAPACITY;
  for (uint32_t spins = 0; __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE) != number; spins++) {
    if (spins < 20000 && service(ring) != EXO_SERVICE_EXIT) __builtin_ia32_pause();
    else doorbell(ring, EXO_DOORBELL_WAIT, number);
  }
  ring->consumed = number;
  if (values) values[0] = entry->values[0], values[1] = entry->values[1];
  return entry->result;
}
static int64_t exocall(struct ring *ring, uint32_t call, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                       uint64_t values[2]) {
  uint64_t arguments[5] = {a, b, c, d, e};
  submit(ring, call, arguments);
  notify(ring);
  return answer(ring, values);
}

static void leave(struct ring *ring, uint64_t status) {
  for (;;) exocall(ring, EXO_CALL_exit, status, 0, 0, 0, 0, 0);
}
static void sleep(struct ring *ring) {
  for (;;) doorbell(ring, EXO_DOORBELL_WAIT, ring->submitted + 1000);
}

// --- plain ones

void hostile_exit(const struct exo_start *start, uint64_t status) {
  struct ring ring = {start, 0, 0};
  leave(&ring, status);
}
static void program_spin(const struct exo_start *start, uint64_t argument) {
  for (;;) __builtin_ia32_pause();
}
static void program_sleep(const struct exo_start *start, uint64_t argument) {
  struct ring ring = {start, 0, 0};
  sleep(&ring);
}
static void program_touch(const struct exo_start *start, uint64_t address) {
  (void)*(volatile uint64_t *)address;
  hostile_exit(start, 0);
}
static void program_store(const struct exo_start *start, uint64_t address) {
  *(volatile uint64_t *)address = SECRET;
  hostile_exit(start, 0);
}
static void program_count_up(const struct exo_start *start, uint64_t address) {
  for (;;) ++*(volatile uint64_t *)address;
}

static void program_secret(const struct exo_start *start, uint64_t argument) {
  struct hostile_mailbox *mailbox = (struct hostile_mailbox *)argument;
  struct ring ring = {start, 0, 0};
  uint64_t values[2];
  int64_t frames = exocall(&ring, EXO_CALL_frame_allocate, EXO_FRAME_ANY, 8, 0, 0, 0, values);
  if (frames < 0) leave(&ring, 3);
  if (exocall(&ring, EXO_CALL_map, frames, 0, PAGES_AT, values[1], EXO_READ | EXO_WRITE, 0) < 0) leave(&ring, 3);
  volatile uint64_t *words = (volatile uint64_t *)PAGES_AT;
  for (uint64_t i = 0; i < values[1] * (EXO_PAGE_SIZE / 8); i++) words[i] = SECRET;
  mailbox->words[0] = values[0];
  mailbox->words[1] = values[1];
  mailbox->flag = 1;
  sleep(&ring);
}

// --- capabilities

static const struct hostile_handle_call handle_calls[] = {
    {EXO_CALL_frame_free, 1, {0}},
    {EXO_CALL_map, 1, {0, 0, 0x530000000000, 1, EXO_READ}},
    {EXO_CALL_capability_derive, 1, {0, 0, 0, EXO_READ}},
    {EXO_CALL_capability_grant, 3, {0, 0, 0, 0, EXO_READ}},
    {EXO_CALL_capability_revoke, 1, {0}},
    {EXO_CALL_capability_drop, 1, {0}},
    {EXO_CALL_capability_inspect, 1, {0}},
    {EXO_CALL_environment_map, 3, {0, 0, 0x530000000000, 1ull << 32, EXO_READ}},
    {EXO_CALL_environment_start, 1, {0, 0x400000, 0x10000, 0}},
    {EXO_CALL_environment_stop, 1, {0}},
    {EXO_CALL_environment_resume, 1, {0}},
    {EXO_CALL_environment_end, 1, {0, 1}},
    {EXO_CALL_environment_inspect, 1, {0}},
    {EXO_CALL_environment_wait, 1, {0}},
    {EXO_CALL_region_access, 1, {0, 0, 0, 0x530000000000, 0}},
    {EXO_CALL_event_post, 1, {0, 1}},
    {EXO_CALL_slices_bind, 1, {0, 0, 1, 0}},
    {EXO_CALL_slices_bind, 9, {0, 0, 1, 0}},
};
#define HANDLE_CALLS (sizeof handle_calls / sizeof handle_calls[0])

const struct hostile_handle_call *hostile_handle_call(uint32_t index) {
  return index < HANDLE_CALLS ? &handle_calls[index] : 0;
}

// words[0]: how many handles, words[1...]: them. Says in words[32] how many calls were not refused, in words[33] the
// last of them.
static void program_handles(const struct exo_start *start, uint64_t argument) {
  struct hostile_mailbox *mailbox = (struct hostile_mailbox *)argument;
  struct ring ring = {start, 0, 0};
  for (uint64_t i = 1; i <= mailbox->words[0]; i++) {
    for (uint32_t row = 0; row < HANDLE_CALLS; row++) {
      uint64_t arguments[5];
      for (int a = 0; a < 5; a++)
        arguments[a] = handle_calls[row].handles >> a & 1 ? mailbox->words[i] : handle_calls[row].arguments[a];
      submit(&ring, handle_calls[row].call, arguments);
      notify(&ring);
      if (answer(&ring, 0) >= 0) {
        mailbox->words[32]++;
        mailbox->words[33] = handle_calls[row].call;
      }
    }
  }
  mailbox->flag = 1;
  leave(&ring, 0);
}

// The handle by which this environment holds a frame, 0 for none.
static uint64_t handle_of_frame(struct ring *ring, uint64_t frame) {
  uint64_t handle = 0, values[2];
  while ((handle = (uint64_t)exocall(ring, EXO_CALL_capability_next, handle, 0, 0, 0, 0, 0))) {
    if (exocall(ring, EXO_CALL_capability_inspect, handle, 0, 0, 0, 0, values) == EXO_KIND_FRAMES &&
        (uint32_t)values[1] == frame)
      return handle;
  }
  return 0;
}

// words[0]: where a page is mapped read-only, words[1]: its frame. Says in words[32] how many attempts went wrong,
// in words[33] the last.
static void program_restore(const struct exo_start *start, uint64_t argument) {
  struct hostile_mailbox *mailbox = (struct hostile_mailbox *)argument;
  struct ring ring = {start, 0, 0};
  uint64_t page = mailbox->words[0], handle = handle_of_frame(&ring, mailbox->words[1]);
  uint32_t step = 0;
#define MUST(result, ...)                                                           \
  do {                                                                              \
    step++;                                                                         \
    if (exocall(&ring, __VA_ARGS__, 0) != (result)) mailbox->words[32]++, mailbox->words[33] = step; \
  } while (0)
  if (!handle) leave(&ring, 3);
  MUST(-EXO_EPERM, EXO_CALL_protect, page, 1, EXO_READ | EXO_WRITE, 0, 0);
  MUST(-EXO_EPERM, EXO_CALL_protect, page, 1, EXO_READ | EXO_EXECUTE, 0, 0);
  MUST(-EXO_EPERM, EXO_CALL_map, handle, 0, PAGES_AT, 1, EXO_READ | EXO_WRITE);
  MUST(-EXO_EPERM, EXO_CALL_map, handle, 0, PAGES_AT, 1, EXO_WRITE);
  MUST(-EXO_EPERM, EXO_CALL_capability_derive, handle, 0, 0, EXO_READ | EXO_WRITE, 0);
  MUST(-EXO_EPERM, EXO_CALL_capability_derive, handle, 0, 0, EXO_READ | EXO_RIGHT_GRANT, 0);
  MUST(-EXO_ERANGE, EXO_CALL_capability_derive, handle, 0, 2, EXO_READ, 0);
  MUST(-EXO_ERANGE, EXO_CALL_map, handle, 1, PAGES_AT, 1, EXO_READ);
  MUST(0, EXO_CALL_map, handle, 0, PAGES_AT, 1, EXO_READ);
  MUST(-EXO_EPERM, EXO_CALL_protect, PAGES_AT, 1, EXO_READ | EXO_WRITE, 0, 0);
  // Lowered and restored, it is no more than before.
  MUST(0, EXO_CALL_protect, PAGES_AT, 1, 0, 0, 0);
  MUST(0, EXO_CALL_protect, PAGES_AT, 1, EXO_READ, 0, 0);
  // Neither a buffer of the exokernel's nor an exception stack.
  MUST(-EXO_EFAULT, EXO_CALL_console_read, page, 8, 0, 0, 0);
  MUST(-EXO_EFAULT, EXO_CALL_exception_bind, 3, (uint64_t)hostile_exit, page + EXO_PAGE_SIZE, 0, 0);
  mailbox->flag = 1;
  while (mailbox->flag == 1) __builtin_ia32_pause();
  // Taken back by now.
  MUST(-EXO_ENOENT, EXO_CALL_protect, page, 1, EXO_READ, 0, 0);
  MUST(-EXO_ENOENT, EXO_CALL_protect, PAGES_AT, 1, EXO_READ, 0, 0);
  MUST(-EXO_ESTALE, EXO_CALL_map, handle, 0, PAGES_AT, 1, EXO_READ);
  MUST(-EXO_ESTALE, EXO_CALL_capability_derive, handle, 0, 0, EXO_READ, 0);
  MUST(-EXO_ESTALE, EXO_CALL_capability_inspect, handle, 0, 0, 0, 0);
  MUST(-EXO_EFAULT, EXO_CALL_console_write, page, 8, 0, 0, 0);
  mailbox->flag = 3;
  (void)*(volatile uint64_t *)page;
  leave(&ring, 0);
}

// --- rings and doorbell

static void program_ring(const struct exo_start *start, uint64_t which) {
  struct ring ring = {start, 0, 0};
  for (int i = 0; i < 3; i++) exocall(&ring, EXO_CALL_null, 0, 0, 0, 0, 0, 0);
  uint32_t next = ring.submitted + 1;
  switch (which) {
    case HOSTILE_RING_JUMP: publish(&ring, next, next + 1, ring.consumed, EXO_CALL_null, 0); break;
    case HOSTILE_RING_LAP: publish(&ring, next, next + EXO_RING_CAPACITY, ring.consumed, EXO_CALL_null, 0); break;
    case HOSTILE_RING_LAST: publish(&ring, next, 0xffffffff, ring.consumed, EXO_CALL_null, 0); break;
    case HOSTILE_RING_BACK: publish(&ring, next, next - 1, ring.consumed, EXO_CALL_null, 0); break;
    case HOSTILE_RING_AHEAD: publish(&ring, next, next, ring.consumed + 1, EXO_CALL_null, 0); break;
    case HOSTILE_RING_UNCONSUMED: publish(&ring, next, next, ring.consumed - 2, EXO_CALL_null, 0); break;
    case HOSTILE_RING_HUGE: publish(&ring, next, next, ring.consumed + 0x80000000, EXO_CALL_null, 0); break;
    default:
      for (int i = 0; i < 3 * EXO_RING_CAPACITY; i++) {
        submit(&ring, EXO_CALL_null, 0);
        notify(&ring);
      }
  }
  for (;;) notify(&ring);
}

static void program_doorbell(const struct exo_start *start, uint64_t which) {
  volatile char *page = (volatile char *)start->doorbell;
  uint64_t value = 1;
#define STORE(type, offset) *(volatile type *)(page + (offset)) = 1
#define LOAD(type, offset) (void)*(volatile type *)(page + (offset))
  switch (which) {
    case HOSTILE_DOORBELL_LOAD1: LOAD(uint8_t, 0); break;
    case HOSTILE_DOORBELL_LOAD2: LOAD(uint16_t, 0); break;
    case HOSTILE_DOORBELL_LOAD4: LOAD(uint32_t, EXO_DOORBELL_SERVE); break;
    case HOSTILE_DOORBELL_LOAD8: LOAD(uint64_t, 0); break;
    case HOSTILE_DOORBELL_STORE1: STORE(uint8_t, EXO_DOORBELL_SERVE); break;
    case HOSTILE_DOORBELL_STORE2: STORE(uint16_t, EXO_DOORBELL_SERVE); break;
    case HOSTILE_DOORBELL_STORE8: STORE(uint64_t, EXO_DOORBELL_WAIT); break;
    case HOSTILE_DOORBELL_OFFSET4: STORE(uint32_t, 4); break;
    case HOSTILE_DOORBELL_OFFSET12: STORE(uint32_t, 12); break;
    case HOSTILE_DOORBELL_LAST: STORE(uint32_t, EXO_PAGE_SIZE - 4); break;
    case HOSTILE_DOORBELL_UNALIGNED: __asm__ volatile("movl $1, 9(%0)" ::"r"(page) : "memory"); break;
    case HOSTILE_DOORBELL_XCHG: __asm__ volatile("xchg %0, 64(%1)" : "+r"(value) : "r"(page) : "memory"); break;
    case HOSTILE_DOORBELL_XADD: __asm__ volatile("lock xadd %0, 64(%1)" : "+r"(value) : "r"(page) : "memory"); break;
    case HOSTILE_DOORBELL_CMPXCHG:
      __asm__ volatile("xor %%eax, %%eax\n lock cmpxchg %0, 64(%1)" : "+r"(value) : "r"(page) : "rax", "memory");
      break;
    case HOSTILE_DOORBELL_ADD: __asm__ volatile("lock addl $1, 8(%0)" ::"r"(page) : "memory"); break;
    case HOSTILE_DOORBELL_SSE: __asm__ volatile("movups %%xmm0, 64(%0)" ::"r"(page) : "memory"); break;
    case HOSTILE_DOORBELL_AVX: __asm__ volatile("vmovdqu %%ymm0, 64(%0)" ::"r"(page) : "memory"); break;
    case HOSTILE_DOORBELL_STRING_OUT: {
      volatile char *to = page + 64;
      uint64_t count = 16;
      __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(1) : "memory");
      break;
    }
    case HOSTILE_DOORBELL_STRING_IN: {
      uint64_t words[16], count = 16;
      volatile char *from = page + 64;
      uint64_t *to = words;
      __asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
      break;
    }
    case HOSTILE_DOORBELL_PUSH: __asm__ volatile("lea 128(%0), %%rsp\n push %%rax" ::"r"(page) : "memory"); break;
    default: __asm__ volatile("fxsave64 512(%0)" ::"r"(page) : "memory");
  }
  hostile_exit(start, 77);
}

// --- quotas

static const uint64_t first_handle = 1ull << 32;

// The argument's low bits are the depth still to go. words[0]: width, words[1]: where the text is, words[2]: its
// pages. Counts in words[3] who has come to life, in words[4] what was refused. Handle 0 is the text, 1 the mailbox.
static void program_forest(const struct exo_start *start, uint64_t argument) {
  struct hostile_mailbox *mailbox = (struct hostile_mailbox *)(argument & ~0xfffull);
  uint64_t depth = argument & 0xfff, width = mailbox->words[0];
  struct ring ring = {start, 0, 0};
  __atomic_add_fetch(&mailbox->words[3], 1, __ATOMIC_SEQ_CST);
  uint64_t frames = 48, environments = 0, capabilities = 32;
  for (uint64_t d = 1; d < depth; d++) {
    frames = 48 + width * (frames + 1);
    capabilities = 32 + width * (capabilities + 2);
    environments = width * (1 + environments);
  }
  uint64_t text = first_handle, shared = first_handle + 1;
  for (uint64_t i = 0; depth > 0 && i < width; i++) {
    int64_t child = exocall(&ring, EXO_CALL_environment_create, frames, capabilities, 0, environments, 0, 0);
    int64_t stack = exocall(&ring, EXO_CALL_frame_allocate, EXO_FRAME_ANY, 1, 0, 0, 0, 0);
    uint64_t all = EXO_READ | EXO_WRITE | EXO_RIGHT_GRANT, code = EXO_READ | EXO_EXECUTE;
    int64_t worst = child < stack ? child : stack;
#define TRY(...)                                                \
  do {                                                          \
    int64_t result = exocall(&ring, __VA_ARGS__, 0);            \
    if (result < worst) worst = result;                         \
  } while (0)
    if (worst > 0) {
      TRY(EXO_CALL_capability_grant, text, child, 0, 0, code | EXO_RIGHT_GRANT);
      TRY(EXO_CALL_capability_grant, shared, child, 0, 0, all);
      TRY(EXO_CALL_environment_map, child, text, mailbox->words[1], mailbox->words[2] << 32, code);
      TRY(EXO_CALL_environment_map, child, shared, (uint64_t)mailbox, 1ull << 32, EXO_READ | EXO_WRITE);
      TRY(EXO_CALL_environment_map, child, stack, STACK_TOP - EXO_PAGE_SIZE, 1ull << 32, EXO_READ | EXO_WRITE);
      TRY(EXO_CALL_environment_start, child, (uint64_t)program_forest, STACK_TOP - 8,
          (uint64_t)mailbox | (depth - 1), 0);
    }
    if (worst < 0) __atomic_add_fetch(&mailbox->words[4], 1, __ATOMIC_SEQ_CST);
  }
  sleep(&ring);
}

// words[0]: the first address, words[1]: the step. Says in words[2] how often it could, in words[3] the error.
static void program_sparse(const struct exo_start *start, uint64_t argument) {
  struct hostile_mailbox *mailbox = (struct hostile_mailbox *)argument;
  struct ring ring = {start, 0, 0};
  int64_t frame = exocall(&ring, EXO_CALL_frame_allocate, EXO_FRAME_ANY, 1, 0, 0, 0, 0), result = frame;
  for (uint64_t at = mailbox->words[0]; result >= 0; at += mailbox->words[1]) {
    result = exocall(&ring, EXO_CALL_map, frame, 0, at, 1, EXO_READ, 0);
    if (result == 0) mailbox->words[2]++;
  }
  mailbox->words[3] = -result;
  mailbox->flag = 1;
  leave(&ring, 0);
}

void hostile_dirty(const struct exo_start *start, uint64_t how);
void hostile_dump(const struct exo_start *start, uint64_t mailbox);

uint64_t hostile_entry(uint32_t program) {
  static void (*const programs[])(const struct exo_start *, uint64_t) = {
      [HOSTILE_EXIT] = hostile_exit,
      [HOSTILE_SPIN] = program_spin,
      [HOSTILE_SLEEP] = program_sleep,
      [HOSTILE_TOUCH] = program_touch,
      [HOSTILE_STORE] = program_store,
      [HOSTILE_COUNT_UP] = program_count_up,
      [HOSTILE_SECRET] = program_secret,
      [HOSTILE_HANDLES] = program_handles,
      [HOSTILE_RESTORE] = program_restore,
      [HOSTILE_RING] = program_ring,
      [HOSTILE_DOORBELL] = program_doorbell,
      [HOSTILE_FOREST] = program_forest,
      [HOSTILE_SPARSE] = program_sparse,
      [HOSTILE_DIRTY] = hostile_dirty,
      [HOSTILE_DUMP] = hostile_dump,
      [HOSTILE_NUCLEUS] = hostile_fault_nucleus,
  };
  return program < HOSTILE_PROGRAMS ? (uint64_t)programs[program] : 0;
}
