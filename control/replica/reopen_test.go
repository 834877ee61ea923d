package replica_test

import (
	"testing"

	"dhow.dev/dhow/control/store"
)

// reopen opens a stopped server's store alone.
func reopen(t *testing.T, s *server) *store.Store {
	t.Helper()
	st, err := store.Open(s.dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}
