// Package output prints for people and scripts: aligned tables, ages, sizes,
// colours, one line of live progress, and objects as YAML, JSON or names. It
// calls no server and reads no clock but the one it is given.
package output
