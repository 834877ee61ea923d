package ledger

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

var quiet = slog.New(slog.DiscardHandler)

func opts() Options { return Options{Node: "n1", Cluster: "c1", Logger: quiet} }

func inst(uid string, index uint32) *dhowv1.LedgerRecord {
	return &dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Instance{Instance: &dhowv1.LedgerInstance{
		Instance: &dhowv1.Instance{Meta: &dhowv1.Meta{Uid: uid, Name: uid}, Spec: &dhowv1.InstanceSpec{Index: index}},
	}}}
}

func forgotten(uid string) *dhowv1.LedgerRecord {
	return &dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Forgotten{Forgotten: uid}}
}

func generation(g uint64) *dhowv1.LedgerRecord {
	return &dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Generation{Generation: g}}
}

func rev(n uint64) *dhowv1.LedgerRecord {
	return &dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Revision{Revision: &dhowv1.Revision{WorkloadUid: "w", Number: n}}}
}

func open(t *testing.T, path string) (*Ledger, []*dhowv1.LedgerRecord) {
	t.Helper()
	l, records, err := Open(path, opts())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, records
}

func add(t *testing.T, l *Ledger, r ...*dhowv1.LedgerRecord) {
	t.Helper()
	if err := l.Append(r); err != nil {
		t.Fatal(err)
	}
}

func TestReopenGivesTheNewestOfEach(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent", "ledger")
	l, records := open(t, path)
	if len(records) != 0 {
		t.Fatalf("a new ledger has %d records", len(records))
	}
	add(t, l, generation(4), rev(1), rev(2), inst("a", 0), inst("b", 1))
	add(t, l, inst("a", 7), forgotten("b"), generation(9),
		&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Dropped{Dropped: &dhowv1.LedgerRevision{WorkloadUid: "w", Number: 1}}})
	_, got := open(t, path)
	want := []*dhowv1.LedgerRecord{generation(9), rev(2), inst("a", 7)}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for k := range want {
		if !proto.Equal(got[k], want[k]) {
			t.Errorf("record %d is %v, want %v", k, got[k], want[k])
		}
	}
}

func TestCompactionBoundsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, _ := open(t, path)
	var most int64
	for n := range 20000 {
		add1(t, l, inst("a", uint32(n)))
		most = max(most, l.Size())
	}
	if most > slack+4096 {
		t.Errorf("the file grew to %d bytes for one instance", most)
	}
	_, got := open(t, path)
	if len(got) != 1 || got[0].GetInstance().GetInstance().GetSpec().GetIndex() != 19999 {
		t.Errorf("got %v", got)
	}
}

// add1 appends without an fsync per record of a long test.
func add1(t *testing.T, l *Ledger, r *dhowv1.LedgerRecord) {
	t.Helper()
	b, err := appendFrame(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	l.live.apply(r)
	if l.wasteful(l.size + int64(len(b))) {
		if err := l.rewrite(); err != nil {
			t.Fatal(err)
		}
		return
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryTruncationKeepsWhatIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, _ := open(t, path)
	var ends []int64
	for n := range 5 {
		add(t, l, inst(fmt.Sprint(n), 0))
		ends = append(ends, l.Size())
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		records, damage := parse(path, whole[:cut])
		n := 0
		for _, e := range ends {
			if int64(cut) >= e {
				n++
			}
		}
		got := 0
		for _, r := range records {
			if r.GetInstance() != nil {
				got++
			}
		}
		if got != n {
			t.Errorf("cut at %d: %d instances, want %d", cut, got, n)
		}
		if damage != nil && !damage.Tail {
			t.Errorf("cut at %d: %v is not taken for an unfinished write", cut, damage)
		}
	}
}

func TestDamageInTheMiddleIsNamedAndKeptAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, _ := open(t, path)
	add(t, l, inst("a", 0))
	at := l.Size()
	add(t, l, inst("b", 0))
	add(t, l, inst("c", 0))
	data, _ := os.ReadFile(path)
	data[at+headLen] ^= 0xff
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, damage := parse(path, data)
	if damage == nil || damage.Offset != at || damage.Tail || !strings.Contains(damage.Error(), fmt.Sprint(at)) {
		t.Errorf("damage is %v, want it at %d", damage, at)
	}
	_, got := open(t, path)
	if len(got) != 2 || got[0].GetInstance().GetInstance().GetMeta().GetUid() != "a" || got[1].GetInstance().GetInstance().GetMeta().GetUid() != "c" {
		t.Errorf("got %v, want a and c", got)
	}
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != string(data) {
		t.Errorf("the damaged file was not kept: %v", err)
	}
	if _, damage := parse(path, mustRead(t, path)); damage != nil {
		t.Errorf("the file is still damaged: %v", damage)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnothersLedgerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, _ := open(t, path)
	add(t, l, inst("a", 0))
	before := mustRead(t, path)
	for want, o := range map[string]Options{
		"cluster c1": {Node: "n1", Cluster: "c2", Logger: quiet},
		"node n1":    {Node: "n2", Cluster: "c1", Logger: quiet},
	} {
		if _, _, err := Open(path, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one about %s", err, want)
		}
	}
	newer, err := appendFrame(nil, &dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Header{
		Header: &dhowv1.LedgerHeader{Version: version + 1, Node: "n1", ClusterId: "c1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(other, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(other, opts()); err == nil || !strings.Contains(err.Error(), "newer dhow") {
		t.Errorf("error is %v, want one about a newer dhow", err)
	}
	if string(mustRead(t, path)) != string(before) || string(mustRead(t, other)) != string(newer) {
		t.Error("a refused ledger was changed")
	}
}

func TestAppendRepairsAfterAFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, _ := open(t, path)
	add(t, l, inst("a", 0))
	good := l.file
	bad, err := os.Open(path) // not for writing: every write fails
	if err != nil {
		t.Fatal(err)
	}
	l.file = bad
	if err := l.Append([]*dhowv1.LedgerRecord{inst("b", 0)}); err == nil {
		t.Fatal("a failed write was not told")
	}
	_ = good.Close()
	add(t, l, inst("b", 0))
	add(t, l, inst("c", 0))
	if _, got := open(t, path); len(got) != 3 {
		t.Errorf("got %d records, want 3", len(got))
	}
}

func FuzzParse(f *testing.F) {
	var b []byte
	for _, r := range []*dhowv1.LedgerRecord{generation(1), inst("a", 3), rev(2), forgotten("a")} {
		b, _ = appendFrame(b, r)
	}
	f.Add(b, 0, byte(0))
	f.Add(b, len(b)/2, byte(0xff))
	f.Add([]byte("garbage"), 3, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, at int, x byte) {
		if at >= 0 && at < len(data) {
			data = append([]byte(nil), data...)
			data[at] ^= x
		}
		records, damage := parse("ledger", data)
		l := newLive()
		var size int64
		for _, r := range records {
			l.apply(r)
			size += sizeOf(r)
		}
		if damage == nil && len(data) > 0 && len(records) == 0 {
			t.Error("nothing was read and nothing is said to be damaged")
		}
		// Whatever came before, whole frames behind it are found.
		tail, _ := appendFrame(append([]byte(nil), data...), inst("last", 1))
		again, _ := parse("ledger", tail)
		if n := len(again); n == 0 || again[n-1].GetInstance().GetInstance().GetMeta().GetUid() != "last" {
			t.Errorf("a whole frame behind %d records is lost", len(records))
		}
	})
}
