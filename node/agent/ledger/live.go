package ledger

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// live is what a ledger's records come to: the newest of each.
type live struct {
	generation *dhowv1.LedgerRecord
	instances  map[string]*dhowv1.LedgerRecord
	revisions  map[revisionKey]*dhowv1.LedgerRecord
	size       int64 // of their frames
}

type revisionKey struct {
	uid    string
	number uint64
}

func newLive() *live {
	return &live{instances: map[string]*dhowv1.LedgerRecord{}, revisions: map[revisionKey]*dhowv1.LedgerRecord{}}
}

func sizeOf(r *dhowv1.LedgerRecord) int64 {
	if r == nil {
		return 0
	}
	return int64(headLen + proto.Size(r))
}

func (l *live) apply(r *dhowv1.LedgerRecord) {
	switch k := r.GetRecord().(type) {
	case *dhowv1.LedgerRecord_Generation:
		l.size += sizeOf(r) - sizeOf(l.generation)
		l.generation = r
	case *dhowv1.LedgerRecord_Instance:
		uid := k.Instance.GetInstance().GetMeta().GetUid()
		l.size += sizeOf(r) - sizeOf(l.instances[uid])
		l.instances[uid] = r
	case *dhowv1.LedgerRecord_Forgotten:
		l.size -= sizeOf(l.instances[k.Forgotten])
		delete(l.instances, k.Forgotten)
	case *dhowv1.LedgerRecord_Revision:
		key := revisionKey{k.Revision.GetWorkloadUid(), k.Revision.GetNumber()}
		l.size += sizeOf(r) - sizeOf(l.revisions[key])
		l.revisions[key] = r
	case *dhowv1.LedgerRecord_Dropped:
		key := revisionKey{k.Dropped.GetWorkloadUid(), k.Dropped.GetNumber()}
		l.size -= sizeOf(l.revisions[key])
		delete(l.revisions, key)
	}
}

// records are in an order that can be replayed: revisions before instances.
func (l *live) records() []*dhowv1.LedgerRecord {
	var out []*dhowv1.LedgerRecord
	if l.generation != nil {
		out = append(out, l.generation)
	}
	keys := slices.SortedFunc(maps.Keys(l.revisions), func(a, b revisionKey) int {
		return cmp.Or(cmp.Compare(a.uid, b.uid), cmp.Compare(a.number, b.number))
	})
	for _, k := range keys {
		out = append(out, l.revisions[k])
	}
	for _, uid := range slices.Sorted(maps.Keys(l.instances)) {
		out = append(out, l.instances[uid])
	}
	return out
}
