package extism

import (
	"bytes"
	"os/exec"
	"slices"
	"testing"
)

func newArena(most uint64) (*arena, func(uint32) bool) {
	a := &arena{}
	a.reset(pageSize, most)
	return a, func(pages uint32) bool { return a.size+uint64(pages)*pageSize <= most }
}

// What plugins free twice, or frees what the host has freed, must not hit a
// block that came after.
func TestFreedTwice(t *testing.T) {
	a, grow := newArena(1 << 20)
	for range 100 {
		first := a.alloc(64, grow)
		if !a.release(first) {
			t.Fatal("the first free is refused")
		}
		second := a.alloc(64, grow)
		if second == first || a.release(first) || a.length(second) != 64 {
			t.Fatal("the second free hit another block")
		}
		a.release(second)
	}
	if a.end > 8<<10 {
		t.Errorf("200 blocks of 64 bytes, one at a time, took %d bytes", a.end)
	}
}

func TestArenaForgetsRecords(t *testing.T) {
	a, grow := newArena(16 << 20)
	for a.alloc(8, grow) != 0 {
	}
	if len(a.blocks) < 100_000 {
		t.Fatalf("%d blocks of 8 bytes in 16 MiB", len(a.blocks))
	}
	a.reset(a.size, 1<<20)
	if cap(a.blocks) > 1<<13 {
		t.Errorf("room for %d records is kept", cap(a.blocks))
	}
}

// FuzzArena: blocks in use never overlap, are inside the memory and the bound,
// and no offset that a plugin makes up does harm.
func FuzzArena(f *testing.F) {
	f.Add([]byte{0, 8, 0, 200, 1, 0, 0, 8, 2, 3})
	f.Add(bytes.Repeat([]byte{0, 100, 1, 0}, 100))
	f.Fuzz(func(t *testing.T, script []byte) {
		const most = 256 << 10
		a, grow := newArena(most)
		var live []uint64
		for ; len(script) >= 2; script = script[2:] {
			v := uint64(script[1])
			switch script[0] % 5 {
			case 0, 1:
				n := v * v // up to a page
				at := a.alloc(n, grow)
				if at == 0 {
					continue
				}
				if a.length(at) != n || !a.has(at, n) || at%alignment != 0 {
					t.Fatalf("a block of %d bytes at %d has %d", n, at, a.length(at))
				}
				for _, other := range live {
					if at < other+a.length(other) && other < at+n {
						t.Fatalf("blocks at %d and %d overlap", at, other)
					}
				}
				live = append(live, at)
			case 2:
				if len(live) > 0 {
					k := int(v) % len(live)
					if !a.release(live[k]) {
						t.Fatal("a block in use cannot be freed")
					}
					live = slices.Delete(live, k, k+1)
				}
			case 3:
				if at := v * 3; !slices.Contains(live, at) && (a.release(at) || a.length(at) != 0) {
					t.Fatalf("there is no block at %d, and it was freed", at)
				}
			case 4:
				if a.has(^uint64(0)-v, 1+v) || a.has(v, ^uint64(0)) || a.has(a.size-v, v+1) {
					t.Fatal("beyond the end")
				}
			}
		}
		if a.end > a.size || a.size > most {
			t.Fatalf("end %d, size %d", a.end, a.size)
		}
	})
}

// The kernel that is built in is made from its source.
func TestKernelIsBuilt(t *testing.T) {
	if _, err := exec.LookPath("wat2wasm"); err != nil {
		t.Skip("wat2wasm is not installed (Debian's wabt)")
	}
	built, err := exec.CommandContext(t.Context(), "wat2wasm", "kernel.wat", "--output=-").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, kernel) {
		t.Error("kernel.wasm is older than kernel.wat: go generate ./wasmrt/extism")
	}
}
