// Package cluster drives dhow as its users do: separate processes of the built
// binary, killed in many ways. Its tests run with `make e2e`.
package cluster
