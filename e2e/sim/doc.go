// Package sim simulates a cluster in one goroutine: the real store, planner,
// loop core and agent core, on a clock, network, disks and runtimes that are
// made up and drawn from a seed. The network drops, delays, duplicates and
// partitions; servers, agents and machines crash and come back; users keep
// changing their minds. The invariants of DESIGN.md are checked after every
// step, and when the faults end all must become well. A seed always gives the
// same run: make sim SEED=42.
package sim
