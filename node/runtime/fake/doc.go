// Package fake is a Runtime in memory whose tasks do what a script says. It
// passes the conformance suite, so that what works with it works.
//
// In a simulation its verbs are called directly: Prepare, Start, Stop and
// Remove answer at once when the script asks for no delay, and Ended tells
// without blocking what Wait would answer. Nothing in it depends on chance
// or, without delays, on time.
package fake
