// A CGI program that tells what it was asked for.
#include <stdio.h>
#include <stdlib.h>

int main(void) {
	const char *path = getenv("PATH_INFO"), *method = getenv("REQUEST_METHOD");
	printf("Content-Type: text/plain\r\n\r\n%s %s\n", method ? method : "?", path ? path : "?");
}
