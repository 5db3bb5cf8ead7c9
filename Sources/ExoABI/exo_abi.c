#include "exo_abi.h"

#define EXO_CALL_ROW(number, name, arguments, result, errors) [number] = {#name, arguments, result, errors},
static const struct exo_call_description descriptions[] = {EXO_CALL_TABLE(EXO_CALL_ROW)};

const struct exo_call_description *exo_describe_call(uint32_t number) {
  return number < sizeof descriptions / sizeof descriptions[0] ? &descriptions[number] : NULL;
}
