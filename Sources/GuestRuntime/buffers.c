// Memory that must be there before there is a heap.
#include "guest_runtime.h"

static _Alignas(64) unsigned char ring_answers[EXO_RING_ANSWERS_SIZE];
static unsigned char output[EXO_OUTPUT_BUFFER_SIZE];
static _Alignas(64) unsigned char heap_book[EXO_HEAP_BOOK_SIZE];

void *exo_ring_answers(void) { return ring_answers; }
void *exo_output_buffer(void) { return output; }
void *exo_heap_book(void) { return heap_book; }
