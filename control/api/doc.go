// Package api answers calls: it authenticates, authorises, validates, stamps
// (uids and time come into the state here and nowhere else), proposes, and
// maps errors. It keeps no state but a cache of verified tokens, decides
// nothing that the planner decides, and never writes a status.
package api
