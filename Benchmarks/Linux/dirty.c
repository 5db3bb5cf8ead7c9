// Has this page been written? Linux answers in two ways, by kernel: the soft-dirty bit in the page map, or
// PAGEMAP_SCAN over a range that a userfaultfd write-protects asynchronously. Both name one page a query.
#include "linux.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES 100
#define PAGE 4096

// Newer than the headers of the systems we build on.
struct scan_region {
  uint64_t start, end, categories;
};
struct scan {
  uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages;
  uint64_t category_inverted, category_mask, category_any_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan)
#define SCAN_WRITTEN 2
#define FEATURE_WP_UNPOPULATED (1u << 13)
#define FEATURE_WP_ASYNC (1u << 15)
#define USER_MODE_ONLY 1

static void touch(char *pages) {
  for (int i = 0; i < PAGES; i++) pages[i * PAGE] = 1;
}

// How many of `queries` say "written"; all must.
static uint64_t ask_page_map(int map, char *pages, uint32_t queries) {
  uint64_t entry = 0, first = (uint64_t)pages / PAGE, dirty = 0;
  for (uint32_t i = 0; i < queries; i++)
    if (pread(map, &entry, sizeof entry, (off_t)((first + i % PAGES) * sizeof entry)) == sizeof entry)
      dirty += entry >> 55 & 1;
  return dirty;
}
static uint64_t ask_scan(int map, char *pages, uint32_t queries) {
  uint64_t dirty = 0;
  struct scan_region region;
  for (uint32_t i = 0; i < queries; i++) {
    uint64_t start = (uint64_t)pages + i % PAGES * PAGE;
    struct scan scan = {.size = sizeof scan, .start = start, .end = start + PAGE, .regions = (uint64_t)&region,
                        .region_count = 1, .category_mask = SCAN_WRITTEN, .return_mask = SCAN_WRITTEN};
    dirty += ioctl(map, SCAN, &scan) == 1;
  }
  return dirty;
}
static bool watch_writes(char *pages, int *watcher) {
  *watcher = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);
  if (*watcher < 0) return false;
  struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
  struct uffdio_register range = {.range = {(uint64_t)pages, PAGES * PAGE}, .mode = UFFDIO_REGISTER_MODE_WP};
  struct uffdio_writeprotect protect = {.range = range.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  return !ioctl(*watcher, UFFDIO_API, &api) && !ioctl(*watcher, UFFDIO_REGISTER, &range) &&
         !ioctl(*watcher, UFFDIO_WRITEPROTECT, &protect);
}

double linux_dirty(struct bench_linux *l, uint32_t iterations) {
  (void)l;
  int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), watcher = -1;
  if (map < 0) return -errno;
  char *pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  double result = -EOPNOTSUPP;
  if (pages != MAP_FAILED) {
    madvise(pages, PAGES * PAGE, MADV_NOHUGEPAGE);
    touch(pages);
    uint64_t (*ask)(int, char *, uint32_t) = NULL;
    if (ask_page_map(map, pages, PAGES) == PAGES) ask = ask_page_map;
    else if (watch_writes(pages, &watcher)) {
      uint64_t before = ask_scan(map, pages, PAGES);
      touch(pages);
      if (before == 0 && ask_scan(map, pages, PAGES) == PAGES) ask = ask_scan;
    }
    if (ask) {
      uint64_t begin = bench_ticks(), dirty = ask(map, pages, iterations);
      uint64_t ticks = bench_ticks() - begin;
      if (dirty == iterations) result = linux_each(ticks, iterations);
    }
    munmap(pages, PAGES * PAGE);
  }
  if (watcher >= 0) close(watcher);
  close(map);
  return result;
}
