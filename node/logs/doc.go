// Package logs keeps the output of tasks in files and reads it back. In the
// room: the line format, rotation, bounds, and readers that follow.
//
// Each instance has a directory NAMESPACE,INSTANCE,UID; each task has files
// TASK.N.log in it, of which the one with the highest number is written. The
// file named ended says when the instance ended. A line is
//
//	2026-01-02T15:04:05.000000000Z stdout F the text
//
// with P instead of F when the rest of a long line follows in the next one:
// the format that container runtimes use, so that other tools read it.
//
// Writing never fails and never waits for a reader: what a full disk does
// not take is counted and named in a line of its own once it does.
package logs
