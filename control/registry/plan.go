package registry

import (
	"slices"
	"time"
)

// Orphans remembers since when blobs have had no record. A blob is removed only
// after that lasted, so that neither an upload under way nor a server whose
// state lags loses one.
type Orphans map[string]time.Time

// Decide tells which digests to fetch and which blobs to remove, given the
// records and what is on the disk. It is pure but for the memory in o.
func (o Orphans) Decide(records map[string]bool, blobs []Blob, now time.Time, minAge time.Duration) (fetch, remove []string) {
	have := make(map[string]bool, len(blobs))
	for _, b := range blobs {
		have[b.Digest] = true
		if records[b.Digest] {
			delete(o, b.Digest)
			continue
		}
		since, known := o[b.Digest]
		if !known || since.After(now) || b.Modified.After(since) {
			o[b.Digest] = now
			continue
		}
		if now.Sub(since) >= minAge {
			remove = append(remove, b.Digest)
		}
	}
	for d := range o {
		if !have[d] {
			delete(o, d)
		}
	}
	for d := range records {
		if !have[d] {
			fetch = append(fetch, d)
		}
	}
	slices.Sort(fetch)
	slices.Sort(remove)
	return fetch, remove
}
