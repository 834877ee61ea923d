// Package heal decides which instances of a workload exist: how many, of which
// revision, which are stopped and which are replaced. It is pure. It looks
// only at what changed: the indexes of a workload that something happened to.
package heal
