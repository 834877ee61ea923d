// No middleware: its functions have other types than they should.
__attribute__((export_name("handle_request"))) void handle_request(void) {}
__attribute__((export_name("handle_response"))) void handle_response(void) {}
