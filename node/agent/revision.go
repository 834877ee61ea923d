package agent

import (
	"slices"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func keyOf(in *dhowv1.Instance) revisionKey {
	return revisionKey{in.GetSpec().GetWorkloadUid(), in.GetSpec().GetRevision()}
}

// takeRevision keeps a revision; the ledger learns of it with its first use.
func (c *Core) takeRevision(r *dhowv1.Revision) {
	key := revisionKey{r.GetWorkloadUid(), r.GetNumber()}
	if c.revisions[key] != nil {
		return // revisions never change
	}
	c.revisions[key] = &revision{obj: r}
	c.unused = append(c.unused, key)
	if len(c.unused) > maxUnused {
		delete(c.revisions, c.unused[0])
		c.unused = slices.Delete(c.unused, 0, 1)
		c.evicted = true
	}
}

func (c *Core) use(r *revision) {
	r.uses++
	if r.uses > 1 {
		return
	}
	key := revisionKey{r.obj.GetWorkloadUid(), r.obj.GetNumber()}
	if at := slices.Index(c.unused, key); at >= 0 {
		c.unused = slices.Delete(c.unused, at, at+1)
	}
	c.record(&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Revision{Revision: r.obj}})
}

func (c *Core) release(key revisionKey) {
	r := c.revisions[key]
	if r == nil {
		return
	}
	if r.uses--; r.uses > 0 {
		return
	}
	c.record(&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Dropped{
		Dropped: &dhowv1.LedgerRevision{WorkloadUid: key.uid, Number: key.number},
	}})
	delete(c.revisions, key)
	c.takeRevision(r.obj)
}
