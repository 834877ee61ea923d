// Package session is the node's side of AgentService: one stream to any one
// server, opened again with another when it ends, and the answers to what
// servers ask through it. It decides nothing about instances.
package session
