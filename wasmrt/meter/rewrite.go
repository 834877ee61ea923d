package meter

// Rewrite returns the module with meters in it. The input is not changed. The
// error is an *Error.
func Rewrite(wasm []byte, o Options) ([]byte, error) {
	return nil, &Error{Reason: ReasonUnsupported, Message: "metering is being written"}
}
