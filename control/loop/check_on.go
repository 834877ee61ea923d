//go:build invariants

package loop

import (
	"dhow.dev/dhow/control/plan/invariant"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// checker panics when the state, or what is about to be proposed, breaks an
// invariant.
type checker struct{ c *invariant.Checker }

func newChecker() checker { return checker{invariant.New()} }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// put takes what was there before: whether it came about well is for the past
// to say.
func (c checker) put(o *dhowv1.Object)          { _ = c.c.Put(o) }
func (c checker) observe(ev *dhowv1.WatchEvent) { must(c.c.Observe(ev)) }
func (c checker) propose(chs []*dhowv1.Change)  { must(c.c.Propose(chs)) }
