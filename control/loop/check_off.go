//go:build !invariants

package loop

import dhowv1 "dhow.dev/dhow/proto/dhow/v1"

// checker checks nothing; build with the tag invariants to have it check.
type checker struct{}

func newChecker() checker { return checker{} }

func (checker) put(*dhowv1.Object)         {}
func (checker) observe(*dhowv1.WatchEvent) {}
func (checker) propose([]*dhowv1.Change)   {}
