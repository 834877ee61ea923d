// Package invariant checks what must hold in every state of the cluster and
// in every step from one to the next. It is pure.
package invariant
