package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

// program is a guest that computes for some tenths of a second, and what it
// has to print.
type program struct {
	name   string
	source string // below programs/
	want   string
}

func programs() []program {
	return []program{
		{"hash-c", "c/sha256.c", "bb18a4584f90b0c37626d40177152a21da58308e7b2eb7ed7ce4c24627a5d5d6"},
		{"checksum-c", "c/crc32.c", "3e091e71"},
		{"matrix-c", "c/matmul.c", "-1908004"},
		{"interpreter-c", "c/vm.c", "16342 primes, 106619496 steps"},
		{"sort-c", "c/sort.c", "3881312"},
		{"quicksort-c", "c/quicksort.c", "1832537485"},
		{"compress-c", "c/lz.c", "2629746"},
		{"calls-c", "c/fib.c", "63245986"},
		{"sqlite-c", "c/sqlite.c", "11111 166658432.0\n54 619 15013.5\n53 619 15013.0\n52 619 15012.5\n619\ndhow-20542\ndhow-2057"},
		{"json-rust", "rust/json.rs", "470309 bytes, 1258958466"},
		{"words-rust", "rust/words.rs", "1501 words, most often 412 (713)"},
		{"tree-rust", "rust/tree.rs", "328437 9348202102674397593"},
		{"fractal-rust", "rust/mandelbrot.rs", "56317687"},
		{"planets-rust", "rust/nbody.rs", "8042.980678579"},
		{"sort-rust", "rust/sort.rs", "9210418646791559068 81f5d"},
		{"json-go", "go/json", "106942 3483299570"},
		{"compress-go", "go/flate", "341739 777605071"},
		{"regexp-go", "go/regexp", "5000 263890 59"},
		{"template-go", "go/template", "7268 3393009818"},
	}
}

// module builds a program.
func (p program) module(ctx context.Context) (string, error) {
	r := recipe("programs", p.source)
	if p.source == "c/sqlite.c" {
		dir, err := sqliteDir(ctx)
		if err != nil {
			return "", err
		}
		r.Flags = []string{"-I" + dir}
	}
	return r.Module(ctx)
}

// recipe is for what is in a directory next to this file.
func recipe(dir, source string) wasmtest.Recipe {
	_, self, _, _ := runtime.Caller(0)
	r := wasmtest.Recipe{Source: filepath.Join(filepath.Dir(self), dir, source)}
	if filepath.Ext(source) == ".rs" {
		r.Flags = []string{"-C", "strip=debuginfo"}
	}
	return r
}

// command builds a guest that runs by itself, reactor one that is called.
func command(ctx context.Context, source string) (string, error) {
	return recipe("guests", source).Module(ctx)
}

func reactor(ctx context.Context, source string) (string, error) {
	r := recipe("guests", source)
	r.Reactor = true
	return r.Module(ctx)
}

// sqliteModule carries SQLite as one C file.
const sqliteModule = "github.com/mattn/go-sqlite3@v1.14.53"

func sqliteDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", sqliteModule).Output()
	if err != nil {
		return "", fmt.Errorf("downloading %s: %w: %s", sqliteModule, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", err
	}
	return module.Dir, nil
}
