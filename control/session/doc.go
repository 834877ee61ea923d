// Package session is the servers' end of the nodes' streams: assignments down,
// heartbeats up, status reports into proposals, questions to nodes and their
// answers. It decides nothing about instances or nodes: it passes on what the
// state says, and records that a node is connected.
package session
