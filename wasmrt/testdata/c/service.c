// Service is a test guest: it answers one connection after another on the
// listener that it is given as descriptor 3, and waits in each call.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
  puts("serving");
  fflush(stdout);
  for (;;) {
    int c = accept(3, NULL, NULL);
    if (c < 0) {
      perror("accept");
      return 1;
    }
    char request[4096];
    ssize_t have = 0, n;
    while ((n = recv(c, request + have, sizeof request - 1 - have, 0)) > 0) {
      have += n;
      request[have] = 0;
      if (strstr(request, "\r\n\r\n")) break;
    }
    const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nhello from C\n";
    send(c, answer, strlen(answer), 0);
    shutdown(c, SHUT_WR);
    close(c);
  }
}
