// Which of many filters a packet belongs to, the way of PATHFINDER (Bailey, Gopal, Pagels, Peterson and Sarkar, OSDI 1994): a filter
// is a list of cells (offset, length, mask, value); filters that begin with the same cells share them, and where they
// part at the same field the values are hashed. The structure is interpreted. Filters and packets are those of filters.c.
//
// It is given every advantage that leaves it an interpreter of cells: a field is one load, which their DECstations could do only where
// it is aligned; a cell of one value has that and its successor in itself; a value is found by one multiplication in a
// table that is nearly empty with 10 of them; all of it is compiled into the loop over a batch of packets; there are no pending fragments or
// packets in several pieces to be looked after. It is given what Exo's is, 64 packets at a time by where each begins and ends, and stores
// for each whose it is.
#include "linux.h"

#include <stdlib.h>
#include <string.h>

enum { PACKETS = 256, LENGTH = 60, BATCH = 64, BUCKETS = 4096 };

// Where a packet is among the bytes of its batch.
struct range {
  uint64_t first, end;
};

// What follows a value.
struct edge {
  uint32_t value;
  unsigned filter;     // whose packet it is, from 1, or else
  struct node *next;   // what is asked then
  struct edge *chain;
};
// A field that is compared, from where offsets count, and what follows by its value.
struct node {
  uint32_t offset, length, mask;
  int moves;           // the field's low half is a header's length in words: offsets count from behind it then
  unsigned edges;
  struct edge only;    // the first of them
  struct edge **table; // if there are more
};
struct cell {
  uint32_t offset, length, mask, value;
  int moves;
};

static unsigned hash(uint32_t value) { return (value * 2654435761u) >> 20; }

static struct edge *find(struct node *node, uint32_t value) {
  if (!node->table) return node->edges && node->only.value == value ? &node->only : NULL;
  for (struct edge *edge = node->table[hash(value)]; edge; edge = edge->chain)
    if (edge->value == value) return edge;
  return NULL;
}
static struct edge *add(struct node *node, uint32_t value) {
  if (node->edges++ == 0) {
    node->only.value = value;
    return &node->only;
  }
  struct edge *edge = calloc(1, sizeof *edge);
  if (!edge) return NULL;
  edge->value = value;
  if (!node->table) {
    if (!(node->table = calloc(BUCKETS, sizeof *node->table))) return free(edge), NULL;
    node->table[hash(node->only.value)] = &node->only;
  }
  edge->chain = node->table[hash(value)];
  return node->table[hash(value)] = edge;
}

// Every filter here asks for the same fields in the same order, so there is one node at each place.
static int insert(struct node **root, const struct cell *cells, int count, unsigned filter) {
  struct node **at = root;
  struct edge *edge = NULL;
  for (int i = 0; i < count; i++) {
    if (!*at) {
      if (!(*at = calloc(1, sizeof **at))) return -ENOMEM;
      (*at)->offset = cells[i].offset, (*at)->length = cells[i].length;
      (*at)->mask = cells[i].mask, (*at)->moves = cells[i].moves;
    }
    edge = find(*at, cells[i].value);
    if (!edge && !(edge = add(*at, cells[i].value))) return -ENOMEM;
    at = &edge->next;
  }
  edge->filter = filter;
  return 0;
}

static unsigned classify(struct node *node, const unsigned char *packet, uint32_t length) {
  uint32_t base = 0;
  while (node) {
    uint32_t offset = base + node->offset, value;
    uint16_t half;
    if (offset + node->length > length) return 0;
    switch (node->length) {
      case 1: value = packet[offset]; break;
      case 2: memcpy(&half, packet + offset, 2), value = __builtin_bswap16(half); break;
      default: memcpy(&value, packet + offset, 4), value = __builtin_bswap32(value);
    }
    if (node->moves) {
      base += (value & 15) * 4;
      node = node->only.next;
      continue;
    }
    const struct edge *edge = find(node, value & node->mask);
    if (!edge) return 0;
    if (edge->filter) return edge->filter;
    node = edge->next;
  }
  return 0;
}

// Whose each packet is; how many are somebody's.
static __attribute__((noinline)) unsigned classify_all(struct node *root, const unsigned char *bytes,
                                                       const struct range *ranges, unsigned count,
                                                       uint64_t *found) {
  unsigned matched = 0;
  for (unsigned i = 0; i < count; i++) {
    found[i] = classify(root, bytes + ranges[i].first, (uint32_t)(ranges[i].end - ranges[i].first));
    matched += found[i] != 0;
  }
  return matched;
}

static void discard(struct node *node) {
  if (!node) return;
  if (!node->table) discard(node->only.next);
  for (unsigned i = 0; node->table && i < BUCKETS; i++)
    for (struct edge *edge = node->table[i], *next; edge; edge = next) {
      next = edge->chain;
      discard(edge->next);
      if (edge != &node->only) free(edge);
    }
  free(node->table);
  free(node);
}

static double demux(uint32_t iterations, unsigned filters) {
  struct node *root = NULL;
  unsigned char(*packets)[LENGTH] = malloc(PACKETS * sizeof *packets);
  double result = packets ? 0 : -ENOMEM;
  for (unsigned i = 0; i < filters && result >= 0; i++) {
    const struct cell cells[] = {{12, 2, 0xffff, 0x0800, 0}, {30, 4, ~0u, 0x0a000001, 0}, {23, 1, 0xff, 6, 0},
                                 {20, 2, 0x1fff, 0, 0},      {14, 1, 0x0f, 0, 1},         {16, 2, 0xffff, 1024 + i, 0}};
    result = insert(&root, cells, sizeof cells / sizeof *cells, i + 1);
  }
  if (result >= 0) {
    uint32_t random = 1, done = 0, matched = 0;
    static struct range ranges[BATCH];
    static uint64_t found[BATCH];
    for (unsigned i = 0; i < PACKETS; i++) linux_make_packet(packets[i], &random, filters);
    for (unsigned i = 0; i < BATCH; i++) ranges[i].first = i * LENGTH, ranges[i].end = (i + 1) * LENGTH;
    uint64_t begin = bench_ticks();
    while (done < iterations) {
      uint32_t count = iterations - done < BATCH ? iterations - done : BATCH;
      matched += classify_all(root, packets[done % PACKETS], ranges, count, found);
      done += count;
    }
    uint64_t ticks = bench_ticks() - begin;
    result = matched == iterations ? linux_each(ticks, iterations) : -EBADMSG;
  }
  discard(root);
  free(packets);
  return result;
}

double linux_pathfinder_10(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 10); }
double linux_pathfinder_10000(struct bench_linux *l, uint32_t n) { return (void)l, demux(n, 10000); }
