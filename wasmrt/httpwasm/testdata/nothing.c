// No middleware: it exports nothing.
void nothing(void) {}
