package wasmrt

// generatorSize is the random part of a generator of Go's runtime
// (internal/chacha8rand): 32 words of output and a seed of 4. Any content is
// valid, so that a state is reseeded by overwriting it.
const generatorSize = 36 * 8

// generators finds Go's random states in the memories of two guests that were
// initialised alike: there they differ in 288 bytes on end, which nothing else
// does.
func generators(a, b []byte) []uint32 {
	var found []uint32
	n := min(len(a), len(b)) &^ 7
	for at := 0; at < n; at += 8 {
		if same(a, b, at) {
			continue
		}
		end := at + 8
		for end < n && !same(a, b, end) {
			end += 8
		}
		if end-at == generatorSize {
			found = append(found, uint32(at)) //nolint:gosec // at most 4 GiB
		}
		at = end
	}
	return found
}

// same compares words: random ones are never equal.
func same(a, b []byte, at int) bool { return [8]byte(a[at:]) == [8]byte(b[at:]) }
