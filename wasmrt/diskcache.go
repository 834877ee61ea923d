package wasmrt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/cpu"
)

// diskCache bounds the directory in which wazero keeps machine code, and says
// which file is whose: wazero names files by a key of its own (version,
// platform, CPU features, module) and never deletes one.
//
//	DIR/wazero-…/KEY    machine code, written by wazero, whole or not at all
//	DIR/index/DIGEST    the entry that names KEY
//
// Which key belongs to a digest is seen from the file that appears, so first
// compilations run one after another, each on all cores.
type diskCache struct {
	dir   string
	max   int64
	now   func() time.Time
	maker string

	first sync.Mutex // held during the first compilation of a module
	mu    sync.Mutex // held during work on the files
}

func openDiskCache(dir string, maxBytes int64, now func() time.Time) (*diskCache, wazero.CompilationCache, error) {
	d := &diskCache{dir: dir, max: maxBytes, now: now, maker: maker()}
	if err := os.MkdirAll(filepath.Join(dir, "index"), 0o700); err != nil {
		return nil, nil, fmt.Errorf("the directory for machine code: %w", err)
	}
	// Whoever can write here can run code in this process.
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		return nil, nil, fmt.Errorf("the directory for machine code: %w", err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("the directory for machine code: %w", err)
	}
	if err := d.tidy(); err != nil {
		return nil, nil, err
	}
	return d, cache, nil
}

// rewrite counts the ways in which we have changed modules before wazero sees
// them: raise it with each change of shape or of the meter.
const rewrite = 8

// maker identifies what, beside the module, wazero's keys depend on.
func maker() string {
	version := ""
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, d := range b.Deps {
			if d.Path == "github.com/tetratelabs/wazero" {
				version = d.Version
			}
		}
	}
	return fmt.Sprintf("%d %s %s %x", rewrite, version, goruntime.GOARCH, crc32.ChecksumIEEE(fmt.Append(nil, cpu.X86, cpu.ARM64)))
}

// compile runs translate around the bookkeeping. Extra is how many references
// wazero holds beside the returned one. A cache that cannot be read or written
// makes it slower, never fail.
func (d *diskCache) compile(digest string, translate func() (wazero.CompiledModule, error)) (c wazero.CompiledModule, extra int, err error) {
	if d.usable(digest) {
		c, err = translate()
		return c, 0, err
	}
	d.first.Lock()
	defer d.first.Unlock()
	before := d.list()
	c, err = translate()
	if err != nil && !errors.Is(err, context.Canceled) {
		// When wazero cannot write the file it fails, but keeps the machine
		// code and a reference to it: a second try finds it in memory. A
		// module that is not valid fails again, early.
		c, err = translate()
		extra = 1
	}
	if err != nil {
		return nil, 0, err
	}
	d.remember(digest, before)
	return c, extra, nil
}

// entry is what the index knows of a digest's machine code.
type entry struct {
	File string `json:"file"`
	// Made by another maker, the file may have another key now.
	Maker string `json:"maker"`
	Size  int64  `json:"size"`
	// wazero's own checksum does not cover all that it trusts.
	Sum uint32 `json:"crc32c"`
}

// usable tells whether the digest's machine code is there and whole, marks it
// as used, and otherwise sees to it that it is made again.
func (d *diskCache) usable(digest string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.read(d.index(digest))
	if err != nil {
		return false
	}
	file := filepath.Join(d.dir, e.File)
	if size, sum, err := checksum(file); err != nil || size != e.Size || sum != e.Sum || e.Maker != d.maker {
		d.forget(d.index(digest), file)
		return false
	}
	now := d.now()
	return os.Chtimes(file, now, now) == nil
}

func (d *diskCache) index(digest string) string {
	return filepath.Join(d.dir, "index", strings.ReplaceAll(digest, ":", "-"))
}

func (d *diskCache) read(index string) (entry, error) {
	var e entry
	b, err := os.ReadFile(index) //nolint:gosec // in our own directory
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, err
	}
	if !filepath.IsLocal(e.File) {
		return e, fmt.Errorf("%s names a file elsewhere: %s", index, e.File)
	}
	return e, nil
}

// remember finds the file that a compilation made, notes whose it is, and
// deletes what is too much. What goes wrong costs a compilation later.
func (d *diskCache) remember(digest string, before map[string]int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for file := range d.list() {
		if _, old := before[file]; old {
			continue
		}
		size, sum, err := checksum(filepath.Join(d.dir, file))
		if err != nil {
			continue
		}
		b, err := json.Marshal(entry{File: file, Maker: d.maker, Size: size, Sum: sum})
		if err != nil {
			continue
		}
		// Not synced: an entry that a crash cuts off is one that is not there.
		temp := d.index(digest) + tempSuffix
		if os.WriteFile(temp, b, 0o600) == nil {
			_ = os.Rename(temp, d.index(digest))
		}
	}
	d.evict()
}

const tempSuffix = ".tmp"

// list returns the sizes of wazero's whole files, by their path within dir.
func (d *diskCache) list() map[string]int64 {
	files := map[string]int64{}
	paths, _ := filepath.Glob(filepath.Join(d.dir, "wazero-*", "*"))
	for _, p := range paths {
		s, err := os.Stat(p)
		rel, relErr := filepath.Rel(d.dir, p)
		if err == nil && relErr == nil && s.Mode().IsRegular() && !strings.HasSuffix(p, tempSuffix) {
			files[rel] = s.Size()
		}
	}
	return files
}

// tidy deletes what a crash or another version left: unfinished files, machine
// code that no entry names, and entries whose file is gone.
func (d *diskCache) tidy() error {
	named := map[string]bool{}
	entries, err := filepath.Glob(filepath.Join(d.dir, "index", "*"))
	if err != nil {
		return fmt.Errorf("the directory for machine code: %w", err)
	}
	have := d.list()
	for _, index := range entries {
		e, err := d.read(index)
		if _, there := have[e.File]; err != nil || !there {
			_ = os.Remove(index)
			continue
		}
		named[e.File] = true
	}
	files, err := filepath.Glob(filepath.Join(d.dir, "wazero-*", "*"))
	if err != nil {
		return fmt.Errorf("the directory for machine code: %w", err)
	}
	for _, f := range files {
		if rel, err := filepath.Rel(d.dir, f); err != nil || !named[rel] {
			_ = os.Remove(f)
		}
	}
	d.evict()
	return nil
}

// evict deletes the least recently used machine code until the rest fits.
func (d *diskCache) evict() {
	type used struct {
		index, file string
		size, at    int64
	}
	var all []used
	var total int64
	entries, _ := filepath.Glob(filepath.Join(d.dir, "index", "*"))
	for _, index := range entries {
		e, err := d.read(index)
		if err != nil {
			continue
		}
		file := filepath.Join(d.dir, e.File)
		if s, err := os.Stat(file); err == nil {
			all = append(all, used{index, file, s.Size(), s.ModTime().UnixNano()})
			total += s.Size()
		}
	}
	slices.SortFunc(all, func(a, b used) int { return cmp.Compare(a.at, b.at) })
	for _, u := range all {
		if total <= d.max {
			return
		}
		d.forget(u.index, u.file)
		total -= u.size
	}
}

func (d *diskCache) forget(index, file string) {
	_ = os.Remove(index)
	_ = os.Remove(file)
}

func checksum(file string) (int64, uint32, error) {
	f, err := os.Open(file) //nolint:gosec // in our own directory
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }() // only read
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10))
	return n, h.Sum32(), err
}
