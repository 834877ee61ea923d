// Half is a CGI program that traps in the middle of its answer.
#include <stdio.h>

int main(void) {
  printf("Content-Type: text/plain\n\nhalf");
  fflush(stdout);
  __builtin_trap();
}
