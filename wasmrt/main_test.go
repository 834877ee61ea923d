package wasmrt_test

import (
	"fmt"
	"os"
	"testing"
)

var cacheDir string // machine code shared by the tests of one run

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wasmrt-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cacheDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func sharedCache(tb testing.TB) string {
	tb.Helper()
	return cacheDir
}
