package wasmrt

// Mount gives a guest a directory of the host.
type Mount struct {
	// Host is the directory's path on the host. It must exist.
	Host string
	// Guest is the absolute path at which the guest sees it.
	Guest string
	// Writable lets the guest change what is in it. Else it can only read.
	Writable bool
}
