package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dhow.dev/dhow/proto/spec"
)

// cluster is some servers' stores; calls between them are function calls.
type cluster struct {
	mu     sync.Mutex
	stores map[string]*Store
	down   map[string]bool
	stall  map[string]bool // calls hang until their context ends
	calls  int
}

func newCluster(t *testing.T, names ...string) *cluster {
	c := &cluster{stores: map[string]*Store{}, down: map[string]bool{}, stall: map[string]bool{}}
	for _, n := range names {
		c.stores[n] = open(t, Config{})
	}
	return c
}

func (c *cluster) set(m map[string]bool, name string, v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m[name] = v
}

// reach answers when the server can be called.
func (c *cluster) reach(ctx context.Context, name string) (*Store, error) {
	c.mu.Lock()
	s, down, stall := c.stores[name], c.down[name], c.stall[name]
	c.calls++
	c.mu.Unlock()
	if stall {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if down {
		return nil, spec.Errorf(spec.CodeUnavailable, "connection refused")
	}
	return s, nil
}

// from is the cluster as one server sees it.
type from struct {
	*cluster
	self string
}

func (f from) Servers() []string {
	names := slices.Sorted(maps.Keys(f.stores))
	return slices.DeleteFunc(names, func(n string) bool { return n == f.self })
}

func (f from) Put(ctx context.Context, server, digest string, size int64, r io.Reader) error {
	s, err := f.reach(ctx, server)
	if err != nil {
		return err
	}
	w, err := s.Create(digest, size)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	_, err = w.Commit()
	return err
}

func (f from) Fetch(ctx context.Context, server, digest string) (io.ReadCloser, error) {
	s, err := f.reach(ctx, server)
	if err != nil {
		return nil, err
	}
	r, _, err := s.Reader(digest, 0)
	return r, err
}

type records struct {
	mu      sync.Mutex
	digests map[string]bool
	changed chan struct{}
}

func newRecords() *records {
	return &records{digests: map[string]bool{}, changed: make(chan struct{}, 1)}
}

func (r *records) Digests() (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.digests), nil
}

func (r *records) Changed() <-chan struct{} { return r.changed }

func (r *records) set(digest string, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if there {
		r.digests[digest] = true
	} else {
		delete(r.digests, digest)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (c *cluster) keeper(name string, r *records) *Keeper {
	return NewKeeper(KeeperConfig{Store: c.stores[name], Peers: from{c, name}, Records: r})
}

func run(t *testing.T, k *Keeper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestReplicateNeedsAMajority(t *testing.T) {
	content := []byte("content")
	d := digestOf(content)
	for _, c := range []struct {
		servers string
		down    string
		ok      bool
	}{
		{"a", "", true},
		{"a b", "", true},
		{"a b", "b", false},
		{"a b c", "", true},
		{"a b c", "c", true},
		{"a b c", "b c", false},
		{"a b c d", "d", true},
		{"a b c d", "c d", false},
		{"a b c d e", "d e", true},
		{"a b c d e", "c d e", false},
	} {
		cl := newCluster(t, strings.Fields(c.servers)...)
		for n := range strings.FieldsSeq(c.down) {
			cl.down[n] = true
		}
		if err := put(cl.stores["a"], content); err != nil {
			t.Fatal(err)
		}
		err := cl.keeper("a", newRecords()).Replicate(t.Context(), d)
		if c.ok != (err == nil) {
			t.Errorf("%s without %s: %v", c.servers, c.down, err)
		}
		if err != nil && (spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "majority")) {
			t.Errorf("%s without %s: %v", c.servers, c.down, err)
		}
		have := 0
		for _, s := range cl.stores {
			if s.Has(d) {
				have++
			}
		}
		if c.ok && have < len(cl.stores)/2+1 {
			t.Errorf("%s without %s: acknowledged with %d copies", c.servers, c.down, have)
		}
	}
	if err := newCluster(t, "a").keeperOf("a").Replicate(t.Context(), d); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("what is not here: %v", err)
	}
}

func (c *cluster) keeperOf(name string) *Keeper { return c.keeper(name, newRecords()) }

// A server that hangs neither holds up the answer nor outlives the keeper.
func TestReplicateDoesNotWaitForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, "a", "b", "c")
		cl.stall["c"] = true
		k := cl.keeperOf("a")
		content := []byte("content")
		if err := put(cl.stores["a"], content); err != nil {
			t.Fatal(err)
		}
		if err := k.Replicate(t.Context(), digestOf(content)); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := k.Run(ctx); err != nil { // ends the copy to c, else synctest complains
			t.Error(err)
		}
		cl.set(cl.stall, "b", true)
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if err := cl.keeperOf("a").Replicate(short, digestOf(content)); spec.CodeOf(err) != spec.CodeTimeout {
			t.Errorf("with no majority answering: %v", err)
		}
	})
}

func TestKeeperFetchesWhatIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, "a", "b", "c")
		r := newRecords()
		content := bytes.Repeat([]byte("content"), 1000)
		d := digestOf(content)
		if err := put(cl.stores["a"], content); err != nil {
			t.Fatal(err)
		}
		run(t, cl.keeper("c", r))
		synctest.Wait()
		r.set(d, true)
		synctest.Wait()
		if got, err := get(cl.stores["c"], d, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if cl.stores["b"].Has(d) {
			t.Error("b fetched without a keeper")
		}
	})
}

func TestKeeperGoesOnUntilASourceIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, "a", "b")
		r := newRecords()
		content := []byte("content")
		if err := put(cl.stores["a"], content); err != nil {
			t.Fatal(err)
		}
		cl.down["a"] = true
		r.set(digestOf(content), true)
		run(t, cl.keeper("b", r))
		time.Sleep(time.Hour)
		if cl.calls > 90 {
			t.Errorf("%d calls in an hour: no back-off", cl.calls)
		}
		cl.set(cl.down, "a", false)
		time.Sleep(retryMost)
		synctest.Wait()
		if !cl.stores["b"].Has(digestOf(content)) {
			t.Error("not fetched")
		}
	})
}

func TestKeeperFetchesDamagedBlobsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, "a", "b")
		r := newRecords()
		content := bytes.Repeat([]byte("content"), 1000)
		d := digestOf(content)
		for _, s := range cl.stores {
			if err := put(s, content); err != nil {
				t.Fatal(err)
			}
		}
		r.set(d, true)
		run(t, cl.keeper("b", r))
		synctest.Wait()
		if err := os.Truncate(cl.stores["b"].path(strings.TrimPrefix(d, algorithm)), 10); err != nil {
			t.Fatal(err)
		}
		if _, err := get(cl.stores["b"], d, 0); spec.CodeOf(err) != spec.CodeUnavailable {
			t.Errorf("damaged: %v", err)
		}
		synctest.Wait()
		if got, err := get(cl.stores["b"], d, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("healed: %d bytes, %v", len(got), err)
		}
	})
}

func TestKeeperRemovesOrphansInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, "a")
		s := open(t, Config{}) // its clock is the bubble's
		cl.stores["a"] = s
		r := newRecords()
		kept, orphan, asked := []byte("kept"), []byte("orphan"), []byte("asked for")
		for _, c := range [][]byte{kept, orphan, asked} {
			if err := put(s, c); err != nil {
				t.Fatal(err)
			}
			s.Has(digestOf(c)) // sets its age by the bubble's clock
		}
		r.set(digestOf(kept), true)
		run(t, cl.keeper("a", r))
		for range 5 {
			time.Sleep((minAge - time.Minute) / 5)
			s.Has(digestOf(asked))
		}
		if _, err := s.Stat(digestOf(orphan)); err != nil {
			t.Error("removed too early")
		}
		time.Sleep(minAge - 2*collectEvery)
		synctest.Wait()
		if _, err := s.Stat(digestOf(orphan)); err == nil {
			t.Error("the orphan is still there")
		}
		if _, err := s.Stat(digestOf(asked)); err != nil {
			t.Error("one that was asked for is gone")
		}
		if _, err := s.Stat(digestOf(kept)); err != nil {
			t.Error("one that is recorded is gone")
		}
	})
}

func TestDecide(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	blob := func(d string, age time.Duration) Blob { return Blob{Digest: d, Modified: t0.Add(-age)} }
	o := Orphans{}
	check := func(why string, rec string, blobs []Blob, after time.Duration, fetch, remove string) {
		t.Helper()
		recs := map[string]bool{}
		for d := range strings.FieldsSeq(rec) {
			recs[d] = true
		}
		f, r := o.Decide(recs, blobs, t0.Add(after), time.Hour)
		if strings.Join(f, " ") != fetch || strings.Join(r, " ") != remove {
			t.Errorf("%s: fetch %v, remove %v", why, f, r)
		}
	}
	old := []Blob{blob("a", 99*time.Hour), blob("b", 99*time.Hour)}
	check("what is recorded and lacks is fetched", "a c d", old, 0, "c d", "")
	check("an old blob is no old orphan", "a", old, time.Minute, "", "")
	check("before its time", "a", old, 59*time.Minute, "", "")
	check("in time", "a", old, time.Hour, "", "b")
	check("recorded again", "a b", old, 2*time.Hour, "", "")
	check("then the wait begins anew", "a", old, 2*time.Hour, "", "")
	check("so", "a", old, 2*time.Hour+59*time.Minute, "", "")
	check("a clock that went back begins it anew", "a", old, time.Hour, "", "")
	check("still", "a", old, time.Hour+59*time.Minute, "", "")
	check("until", "a", old, 2*time.Hour, "", "b")
	check("one that went and came is new", "a", old[:1], 3*time.Hour, "", "")
	check("indeed", "a", old, 3*time.Hour, "", "")
	check("an upload in between counts", "a", []Blob{old[0], {Digest: "b", Modified: t0.Add(4 * time.Hour)}}, 5*time.Hour, "", "")
}

func TestEnsureSharesOneFetch(t *testing.T) {
	cl := newCluster(t, "a", "b")
	content := bytes.Repeat([]byte("content"), 10_000)
	if err := put(cl.stores["a"], content); err != nil {
		t.Fatal(err)
	}
	k := cl.keeperOf("b")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := k.Ensure(t.Context(), digestOf(content)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cl.down["a"] = true
	if err := k.Ensure(t.Context(), digestOf([]byte("other"))); spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "a: ") {
		t.Errorf("no source: %v", err)
	}
	if err := newCluster(t, "a").keeperOf("a").Ensure(t.Context(), digestOf(content)); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("alone: %v", err)
	}
	if err := errors.Join(k.Ensure(t.Context(), "nonsense")); spec.CodeOf(err) == "" {
		t.Error("a bad digest is no error")
	}
}
